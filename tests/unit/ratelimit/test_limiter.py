"""The limiter around a store that goes away: who decides, what is told, and what is given back."""

import asyncio

import structlog.testing
from support.callers import until
from unit.ratelimit.callers import Clock, ScriptedStore, caller, tier

from gateway.domain import Quota
from gateway.ratelimit import RateLimiter, Refusal, State, headers
from gateway.ratelimit.breaker import Breaker

ME = caller()


class Bench:
    """A limiter with everything around it in the test's hands."""

    def __init__(self, shares: int = 2) -> None:
        self.clock = Clock()
        self.store = ScriptedStore()
        self.changes: list[State] = []
        self.limiter = RateLimiter(
            self.store,
            shares=shares,
            clock=self.clock,
            breaker=Breaker(clock=self.clock, spread=lambda: 1.0),
            on_state_change=self.changes.append,
        )

    async def outage(self) -> None:
        self.store.up = False
        for _ in range(5):
            await self.limiter.charge(caller("other"), tier(), 1)

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        await self.limiter.charge(caller("other"), tier(), 1)
        await turns()


async def turns() -> None:
    """Of the event loop, in which all is done that waits for no time."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_after_five_failures_the_store_is_left_alone_until_a_probe_finds_it_again() -> None:
    bench = Bench()
    await bench.outage()
    asked = len(bench.store.charges)
    for _ in range(10):
        assert (await bench.limiter.charge(ME, tier(), 0)).degraded
    assert len(bench.store.charges) == asked
    bench.store.up = True
    await bench.pass_time(1.0)
    assert not (await bench.limiter.charge(ME, tier(), 1)).degraded
    assert bench.changes == [State.OPEN, State.CLOSED]


async def test_a_long_outage_makes_two_lines_and_one_probe_a_second() -> None:
    bench = Bench()
    with structlog.testing.capture_logs() as lines:
        await bench.outage()
        for _ in range(600):
            await bench.pass_time(0.1)
        bench.store.up = True
        await bench.pass_time(1.0)
    assert [line["log_level"] for line in lines] == ["warning", "info"]
    assert 50 <= bench.store.probes <= 61


async def test_a_single_failure_is_decided_here_without_a_change_of_state() -> None:
    bench = Bench()
    bench.store.up = False
    decision = await bench.limiter.charge(ME, tier(), 1)
    assert (decision.allowed, decision.degraded, bench.limiter.healthy) == (True, True, True)


async def test_here_each_worker_gives_out_its_share() -> None:
    bench = Bench(shares=2)
    await bench.outage()
    decisions = [await bench.limiter.charge(ME, tier(Quota(10, 1, 10)), 1) for _ in range(8)]
    assert [decision.allowed for decision in decisions] == [True] * 5 + [False] * 3
    assert headers(decisions[-1]) == {
        "RateLimit-Policy": '"key";q=10;w=1, "tenant";q=1000;w=1',
        "RateLimit": '"key";r=0;t=1',
        "Retry-After": "1",
    }


async def test_a_tier_that_fails_closed_is_refused_and_told_when_to_come_back() -> None:
    bench = Bench()
    await bench.outage()
    decision = await bench.limiter.acquire(ME, tier(fail_open=False), 1)
    assert (decision.allowed, decision.refusal, decision.lease) == (False, Refusal.STORE_AWAY, None)
    assert headers(decision)["Retry-After"] == "1"
    assert headers(decision)["RateLimit"] == '"key";r=0;t=1'


async def test_a_shadow_tier_is_never_refused_and_tells_what_would_have_been() -> None:
    bench = Bench(shares=1)
    await bench.outage()
    shadow = tier(Quota(1, 60, 1), shadow=True, fail_open=False)
    decisions = [await bench.limiter.charge(ME, shadow, 1) for _ in range(3)]
    assert all(decision.allowed for decision in decisions)
    assert [decision.refusal for decision in decisions] == [None, Refusal.QUOTA, Refusal.QUOTA]
    assert "Retry-After" not in headers(decisions[-1])


async def test_a_process_that_nobody_calls_finds_the_store_again_when_asked_for_its_health() -> None:
    bench = Bench()
    await bench.outage()
    bench.store.up = True
    bench.clock.now += 1
    assert not bench.limiter.healthy
    await turns()
    assert bench.limiter.healthy


async def test_a_place_that_could_not_be_given_back_is_once_the_store_answers() -> None:
    bench = Bench()
    held = [await bench.limiter.acquire(ME, tier(), 1) for _ in range(3)]
    await bench.outage()
    for decision in held:
        bench.limiter.release(decision)
    assert bench.store.released == []
    bench.store.up = True
    await bench.pass_time(1.0)
    assert sorted(bench.store.released) == sorted(decision.lease.id for decision in held if decision.lease)


async def test_a_place_taken_here_is_given_back_here_even_when_the_store_is_back() -> None:
    bench = Bench(shares=1)
    await bench.outage()
    single = tier(in_flight=1)
    decision = await bench.limiter.acquire(ME, single, 1)
    assert (await bench.limiter.acquire(ME, single, 1)).refusal is Refusal.IN_FLIGHT
    bench.limiter.release(decision)
    assert (await bench.limiter.acquire(ME, single, 1)).allowed
    assert bench.store.released == []


async def test_a_refund_goes_where_the_charge_was_and_only_for_what_was_spent() -> None:
    bench = Bench(shares=1)
    shared = await bench.limiter.charge(ME, tier(), 3)
    bench.limiter.refund(ME, tier(), shared)
    await turns()
    assert bench.store.charges == [3, -3]

    await bench.outage()
    local = await bench.limiter.charge(ME, tier(), 10)
    refused = await bench.limiter.charge(ME, tier(), 10)
    bench.limiter.refund(ME, tier(), refused)
    assert not (await bench.limiter.charge(ME, tier(), 10)).allowed
    bench.limiter.refund(ME, tier(), local)
    assert (await bench.limiter.charge(ME, tier(), 10)).allowed


async def test_more_units_of_a_request_are_told_with_every_bound_also_that_on_how_many_at_once() -> None:
    bench = Bench()
    door = await bench.limiter.acquire(ME, tier(), 1)
    more = await bench.limiter.charge(ME, tier(), 4, [door])
    assert bench.store.charges == [1, 4]
    assert headers(more)["RateLimit-Policy"] == headers(door)["RateLimit-Policy"]
    assert '"in-flight";q=8' in headers(more)["RateLimit-Policy"]


async def test_a_store_that_is_away_is_told_with_every_bound_too() -> None:
    bench = Bench()
    closed = tier(fail_open=False)
    door = await bench.limiter.acquire(ME, closed, 1)
    await bench.outage()
    for decision in (
        await bench.limiter.acquire(ME, closed, 1),
        await bench.limiter.charge(ME, closed, 4, [door]),
    ):
        assert decision.refusal is Refusal.STORE_AWAY
        assert headers(decision)["RateLimit-Policy"] == headers(door)["RateLimit-Policy"]


async def test_what_a_request_costs_in_all_is_held_against_what_its_smallest_bound_ever_holds() -> None:
    bench = Bench()
    door = await bench.limiter.acquire(ME, tier(Quota(10, 1, 10)), 1)
    assert (await bench.limiter.charge(ME, tier(Quota(10, 1, 10)), 9, [door])).allowed
    never = await bench.limiter.charge(ME, tier(Quota(10, 1, 10)), 10, [door])
    assert (never.allowed, never.refusal, never.refused_by) == (False, Refusal.IMPOSSIBLE, "key")
    assert (never.cost, never.retry_after) == (11, None)
    assert bench.store.charges == [1, 9]  # and nothing for what could never be


async def test_places_that_nobody_is_short_of_are_given_back_a_moment_later_and_scarce_ones_at_once() -> None:
    bench = Bench()
    few = [await bench.limiter.acquire(ME, tier(in_flight=4), 1) for _ in range(2)]  # 5 are left of 4
    many = [await bench.limiter.acquire(ME, tier(in_flight=100), 1) for _ in range(2)]  # 5 are left of 100
    for decision in few:
        bench.limiter.release(decision)
    await turns()
    assert bench.store.released == []
    bench.limiter.release(many[0])
    await turns()
    assert len(bench.store.released) == 3  # with those that waited
    bench.limiter.release(many[1])
    await until(lambda: len(bench.store.released) == 4)


async def test_a_place_that_lingers_is_given_back_by_itself() -> None:
    bench = Bench()
    bench.limiter.release(await bench.limiter.acquire(ME, tier(in_flight=4), 1))
    await until(lambda: len(bench.store.released) == 1)
