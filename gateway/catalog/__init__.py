"""The models that can be called right now, read live from Triton."""

from gateway.catalog.card import Activation, ModelCard, Preprocessing, Task
from gateway.catalog.catalog import Catalog, CatalogStatus, Inventory, Registry

__all__ = [
    "Activation",
    "Catalog",
    "CatalogStatus",
    "Inventory",
    "ModelCard",
    "Preprocessing",
    "Registry",
    "Task",
]
