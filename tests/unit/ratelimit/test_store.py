"""The store's patience, with a Redis whose latency is known."""

import asyncio
import time
from typing import Any

import pytest
from unit.ratelimit.callers import caller, tier

from gateway.ratelimit import RedisStore
from gateway.ratelimit.plan import plan
from gateway.ratelimit.store import TIMEOUT, StoreAway


class Redis:
    """Allows everything after so many seconds; reading its answer takes the process `work` seconds, in two steps."""

    def __init__(self, latency: float, *, work: float = 0.0) -> None:
        self._latency = latency
        self._work = work
        self.asked = 0

    def pipeline(self, transaction: object) -> "Redis":
        return self

    def execute_command(self, *_: Any) -> None:
        self.asked += 1

    async def execute(self, *, raise_on_error: bool) -> list[str]:
        asked, self.asked = self.asked, 0
        await asyncio.sleep(self._latency)
        for _step in range(2):
            time.sleep(self._work)  # noqa: ASYNC251  # a process that is busy, not one that waits
            await asyncio.sleep(0)
        return ["1 1 0 0 9 0 9 0"] * asked


async def test_an_answer_that_takes_too_long_is_given_up_after_the_timeout() -> None:
    store = RedisStore(Redis(10 * TIMEOUT), lease=60)
    started = time.monotonic()
    with pytest.raises(StoreAway):
        await store.charge(plan(caller(), tier()), 1)
    assert TIMEOUT * 0.9 <= time.monotonic() - started < 5 * TIMEOUT


@pytest.mark.parametrize("turns", range(5), ids=lambda turns: f"after {turns} turns of the event loop")
async def test_a_process_that_stalls_does_not_take_it_for_a_redis_that_is_away(turns: int) -> None:
    store = RedisStore(Redis(0.001, work=0.001), lease=60)
    calls = [asyncio.create_task(store.charge(plan(caller(), tier()), 1)) for _ in range(20)]
    for _ in range(turns):
        await asyncio.sleep(0)
    time.sleep(3 * TIMEOUT)  # noqa: ASYNC251  # what a starved machine does to a process
    assert all(verdict.allowed for verdict in await asyncio.gather(*calls))
