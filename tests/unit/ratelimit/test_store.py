"""The store's patience, with a Redis whose latency is known."""

import asyncio
import time
from typing import Any

import pytest
from support.callers import until
from unit.ratelimit.callers import caller, tier

from gateway.ratelimit import RateLimiter, RedisStore
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


class Says:
    """A Redis with one answer to everything."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def pipeline(self, transaction: object) -> "Says":
        return self

    def execute_command(self, *_: Any) -> None:
        pass

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        return [self._answer]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        7,
        [],
        [b"1 1 0 0 9 0 9 0 9 0"],
        IndexError("tuple index out of range"),
        RuntimeError("the handler is closed"),
        b"",
        b"OK",
        b"1 1 0 0 9 0 9 0 9 \xff",
        pytest.param(b"1 1 0 0 9 0 9 0", id="a bound too few"),
        pytest.param(b"1 1 0 0 9 0 9 0 9 0 9 0", id="a bound too many"),
        pytest.param(b"1 1 0 0 9 0 9 0 9", id="half a bound"),
        pytest.param(b"1 1 0 0 9 0 -9 0 9 0", id="less than nothing left"),
        pytest.param(b"1 0 5 4 9 0 9 0 9 0", id="refused by a bound that is not there"),
        pytest.param(b"1 0 0 1 9 0 9 0 9 0", id="refused without a wait"),
        pytest.param(b"1 1 5 1 9 0 9 0 9 0", id="allowed with a wait"),
        pytest.param(b"1 7 0 0 9 0 9 0 9 0", id="neither allowed nor refused"),
        pytest.param(b"1 0 -2 1 9 0 9 0 9 0", id="a wait before now"),
        pytest.param(b"1 0 1" + b"0" * 400 + b" 1 9 0 9 0 9 0", id="a wait that is no time"),
    ],
)
async def test_an_answer_that_is_none_is_decided_here(answer: Any) -> None:
    async with RateLimiter(RedisStore(Says(answer), lease=60), shares=1) as limiter:
        decision = await limiter.acquire(caller(), tier(), 1)
    assert (decision.allowed, decision.degraded) == (True, True)


class Warming:
    """A Redis whose first pipeline waits for its connection until `ready`; those after it have one. `done` are the
    commands in the order in which it ran them, with the places that they are about."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.done: list[tuple[str, str]] = []
        self._first = True

    def pipeline(self, transaction: object) -> "_Pipeline":
        waits, self._first = self._first, False
        return _Pipeline(self, waits=waits)


class _Pipeline:
    def __init__(self, redis: Warming, *, waits: bool) -> None:
        self._redis = redis
        self._waits = waits
        self._asked: list[tuple[str, str]] = []

    def execute_command(self, name: str, *words: Any) -> None:
        self._asked.append((name, words[-3] if name == "EVALSHA" else words[-1]))

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        if self._waits:
            await self._redis.ready.wait()
        self._redis.done += self._asked
        return ["1 1 0 0 9 0 9 0 9 0" if name == "EVALSHA" else 1 for name, _ in self._asked]


@pytest.mark.parametrize("leaves", [False, True], ids=["given up", "left by its caller"])
async def test_the_place_of_a_charge_is_given_back_when_the_charge_has_ended_not_before(leaves: bool) -> None:
    redis = Warming()
    async with RateLimiter(RedisStore(redis, lease=60), shares=1) as limiter:
        call = asyncio.create_task(limiter.acquire(caller(), tier(), 1))
        if leaves:
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait((call,))
        else:
            assert (await call).degraded
        other = await limiter.acquire(caller("other"), tier(), 1)
        limiter.release(other)
        await until(lambda: len(redis.done) >= 2)
        redis.ready.set()
    (_, own), (_, back) = redis.done[2:]
    assert [name for name, _ in redis.done] == ["EVALSHA", "ZREM", "EVALSHA", "ZREM"]
    assert own == back
