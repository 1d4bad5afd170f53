"""How a worker keeps its copy of a store true: it polls, takes hints in between, and knows how old the copy is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.store.failures import StoreAway


async def follow(
    refresh: Callable[[], Awaitable[None]],
    hints: Callable[[], AsyncIterator[None]],
    *,
    interval: float,
    failed: Callable[[str], None],
) -> None:
    """Refreshes for ever, each `interval` seconds and at every hint; `failed` hears why one raised StoreAway."""
    changed = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_listen(hints, changed, interval))
        while True:
            changed.clear()
            try:
                await refresh()
            except StoreAway as error:
                failed(str(error))
            heed_cancellation()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await changed.wait()


async def _listen(hints: Callable[[], AsyncIterator[None]], changed: asyncio.Event, interval: float) -> None:
    while True:
        with contextlib.suppress(StoreAway):
            async for _ in hints():
                changed.set()
        heed_cancellation()
        await asyncio.sleep(interval)


async def repeat(
    deliver: Callable[[], Awaitable[None]], *, interval: float, failed: Callable[[str], None]
) -> None:
    """Delivers for ever, each `interval` seconds; `failed` hears the first of a row of StoreAway."""
    failing = False
    while True:
        await asyncio.sleep(interval)
        try:
            await deliver()
            failing = False
        except StoreAway as error:
            if not failing:
                failed(str(error))
            failing = True
        heed_cancellation()


@contextlib.asynccontextmanager
async def delivered_at_end(*deliver: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Delivers when the block is left: what was noted since the last turn of the task that does so is not lost.

    All at once, since a store that is away must not hold up the end for each of them.
    """

    async def one(each: Callable[[], Awaitable[object]]) -> None:
        with contextlib.suppress(StoreAway):
            await each()

    try:
        yield
    finally:
        await asyncio.gather(*map(one, deliver))


def heed_cancellation() -> None:
    """Raises CancelledError in a task that was cancelled. Loops around Redis ask at every turn.

    redis-py sends by `asyncio.wait_for`, which up to Python 3.11 can lose a cancellation: it then answers normally.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Freshness:
    """When a copy was last confirmed, and why it is not. `clock` is monotonic; `interval` is that of the poll."""

    def __init__(self, *, clock: Callable[[], float], interval: float) -> None:
        self._clock = clock
        self._interval = interval
        self._confirmed_at: float | None = None
        self.detail = "not read yet"

    @property
    def known(self) -> bool:
        """Whether the store was ever read."""
        return self._confirmed_at is not None

    @property
    def age(self) -> float | None:
        """Seconds since the last confirmation."""
        return None if self._confirmed_at is None else self._clock() - self._confirmed_at

    @property
    def fresh(self) -> bool:
        """Whether one of the last polls confirmed it."""
        age = self.age
        return age is not None and age < 3 * self._interval + 1 and not self.detail

    def confirm(self) -> bool:
        """Answers whether that ends a time of doubt."""
        recovered = bool(self.detail) and self.known
        self._confirmed_at = self._clock()
        self.detail = ""
        return recovered

    def doubt(self, reason: str) -> bool:
        """Answers whether that is news: doubts that follow a doubt are not, but the first words before any reading."""
        news = not self.detail or (not self.known and self.detail != reason)
        self.detail = reason
        return news
