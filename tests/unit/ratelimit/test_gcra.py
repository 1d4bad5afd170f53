"""The rate decision by itself."""

import pytest

from gateway.domain import Quota
from gateway.ratelimit.gcra import NEVER, Rate, decide

NOW = 1_790_000_000_000_000
TEN_A_SECOND = Rate.of(Quota(10, 1, 5))
SLOW = Rate.of(Quota(60, 60, 2))


def test_a_full_bucket_gives_its_burst_and_then_one_unit_an_interval() -> None:
    tat: float | None = None
    for left in (4, 3, 2, 1, 0):
        verdict, (tat,) = decide([TEN_A_SECOND], [tat], 1, NOW)
        assert (verdict.allowed, verdict.remaining) == (True, (left,))
    verdict, (tat,) = decide([TEN_A_SECOND], [tat], 1, NOW)
    assert (verdict.allowed, verdict.wait, verdict.refused_by) == (False, 100_000, 0)
    verdict, _ = decide([TEN_A_SECOND], [tat], 1, NOW + 100_000)
    assert verdict.allowed


def test_what_one_bucket_refuses_is_taken_from_none() -> None:
    empty = NOW + 2_000_000.0
    verdict, tats = decide([TEN_A_SECOND, SLOW], [None, empty], 1, NOW)
    assert (verdict.allowed, verdict.refused_by) == (False, 1)
    assert tats == (NOW, empty)
    assert verdict.remaining == (5, 0)


def test_the_longest_wait_of_all_refusals_is_the_one_told() -> None:
    verdict, _ = decide([TEN_A_SECOND, SLOW], [NOW + 500_000, NOW + 2_000_000], 1, NOW)
    assert (verdict.wait, verdict.refused_by) == (1_000_000, 1)


def test_a_cost_above_the_burst_is_refused_for_ever_however_long_the_others_wait() -> None:
    verdict, _ = decide([SLOW, TEN_A_SECOND], [NOW + 2_000_000, None], 6, NOW)
    assert (verdict.wait, verdict.refused_by) == (NEVER, 0)


def test_a_cost_of_nothing_looks_and_leaves_all_as_it_is() -> None:
    empty = NOW + 500_000.0
    verdict, tats = decide([TEN_A_SECOND], [empty], 0, NOW)
    assert (verdict.allowed, verdict.remaining, tats) == (True, (0,), (empty,))


def test_a_negative_cost_gives_back_but_never_more_than_a_full_bucket() -> None:
    _, tats = decide([TEN_A_SECOND], [None], 3, NOW)
    verdict, tats = decide([TEN_A_SECOND], tats, -2, NOW)
    assert verdict.remaining == (4,)
    verdict, tats = decide([TEN_A_SECOND], tats, -2, NOW)
    assert (verdict.remaining, tats) == ((5,), (NOW,))


@pytest.mark.parametrize("poison", [NOW + 10**13, float("inf")], ids=["a year ahead", "infinite"])
def test_a_time_that_cannot_be_heals_also_where_the_charge_is_refused(poison: float) -> None:
    verdict, (tat,) = decide([TEN_A_SECOND], [poison], 1, NOW)
    assert not verdict.allowed
    assert tat == NOW + 500_000
    verdict, _ = decide([TEN_A_SECOND], [tat], 1, NOW + 100_000)
    assert verdict.allowed


def test_a_time_that_is_no_number_counts_as_a_full_bucket() -> None:
    verdict, _ = decide([TEN_A_SECOND], [float("nan")], 1, NOW)
    assert verdict.remaining == (4,)


def test_rounding_to_microseconds_never_costs_a_unit_of_the_burst() -> None:
    rate = Rate.of(Quota(3, 2, 12))
    tat: float | None = None
    for left in range(11, -1, -1):
        verdict, (tat,) = decide([rate], [tat], 1, NOW)
        assert (verdict.allowed, verdict.remaining) == (True, (left,))
    verdict, _ = decide([rate], [tat], 1, NOW)
    assert not verdict.allowed


@pytest.mark.parametrize("quota", [Quota(0, 1, 1), Quota(1, 0, 1), Quota(1, 1, 0), Quota(1, float("nan"), 1)])
def test_a_quota_that_nobody_could_use_is_refused(quota: Quota) -> None:
    with pytest.raises(ValueError, match="not a quota"):
        Rate.of(quota)
