"""What is taken ahead for callers who come often: how much, when it goes back, and that nothing is given out twice."""

import asyncio
from collections.abc import Sequence

from unit.ratelimit.callers import ScriptedStore, caller, tier

from gateway.domain import Quota, Tier
from gateway.ratelimit import RateLimiter
from gateway.ratelimit.gcra import Verdict
from gateway.ratelimit.plan import Plan

ME = caller()
WIDE = tier(Quota(1000, 1, 1000), in_flight=1000)


class Counting(ScriptedStore):
    """Bounds that do not refill: so many units, and as many places."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units
        self.places: set[str] = set()

    async def charge(self, plan: Plan, cost: int, leases: Sequence[str] = ()) -> Verdict:
        self.charges.append(cost)
        self._answer()
        levels = len(plan.quotas) + bool(leases)
        if cost > self.units:
            return Verdict(False, 1_000_000, 0, (self.units,) * levels, (0,) * levels)
        self.units -= cost
        self.places.update(leases)
        return Verdict(True, 0, None, (self.units,) * levels, (0,) * levels)

    async def release(self, flight_key: str, leases: Sequence[str]) -> None:
        await super().release(flight_key, leases)
        self.places.difference_update(leases)


async def requests(limiter: RateLimiter, count: int, bounds: Tier = WIDE) -> list[bool]:
    """One after the other, each over before the next comes."""
    allowed = []
    for _ in range(count):
        decision = await limiter.acquire(ME, bounds, 1)
        allowed.append(decision.allowed)
        limiter.release(decision)
        await asyncio.sleep(0)
    return allowed


async def test_who_comes_often_asks_the_store_a_few_times_for_many_requests() -> None:
    store = Counting(10_000)
    async with RateLimiter(store, shares=2) as limiter:
        assert all(await requests(limiter, 200))
        assert len(store.charges) < 40
        assert max(store.charges) <= 64
    assert (store.units, store.places) == (10_000 - 200, set())  # what was not used is back


async def test_close_to_a_bound_every_request_asks_and_no_unit_is_spent_twice() -> None:
    store = Counting(600)
    async with RateLimiter(store, shares=2) as limiter:
        assert sum(await requests(limiter, 650)) == 600
        assert max(store.charges) > 1
        assert store.charges[-250:] == [1] * 250
        assert store.units == 0


async def test_two_workers_together_hold_at_most_one_in_64_of_what_is_left() -> None:
    store = Counting(2000)
    async with RateLimiter(store, shares=2) as one, RateLimiter(store, shares=2) as other:
        for _ in range(20):
            left = store.units
            await requests(one, 1)
            await requests(other, 1)
            await asyncio.sleep(0)
            assert left - store.units <= 2 + left / 64
        assert max(store.charges) > 1
        assert sum(await requests(one, 2000)) + sum(await requests(other, 2000)) == 2000 - 40


async def test_of_a_small_quota_nothing_is_taken_ahead() -> None:
    store = Counting(100)
    async with RateLimiter(store, shares=1) as limiter:
        assert all(await requests(limiter, 50))
        assert store.charges == [1] * 50


async def test_who_comes_once_in_a_while_takes_nothing_ahead() -> None:
    store = Counting(10_000)
    async with RateLimiter(store, shares=1) as limiter:
        for _ in range(5):
            await requests(limiter, 1)
            await asyncio.sleep(0.06)
    assert store.charges == [1] * 5


async def test_what_nobody_comes_for_goes_back_by_itself() -> None:
    store = Counting(10_000)
    async with RateLimiter(store, shares=1) as limiter:
        await requests(limiter, 10)
        async with asyncio.timeout(5):
            while store.units != 10_000 - 10 or store.places:
                await asyncio.sleep(0.005)


async def test_what_is_left_is_told_as_if_it_had_not_been_taken() -> None:
    store = Counting(10_000)
    async with RateLimiter(store, shares=1) as limiter:
        left = []
        for _ in range(50):
            decision = await limiter.acquire(ME, WIDE, 1)
            left.append(decision.buckets[0].remaining)
            await asyncio.sleep(0)
    assert left == list(range(9_999, 9_949, -1))


async def test_a_caller_whose_bounds_change_gets_nothing_that_was_taken_under_the_old_ones() -> None:
    store = Counting(10_000)
    async with RateLimiter(store, shares=1) as limiter:
        await requests(limiter, 10)
        asked = len(store.charges)
        await requests(limiter, 1, tier(Quota(500, 1, 500), in_flight=1000))
        assert store.charges[asked:].count(1) >= 1
    assert (store.units, store.places) == (10_000 - 11, set())


async def test_a_store_that_goes_away_fails_nobody_while_there_is_something_here() -> None:
    store = Counting(10_000)
    async with RateLimiter(store, shares=1) as limiter:
        await requests(limiter, 50)
        store.up = False
        decisions = [await limiter.acquire(ME, WIDE, 1) for _ in range(20)]
        assert all(decision.allowed for decision in decisions)
        assert [decision.degraded for decision in decisions] == sorted(d.degraded for d in decisions)


async def test_what_is_still_on_its_way_at_the_end_goes_back_too() -> None:
    class Slow(Counting):
        async def charge(self, plan: Plan, cost: int, leases: Sequence[str] = ()) -> Verdict:
            verdict = await super().charge(plan, cost, leases)
            await asyncio.sleep(0.01)
            return verdict

    store = Slow(10_000)
    async with RateLimiter(store, shares=1) as limiter:
        await requests(limiter, 3)
        assert len(store.places) > 1
    assert (store.units, store.places) == (10_000 - 3, set())
