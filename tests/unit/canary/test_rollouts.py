"""Whole rollouts, simulated from fixed seeds: an equal canary is left alone, and a bad one is caught at once."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from unit.canary.rollouts import Behaviour, Rollout, Traffic, World
from unit.canary.rollouts import windows as summed_windows

from gateway.canary.analysis import Cause, windows
from gateway.canary.route import Guard, Step
from gateway.canary.split import FULL

ROLLOUTS = 1000
RATES = (50, 200, 2000)  # of all calls a second; at 1 % the canary has half a call a second, 2, and 20
# Harder than life: many errors, a long tail, and an agreement just above its bound.
EQUALS = list(product(RATES, (0.0, 0.005, 0.02, 0.05), (0.3, 0.5, 1.0), (1.0, 0.97, 0.92)))


def equal(seed: int) -> World:
    rate, errors, sigma, agreement = EQUALS[seed % len(EQUALS)]
    version = Behaviour(errors=errors, sigma=sigma)
    return World(rate, version, version, agreement)


def test_less_than_one_in_a_hundred_equal_canaries_is_rolled_back_and_the_others_are_promoted() -> None:
    outcomes = [Rollout(equal(seed), seed).run() for seed in range(ROLLOUTS)]
    rolled_back = Counter(outcome.cause for outcome in outcomes if outcome.rolled_back)
    assert rolled_back.total() < ROLLOUTS / 100, rolled_back
    assert sum(outcome.promoted for outcome in outcomes) + rolled_back.total() == ROLLOUTS


@pytest.mark.parametrize("weight", [9500, 9900, FULL])
def test_an_equal_canary_keeps_most_of_the_traffic_although_little_is_known_of_the_stable_version(
    weight: int,
) -> None:
    """Long tails, which are the hardest: a p95 of sixty calls is anywhere."""
    plan = tuple(Step(each, 10, 100) for each in (100, 2500) if each < weight)
    version = Behaviour(sigma=1.0)
    outcomes = [
        Rollout(World(200, version, version), seed, Guard(), (*plan, Step(weight, 600, 100))).run(longest=600)
        for seed in range(40)
    ]
    assert not any(outcome.rolled_back for outcome in outcomes)


BAD = {
    Cause.ERRORS: {"canary": Behaviour(errors=0.1)},
    Cause.LATENCY: {"canary": Behaviour(median=4 * Behaviour().median)},
    Cause.AGREEMENT: {"agreement": 0.6},
}


@pytest.mark.parametrize("cause", BAD)
@pytest.mark.parametrize("rate", [200, 2000])
def test_a_bad_canary_is_rolled_back_within_seconds_of_enough_evidence(cause: Cause, rate: int) -> None:
    delays = []
    for seed in range(100):
        outcome = Rollout(World(rate, **BAD[cause]), seed).run()
        assert outcome.cause is cause
        since = outcome.compared_at if cause is Cause.AGREEMENT else outcome.enough_at
        delays.append(outcome.seconds - (since or 0))
    delays.sort()
    assert delays[50] <= 1, delays
    assert delays[95] <= 5, delays


def test_a_canary_with_few_calls_is_caught_after_as_many_of_them() -> None:
    """At half a call a second what counts is how many calls a bad canary gets to answer."""
    outcomes = [Rollout(World(50, canary=Behaviour(errors=0.1)), seed).run() for seed in range(100)]
    assert all(outcome.cause is Cause.ERRORS for outcome in outcomes)
    later = sorted(outcome.seconds - (outcome.enough_at or 0) for outcome in outcomes)
    assert later[50] / 2 <= 1  # calls
    assert later[95] / 2 <= 20


@pytest.mark.parametrize("rate", [3.0, 60.0])
@pytest.mark.parametrize("alone", [False, True])
def test_the_simulation_cuts_its_windows_as_the_guard_does(rate: float, alone: bool) -> None:
    draw = np.random.default_rng(7)
    stable, canary = (Traffic(Behaviour(), rate * share, draw) for share in (2, 1))
    guard = Guard(latency_windows=4)
    for second in range(1, 60):
        stable.until(second)
        canary.until(second)
        seconds = [(stable.counts(n, n + 1), canary.counts(n, n + 1)) for n in range(second)]
        assert windows(seconds, guard, alone=alone) == tuple(
            summed_windows(stable, canary, second, guard, alone=alone)
        )
