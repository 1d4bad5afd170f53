"""The ledgers in Redis: one a model, left by whoever evaluated last."""

from redis.asyncio import Redis

from gateway.canary.ledger import Ledger, from_document, to_document
from gateway.store import text, translated

_PREFIX = "gw:ledger:"
_KEPT = 7 * 86_400  # seconds


class LedgerStore:
    """Each method raises StoreAway."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def load(self, model: str) -> Ledger | None:
        with translated():
            found = await self._redis.get(f"{_PREFIX}{model}")
        return None if found is None else from_document(text(found))

    async def save(self, model: str, ledger: Ledger) -> None:
        with translated():
            await self._redis.set(f"{_PREFIX}{model}", to_document(ledger), ex=_KEPT)
