"""Redis as the rest of the gateway meets it: a client, one error, documents and following them, a log of changes."""

from gateway.store.audit import Area, Audit, Note
from gateway.store.clock import StoreClock
from gateway.store.connection import UnknownOption, check_options, connect, text, tls_files
from gateway.store.documents import Documents, Position, Snapshot, is_reserved, marks_of, script
from gateway.store.failures import FAILURES, StoreAway, translated
from gateway.store.following import Freshness, delivered_at_end, follow, heed_cancellation, repeat
from gateway.store.pipelined import Client, Pipelined
from gateway.store.streams import exclusive, moment, order

__all__ = [
    "FAILURES",
    "Area",
    "Audit",
    "Client",
    "Documents",
    "Freshness",
    "Note",
    "Pipelined",
    "Position",
    "Snapshot",
    "StoreAway",
    "StoreClock",
    "UnknownOption",
    "check_options",
    "connect",
    "delivered_at_end",
    "exclusive",
    "follow",
    "heed_cancellation",
    "is_reserved",
    "marks_of",
    "moment",
    "order",
    "repeat",
    "script",
    "text",
    "tls_files",
    "translated",
]
