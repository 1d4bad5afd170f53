"""The models that can be called right now, read live from Triton."""

from gateway.catalog.card import Activation, Card, ModelCard, Preprocessing, Task, TensorCard
from gateway.catalog.catalog import Catalog, CatalogStatus, Inventory, Registry

__all__ = [
    "Activation",
    "Card",
    "Catalog",
    "CatalogStatus",
    "Inventory",
    "ModelCard",
    "Preprocessing",
    "Registry",
    "Task",
    "TensorCard",
]
