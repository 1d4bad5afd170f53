"""What is taken ahead for callers who come often: how much, when it goes back, and that nothing is given out twice."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from support.virtual_time import VirtualLoop
from unit.ratelimit.callers import ScriptedStore, caller, ignore, tier

from gateway.domain import Quota, Tier
from gateway.ratelimit import Decision, RateLimiter, headers
from gateway.ratelimit.gcra import Verdict, decide
from gateway.ratelimit.plan import Plan, plan

ME = caller()
MANY = Quota(10_000, 1, 10_000)
WIDE = tier(MANY, MANY, in_flight=1000)
PREMIUM = tier(Quota(500, 1, 1000), Quota(2000, 1, 4000), in_flight=256)


class Counting(ScriptedStore):
    """Bounds that do not refill: so many units, and as many places."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units
        self.places: set[str] = set()

    async def charge(
        self, plan: Plan, cost: int, leases: Sequence[str] = (), unheard: Callable[[], None] = ignore
    ) -> Verdict:
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


class Refilling(ScriptedStore):
    """Rates as the script keeps them, on the loop's clock; each way, there and back, takes the next of `delays`
    (seconds)."""

    def __init__(self, delays: Sequence[float] = (0.0,)) -> None:
        super().__init__()
        self._delays = itertools.cycle(delays)
        self._tats: tuple[float | None, ...] | None = None
        self._places: set[str] = set()

    async def charge(
        self, plan: Plan, cost: int, leases: Sequence[str] = (), unheard: Callable[[], None] = ignore
    ) -> Verdict:
        await asyncio.sleep(next(self._delays))
        self.charges.append(cost)
        verdict = self._decided(plan, cost)
        self._places.update(leases)
        left = plan.in_flight - len(self._places)
        await asyncio.sleep(next(self._delays))
        return replace(verdict, remaining=(*verdict.remaining, left), resets=(*verdict.resets, 0))

    def left(self, plan: Plan) -> tuple[int, ...]:
        return self._decided(plan, 0).remaining

    def _decided(self, plan: Plan, cost: int) -> Verdict:
        rates = [bound.rate for bound in plan.quotas]
        now = round(asyncio.get_running_loop().time() * 1_000_000)
        verdict, self._tats = decide(rates, self._tats or [None] * len(rates), cost, now)
        return verdict

    async def release(self, flight_key: str, leases: Sequence[str]) -> None:
        self._places.difference_update(leases)


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


def told_beside_what_exists(
    bounds: Tier, delays: Sequence[float], pauses: Sequence[float]
) -> list[tuple[Decision, tuple[int, ...]]]:
    """Each decision of requests one after the other, with what the store and this process have left just then."""

    async def course() -> list[tuple[Decision, tuple[int, ...]]]:
        store, bound, found = Refilling(delays), plan(ME, bounds), []
        async with RateLimiter(store, shares=1) as limiter:
            for number, pause in enumerate(pauses, 1):
                decision = await limiter.acquire(ME, bounds, 1)
                here = sum(store.charges) - number  # also what is still on its way
                found.append((decision, tuple(each + here for each in store.left(bound))))
                limiter.release(decision)
                await asyncio.sleep(pause)
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(course())


@settings(deadline=None, max_examples=60)
@given(
    delays=st.lists(st.sampled_from([0.0, 0.0003, 0.004]), min_size=1, max_size=5),
    pauses=st.lists(st.sampled_from([0.0, 0.0005, 0.003, 0.02, 0.2]), min_size=20, max_size=80),
)
def test_never_is_more_told_than_exists_nor_than_the_bound_holds(
    delays: list[float], pauses: list[float]
) -> None:
    for decision, exists in told_beside_what_exists(PREMIUM, delays, pauses):
        for bucket, most in zip(decision.buckets, exists, strict=False):
            assert bucket.remaining <= min(most, bucket.capacity)


def test_the_bound_that_is_told_is_the_scarcest_one_though_both_fill_up_all_the_time() -> None:
    found = told_beside_what_exists(PREMIUM, [0.0003], [0.003] * 400)
    told = {headers(decision)["RateLimit"].partition(";t=")[0] for decision, _ in found}
    assert told <= {f'"key";r={left}' for left in range(980, 1001)}


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
        async def charge(
            self, plan: Plan, cost: int, leases: Sequence[str] = (), unheard: Callable[[], None] = ignore
        ) -> Verdict:
            verdict = await super().charge(plan, cost, leases, unheard)
            await asyncio.sleep(0.01)
            return verdict

    store = Slow(10_000)
    async with RateLimiter(store, shares=1) as limiter:
        await requests(limiter, 3)
        assert len(store.places) > 1
    assert (store.units, store.places) == (10_000 - 3, set())
