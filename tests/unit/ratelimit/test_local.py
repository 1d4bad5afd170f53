"""Limits of one process alone."""

import pytest
from unit.ratelimit.callers import Clock, caller, tier

from gateway.domain import Quota
from gateway.ratelimit.gcra import NEVER
from gateway.ratelimit.local import LocalLimits
from gateway.ratelimit.plan import plan

PLAN = plan(caller(), tier(key=Quota(100, 1, 20)))


def test_two_workers_together_give_out_the_quota_and_no_more() -> None:
    clock = Clock()
    workers = [LocalLimits(shares=2, clock=clock) for _ in range(2)]
    allowed = 0
    for _ in range(1500):
        allowed += sum(worker.charge(PLAN, 1, None).allowed for worker in workers)
        clock.now += 0.002
    assert allowed == pytest.approx(20 + 100 * 3, abs=4)


def test_a_request_above_the_share_of_the_burst_passes_and_is_paid_for_in_full() -> None:
    """Also by a caller that slips cheap requests in between to have the bucket brought into range."""
    clock = Clock()
    workers = [LocalLimits(shares=4, clock=clock) for _ in range(4)]
    spent = 0
    for _ in range(1000):
        for worker in workers:
            spent += 20 * worker.charge(PLAN, 20, None).allowed
            worker.charge(PLAN, 6, None)
        clock.now += 0.01
    assert 900 < spent <= 80 + 100 * 10


def test_what_never_fits_the_quota_never_fits_here() -> None:
    verdict = LocalLimits(shares=4, clock=Clock()).charge(PLAN, 21, None)
    assert (verdict.allowed, verdict.wait) == (False, NEVER)


def test_the_day_is_bounded_here_too() -> None:
    limits = LocalLimits(shares=2, clock=Clock())
    bounds = plan(caller(), tier(key=Quota(100, 1, 100), daily=10))
    assert [limits.charge(bounds, 1, None).allowed for _ in range(6)] == [True] * 5 + [False]


def test_a_refund_gives_back_what_was_taken() -> None:
    limits = LocalLimits(shares=1, clock=Clock())
    assert limits.charge(PLAN, 20, None).allowed
    assert not limits.charge(PLAN, 5, None).allowed
    limits.refund(PLAN, 5)
    assert limits.charge(PLAN, 5, None).allowed


def test_places_in_flight_are_shared_out_with_at_least_one_for_each() -> None:
    limits = LocalLimits(shares=4, clock=Clock())
    few, many = plan(caller("a"), tier(in_flight=2)), plan(caller("b"), tier(in_flight=8))
    assert [limits.charge(few, 1, lease).allowed for lease in ("1", "2")] == [True, False]
    assert [limits.charge(many, 1, lease).allowed for lease in ("1", "2", "3")] == [True, True, False]


def test_a_place_that_is_given_back_twice_is_one_place() -> None:
    limits = LocalLimits(shares=1, clock=Clock())
    bounds = plan(caller(), tier(in_flight=2))
    assert limits.charge(bounds, 0, "1").allowed
    assert limits.charge(bounds, 0, "2").allowed
    for _ in range(2):
        limits.release(bounds.flight_key, "1")
    assert limits.charge(bounds, 0, "3").allowed
    assert not limits.charge(bounds, 0, "4").allowed


def test_a_request_without_a_place_spends_nothing() -> None:
    limits = LocalLimits(shares=1, clock=Clock())
    bounds = plan(caller(), tier(in_flight=1))
    limits.charge(bounds, 1, "1")
    refused = limits.charge(bounds, 1, "2")
    assert (refused.refused_by, refused.remaining) == (2, (9, 999, 0))
    assert limits.charge(bounds, 0, None).remaining == (9, 999)


def test_memory_stays_bounded_however_many_callers_come() -> None:
    limits = LocalLimits(shares=1, clock=Clock())
    for number in range(6000):
        limits.charge(plan(caller(str(number), str(number)), tier()), 1, None)
    assert len(limits._tats) <= 8192
