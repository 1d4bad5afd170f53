"""Redis as the rest of the gateway meets it: a client, one error, documents with their position, and following them."""

from gateway.store.connection import StoreAway, connect, text, translated
from gateway.store.documents import Documents, Position, Snapshot, is_reserved, script
from gateway.store.following import Freshness, follow, heed_cancellation, repeat
from gateway.store.pipelined import Client, Pipelined

__all__ = [
    "Client",
    "Documents",
    "Freshness",
    "Pipelined",
    "Position",
    "Snapshot",
    "StoreAway",
    "connect",
    "follow",
    "heed_cancellation",
    "is_reserved",
    "repeat",
    "script",
    "text",
    "translated",
]
