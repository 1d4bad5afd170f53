"""Places that the store does not take back: tried again once a second, in nobody's way, and forgotten in the end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog.testing
from support.virtual_time import VirtualLoop
from unit.ratelimit.callers import ScriptedStore, caller, tier

from gateway.ratelimit import RateLimiter
from gateway.ratelimit.plan import plan
from gateway.store import StoreAway

STUCK, OTHER = caller("stuck"), caller("other", "elsewhere")


class Partial(ScriptedStore):
    """Charges everybody, and takes nothing back for those in `refused`; `tries` are the places that it would not."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = {plan(STUCK, tier()).flight_key}
        self.tries: list[str] = []

    async def release(self, flight_key: str, leases: Sequence[str]) -> None:
        await asyncio.sleep(0.001)
        if flight_key in self.refused:
            self.tries.extend(leases)
            raise StoreAway("refused")
        await super().release(flight_key, leases)


def run(story: Callable[[Partial, RateLimiter], Awaitable[None]]) -> Partial:
    """Of one place that is stuck, without waiting for its seconds."""

    async def told() -> None:
        async with RateLimiter(store, shares=1) as limiter:
            limiter.release(await limiter.acquire(STUCK, tier(), 1))
            await story(store, limiter)
            assert limiter.healthy

    store = Partial()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(told())
    return store


async def others_come(limiter: RateLimiter, seconds: float) -> None:
    """A hundred requests a second."""
    for _ in range(round(seconds * 100)):
        decision = await limiter.acquire(OTHER, tier(), 2)
        assert not decision.degraded
        limiter.release(decision)
        await asyncio.sleep(0.01)


def test_a_place_that_cannot_be_given_back_is_tried_once_a_second_and_costs_nobody_else_the_store() -> None:
    async def story(store: Partial, limiter: RateLimiter) -> None:
        await others_come(limiter, 10)
        assert 9 <= len(store.tries) <= 12
        assert len(store.released) > 900  # all but the last few, which go soon

    run(story)


def test_it_is_given_back_when_the_store_takes_it() -> None:
    async def story(store: Partial, limiter: RateLimiter) -> None:
        await others_come(limiter, 3)
        store.refused.clear()
        await others_come(limiter, 1.1)
        assert set(store.tries) <= set(store.released)

    assert run(story).tries


def test_it_is_forgotten_when_the_store_has_forgotten_it_too() -> None:
    async def story(store: Partial, limiter: RateLimiter) -> None:
        await asyncio.sleep(store.lease + 2)
        tries = len(store.tries)
        assert 50 <= tries <= 61
        await others_come(limiter, 5)
        assert len(store.tries) == tries

    run(story)


def test_the_log_says_so_once() -> None:
    async def story(_: Partial, limiter: RateLimiter) -> None:
        await others_come(limiter, 5)

    with structlog.testing.capture_logs() as lines:
        run(story)
    assert [line["reason"] for line in lines] == ["refused"]


def test_at_the_end_it_is_tried_once_more() -> None:
    async def story(store: Partial, _: RateLimiter) -> None:
        await asyncio.sleep(0.5)
        store.refused.clear()

    store = run(story)
    assert store.released == store.tries
