"""Redis's clock, by which all workers go for what one of them writes down and another one reads: their own differ."""

import contextlib
import time
from collections.abc import Callable

from redis.asyncio import Redis

from gateway.store.documents import script
from gateway.store.failures import StoreAway, translated
from gateway.store.following import repeat

_INTERVAL = 5.0


class StoreClock:
    """Seconds since the epoch, as Redis counts them: `monotonic` goes on from its last answer, and before the first one
    from `wall`. `key` says which server of a cluster is asked: the key's.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        key: str,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._monotonic = monotonic
        self._there = script(redis, "gateway.store", "clock")
        self._ahead = wall() - monotonic()

    def __call__(self) -> float:
        return self._monotonic() + self._ahead

    async def run(self) -> None:
        """Asks for ever; run as a task and cancel it to stop."""
        with contextlib.suppress(StoreAway):
            await self.ask()
        # Nothing is said of a failure: whoever needs more of Redis tells of it.
        await repeat(self.ask, interval=_INTERVAL, failed=lambda _: None)

    async def ask(self) -> None:
        """Raises StoreAway."""
        asked = self._monotonic()
        with translated():
            now = int(await self._there(keys=[self._key])) / 1000
        self._ahead = now - (asked + self._monotonic()) / 2
