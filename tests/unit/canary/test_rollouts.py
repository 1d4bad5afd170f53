"""Whole rollouts, simulated from fixed seeds: an equal canary is left alone, and a bad one is caught at once."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from unit.canary.rollouts import Behaviour, Rollout, Traffic, World
from unit.canary.rollouts import lately as summed_lately
from unit.canary.rollouts import windows as summed_windows

from gateway.canary.analysis import Cause, Counts, Evidence, Verdict, judge, lately, windows
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


TWENTIETH = (Step(500, 600, 100),)


@pytest.mark.parametrize("burst", [2, 4, 8, 16])
def test_an_equal_canary_whose_failures_come_together_is_left_alone(burst: int) -> None:
    version = Behaviour(errors=0.01, burst=burst)
    rollouts = [Rollout(World(400, version, version), seed, Guard(), TWENTIETH) for seed in range(20)]
    assert not any(rollout.run(longest=120).rolled_back for rollout in rollouts)


@pytest.mark.parametrize("burst", [1, 4])
def test_a_bad_canary_is_rolled_back_within_seconds_however_its_failures_come(burst: int) -> None:
    world = World(400, canary=Behaviour(errors=0.3, burst=burst))
    outcomes = [Rollout(world, seed, Guard(), TWENTIETH).run() for seed in range(40)]
    delays = sorted(outcome.seconds - (outcome.enough_at or 0) for outcome in outcomes)
    assert delays[20] <= 1, delays
    assert delays[-1] <= 5, delays


DAY = 86_400
LAST = 6  # seconds of the guard's three windows, where each has calls enough


def day(draw: np.random.Generator, rate: float, errors: float) -> tuple[list[int], list[int]]:
    """Requests and failures by second, summed up."""
    requests = draw.poisson(rate, DAY)
    failures = draw.binomial(requests, errors)
    return np.cumsum([0, *requests]), np.cumsum([0, *failures])


@pytest.mark.parametrize("rate", [20, 50])  # of the canary's calls; the stable version has nine times as many
def test_an_equal_canary_that_fails_now_and_then_stays_for_days_at_one_weight(rate: int) -> None:
    """Only the looks are judged at which the bounds are crossed: at the others nothing could happen."""
    guard = Guard(latency_factor=None)
    rolled_back = 0
    for seed in range(20):
        draw = np.random.default_rng(seed)
        canary, stable = day(draw, rate, 0.02), day(draw, 9 * rate, 0.02)
        n, k = (each[LAST:] - each[:-LAST] for each in canary)
        m, other = (each[LAST:] - each[:-LAST] for each in stable)
        pooled = (k + other) / (n + m)
        z = (k / n - other / m) / np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / n + 1 / m), 1e-12))
        crossed = (n >= guard.min_requests) & (k / n - other / m > guard.max_error_gap) & (z > guard.error_z)
        rolled_back += any(
            judge(
                guard,
                Evidence(
                    Counts(int(stable[0][at + LAST]), int(stable[1][at + LAST])),
                    Counts(int(canary[0][at + LAST]), int(canary[1][at + LAST])),
                    lately=(Counts(int(m[at]), int(other[at])), Counts(int(n[at]), int(k[at]))),
                    looks=int(at) + LAST,
                ),
            ).verdict
            is Verdict.ROLL_BACK
            for at in np.flatnonzero(crossed)
        )
    assert rolled_back == 0


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize(
    "bad", [Behaviour(errors=0.5), Behaviour(median=4 * Behaviour().median)], ids=["it fails", "it is slow"]
)
def test_a_canary_that_turns_bad_after_a_month_is_taken_back_within_seconds(
    bad: Behaviour, share: float
) -> None:
    for seed in range(10):
        draw = np.random.default_rng(seed)
        stable = Traffic(Behaviour(), 200 * (1 - share), draw)
        sound, canary = (Traffic(each, 200 * share, draw) for each in (Behaviour(), bad))
        sound.until(3600)
        stable.until(3600)
        before = stable.counts(0, 3600), sound.counts(0, 3600)
        stable = Traffic(Behaviour(), 200 * (1 - share), draw)
        for second in range(1, 60):
            stable.until(second)
            canary.until(second)
            known = Evidence(
                before[0] + stable.counts(0, second),
                before[1] + canary.counts(0, second),
                summed_windows(stable, canary, second, Guard(), alone=False),
                summed_lately(stable, canary, second, Guard(), alone=False),
                looks=30 * DAY + second,
            )
            if judge(Guard(), known).verdict is Verdict.ROLL_BACK:
                break
        assert second <= 15


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
    assert delays[95] <= (10 if cause is Cause.ERRORS else 5), delays


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
        assert lately(seconds, guard, alone=alone) == summed_lately(
            stable, canary, second, guard, alone=alone
        )
