"""The models that can be called right now, read live from Triton."""

from gateway.catalog.card import Card, ModelCard, TensorCard, card_of
from gateway.catalog.catalog import Catalog, CatalogStatus, Inventory, Registry
from gateway.catalog.inputs import Passthrough, Preprocessing, Tokenization
from gateway.catalog.parameters import Activation, CardError, Task

__all__ = [
    "Activation",
    "Card",
    "CardError",
    "Catalog",
    "CatalogStatus",
    "Inventory",
    "ModelCard",
    "Passthrough",
    "Preprocessing",
    "Registry",
    "Task",
    "TensorCard",
    "Tokenization",
    "card_of",
]
