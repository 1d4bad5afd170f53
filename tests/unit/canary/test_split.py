"""The split: fixed for a caller, never backwards, even, and dealt anew by another salt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.canary.split import FULL, on_canary, position

SUBJECTS = 200_000
STEPS = range(1000, FULL + 1, 1000)
TOLERANCE = 0.002  # of all subjects; one standard deviation of a fair deal is 0.0011 at 50 %


def positions(salt: str) -> NDArray[np.uint64]:
    return np.fromiter((position(salt, f"key_{n}") for n in range(SUBJECTS)), np.uint64, SUBJECTS)


def taken(places: NDArray[np.uint64], weight: int) -> NDArray[np.bool_]:
    """`on_canary` for many at once: the largest place that a weight takes in, found in whole numbers."""
    return places <= np.uint64(-((-weight << 64) // FULL) - 1)


def test_from_nobody_to_everybody_nobody_moves_back_and_every_step_takes_in_its_share() -> None:
    places = positions("rollout-1")
    before = np.zeros(SUBJECTS, np.bool_)
    for weight in STEPS:
        now = taken(places, weight)
        assert not np.any(before & ~now), weight
        assert abs(now.mean() - weight / FULL) <= TOLERANCE, weight
        assert abs((now & ~before).mean() - 0.1) <= TOLERANCE, weight
        before = now
    assert before.all()


def test_the_property_above_is_told_of_the_function_that_routes() -> None:
    places = positions("rollout-1")[:2000]
    for weight in STEPS:
        routed = [on_canary("rollout-1", f"key_{n}", weight) for n in range(len(places))]
        assert routed == taken(places, weight).tolist()


def test_another_salt_takes_others() -> None:
    one, other = taken(positions("rollout-1"), 1000), taken(positions("rollout-2"), 1000)
    assert abs((one & other).mean() - 0.01) <= 0.001  # 10 % of 10 %
    ranks = np.corrcoef(
        positions("rollout-1").argsort().argsort(), positions("rollout-2").argsort().argsort()
    )
    assert abs(ranks[0, 1]) < 0.01


@pytest.mark.parametrize(
    ("salt", "subject", "place"),
    [
        ("", "", 0x94F6D9CDD1EA8248),
        ("rollout-1", "key_1", 0x9E2865141B955295),
        ("rollout-1", "key_2", 0x2536FFA7DF9C0913),
        ("rollout-1", "Zoë", 0x73876B0BB1CD0F91),
    ],
)
def test_places_are_those_of_every_other_worker_and_release(salt: str, subject: str, place: int) -> None:
    """As printed by `printf 'rollout-1\\0key_1' | b2sum -l 64`."""
    assert position(salt, subject) == place


def test_salt_and_subject_do_not_run_together() -> None:
    assert position("ab", "c") != position("a", "bc")


@given(st.text(), st.text())
def test_no_weight_is_nobody_and_the_full_weight_everybody(salt: str, subject: str) -> None:
    assert not on_canary(salt, subject, 0)
    assert on_canary(salt, subject, FULL)


@given(st.text(), st.integers(0, FULL), st.integers(0, FULL))
def test_whoever_a_weight_takes_in_a_larger_one_does_too(subject: str, one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert on_canary("salt", subject, small) <= on_canary("salt", subject, large)
