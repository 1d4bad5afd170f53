"""Which of all workers judges the canaries: a lease in Redis that its holder renews and anybody takes once it is over.

Two may believe for a moment that they hold it, where a clock or a process stood still in between, or where a stand-in
has not heard yet of who took over; so what the holder does is compare-and-set all the same.
"""

import asyncio
import secrets
from collections.abc import Callable

import structlog
from redis.asyncio import Redis

from gateway.store import StoreAway, heed_cancellation, script, text, translated

KEY = "gw:canary:leader"

# Another judges 4 s after the holder died at the latest: the lease, the wait until somebody asks for it, and the second
# until the evaluator's next look.
_LENGTH = 2.5
_INTERVAL = 0.5

_log = structlog.stdlib.get_logger("gateway.canary")


class Lease:
    """One a worker. `clock` is monotonic; the lease lasts `length` seconds from each renewal, one each `interval`.

    A worker that is not `able` to do all that the holder does only stands in: it takes the lease where nobody holds it,
    so that what is bad is taken back, and any who is able takes it from there.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        clock: Callable[[], float],
        able: Callable[[], bool] = lambda: True,
        length: float = _LENGTH,
        interval: float = _INTERVAL,
    ) -> None:
        self._clock = clock
        self._able = able
        self._length = length
        self._interval = interval
        self._me = secrets.token_hex(8)
        self._hold = script(redis, "gateway.canary", "hold")
        self._let_go = script(redis, "gateway.canary", "let_go")
        self._until: float | None = None

    @property
    def held(self) -> bool:
        """Whether this worker holds it, at this moment and without asking."""
        return self._until is not None and self._clock() < self._until

    async def run(self) -> None:
        """Takes it when it is free and keeps it; run as a task. Cancelled, it lets go, so that another may take it."""
        try:
            while True:
                await self._try_to_renew()
                heed_cancellation()
                await asyncio.sleep(self._interval)
        finally:
            await self._try_to_release()

    async def renew(self) -> bool:
        """Takes or keeps it once, and answers whether that worked. Raises StoreAway."""
        asked_at = self._clock()  # Redis counts from later on, so this side ends first
        with translated():
            words: list[str | int] = [self._me, round(self._length * 1000), int(self._able())]
            mine = text(await self._hold(keys=[KEY], args=words)) == self._me
        self._note(asked_at + self._length if mine else None)
        return mine

    async def release(self) -> None:
        """Lets go. Raises StoreAway, and then the lease ends by itself."""
        self._note(None)
        with translated():
            await self._let_go(keys=[KEY], args=[self._me])

    async def _try_to_renew(self) -> None:
        try:
            await self.renew()
        except StoreAway as error:
            if self._until is not None and not self.held:
                self._note(None, reason=str(error))

    async def _try_to_release(self) -> None:
        try:
            await self.release()
        except StoreAway as error:
            _log.warning("canary_lease_not_released", reason=str(error))

    def _note(self, until: float | None, reason: str | None = None) -> None:
        if (until is None) != (self._until is None):
            _log.info("canary_lease_taken" if until else "canary_lease_ended", reason=reason)
        self._until = until
