"""The guard's word on a canary, with figures: what rolls back, what only waits, and what passes."""

import math

import pytest

from gateway.canary.analysis import (
    FIRST_LOOKS,
    LEVEL,
    WINDOW_SAMPLES,
    Cause,
    Counts,
    Evidence,
    Judgement,
    Pair,
    Verdict,
    judge,
    lately,
    level,
    windows,
)
from gateway.canary.histogram import Histogram, bucket
from gateway.canary.route import Guard
from gateway.canary.tails import fisher_tail

GUARD = Guard()
AGREEING = Guard(min_agreement=0.9)


def counts(requests: int, errors: int = 0, slow: int = 0, at: float = 0.009, then: float = 0.045) -> Counts:
    """`slow` of the calls took `then` seconds, the others `at`."""
    return Counts(requests, errors, Histogram.of({bucket(at): requests - slow, bucket(then): slow}))


def evidence(stable: Counts, canary: Counts, **others: object) -> Evidence:
    return Evidence(stable, canary, **others)  # type: ignore[arg-type]


def verdict(guard: Guard, known: Evidence) -> tuple[Verdict, Cause | None]:
    judgement = judge(guard, known)
    return judgement.verdict, judgement.cause


FINE = (Verdict.HEALTHY, None)


@pytest.mark.parametrize(
    ("stable", "canary", "expected"),
    [
        pytest.param(counts(9900), counts(100), FINE, id="the same"),
        pytest.param(counts(9900), counts(99), (Verdict.INSUFFICIENT, Cause.REQUESTS), id="one too few"),
        pytest.param(counts(9900), counts(0), (Verdict.INSUFFICIENT, Cause.REQUESTS), id="no canary at all"),
        pytest.param(counts(99), counts(100), (Verdict.INSUFFICIENT, Cause.REQUESTS), id="too little stable"),
        pytest.param(counts(0), counts(100), (Verdict.INSUFFICIENT, Cause.LATENCY), id="no stable at all"),
        pytest.param(
            counts(0), counts(100, 99), (Verdict.INSUFFICIENT, Cause.ERRORS), id="nothing to compare to"
        ),
        pytest.param(
            counts(9900, 50), counts(100, 10), (Verdict.ROLL_BACK, Cause.ERRORS), id="ten in a hundred"
        ),
        pytest.param(
            counts(9900, 50), counts(99, 50), (Verdict.INSUFFICIENT, Cause.REQUESTS), id="before enough"
        ),
        pytest.param(
            counts(9900, 50), counts(100, 3), (Verdict.INSUFFICIENT, Cause.ERRORS), id="z 3.5 by chance"
        ),
        pytest.param(counts(9900, 50), counts(100, 2), FINE, id="a gap of 1.5 points"),
        pytest.param(counts(10**6), counts(10**6, 20_000), FINE, id="certain, but 2 points are allowed"),
        pytest.param(
            counts(10**6),
            counts(10**6, 20_001),
            (Verdict.ROLL_BACK, Cause.ERRORS),
            id="certain, and one more",
        ),
        pytest.param(counts(100, 100), counts(100, 100), FINE, id="both fail: not the canary's fault"),
        pytest.param(counts(9900, 990), counts(100, 0), FINE, id="better"),
    ],
)
def test_errors(stable: Counts, canary: Counts, expected: tuple[Verdict, Cause | None]) -> None:
    assert verdict(GUARD, evidence(stable, canary)) == expected


def test_errors_that_are_few_need_a_chance_below_the_level_besides_z() -> None:
    stable = counts(9900, 50)
    for errors in range(3, 12):
        certain = fisher_tail((errors, 100), (50, 9900)) <= LEVEL
        expected = Verdict.ROLL_BACK if certain else Verdict.INSUFFICIENT
        assert judge(GUARD, evidence(stable, counts(100, errors))).verdict is expected
    assert fisher_tail((6, 100), (50, 9900)) > LEVEL > fisher_tail((7, 100), (50, 9900))


def test_the_bound_on_z_holds_too() -> None:
    known = evidence(counts(9900, 50), counts(100, 8))
    assert judge(GUARD, known).verdict is Verdict.ROLL_BACK
    assert judge(Guard(error_z=10), known).verdict is Verdict.INSUFFICIENT


def test_a_canary_that_turns_bad_does_not_hide_behind_its_past() -> None:
    recent = (counts(3000, 15), counts(300, 30))
    known = evidence(counts(10**6, 5000), counts(10**5, 530), lately=recent)
    assert verdict(GUARD, known) == (Verdict.ROLL_BACK, Cause.ERRORS)
    shared = (counts(3000, 300), counts(300, 30))
    assert verdict(GUARD, evidence(counts(10**6, 5000), counts(10**5, 530), lately=shared)) == FINE


def test_where_the_stable_version_answers_nobody_its_last_counts_stand_in_once() -> None:
    alone = (Counts(), counts(290, 11))
    assert verdict(GUARD, evidence(counts(263), counts(290, 11), lately=alone)) == (
        Verdict.INSUFFICIENT,
        Cause.ERRORS,
    )
    assert fisher_tail((11, 290), (0, 3 * 263)) <= LEVEL < fisher_tail((11, 290), (0, 263))


def by_second(*seconds: tuple[int, int]) -> Counts:
    """Of requests and failures each."""
    return sum((counts(requests, errors).of_one_second() for requests, errors in seconds), Counts())


@pytest.mark.parametrize(
    ("known", "burst"),
    [
        pytest.param(counts(100, 10), 1, id="nobody knows when they came"),
        pytest.param(by_second(*[(20, 0)] * 9), 1, id="none"),
        pytest.param(by_second(*[(20, 2)] * 9), 1, id="as many each second"),
        pytest.param(by_second((20, 10), (200, 100), (40, 20)), 1, id="as many as there are requests"),
        pytest.param(by_second((20, 8), *[(20, 0)] * 9), 8, id="all at once"),
        pytest.param(by_second((20, 8), *[(20, 0)] * 4, (20, 8), *[(20, 0)] * 94), 7.92, id="at once, twice"),
        pytest.param(by_second((20, 8)), 8, id="in the only second there is"),
    ],
)
def test_failures_that_come_together_are_one_burst(known: Counts, burst: float) -> None:
    assert known.burst == pytest.approx(burst, abs=0.01)


@pytest.mark.parametrize(
    ("canary", "expected"),
    [
        pytest.param([8, 0, 0, 0, 0, 0], Verdict.INSUFFICIENT, id="eight of one second"),
        pytest.param([8, 0, 0, 0, 8, 0], Verdict.INSUFFICIENT, id="of two"),
        pytest.param([2, 1, 2, 1, 1, 1], Verdict.ROLL_BACK, id="eight by themselves"),
        pytest.param([0, 0, 0, 0, 6, 6], Verdict.INSUFFICIENT, id="for two seconds now"),
        pytest.param([0, 0, 6, 5, 7, 6], Verdict.ROLL_BACK, id="for four seconds"),
    ],
)
def test_what_came_together_is_evidence_as_one(canary: list[int], expected: Verdict) -> None:
    stable = by_second(*[(380, 0)] * 6)
    pair = stable, by_second(*((20, errors) for errors in canary))
    assert judge(GUARD, evidence(*pair, lately=pair)).verdict is expected


SLOW: Pair = (counts(400, slow=10), counts(20, slow=10))
EVEN: Pair = (counts(400, slow=10), counts(20))


@pytest.mark.parametrize(
    ("guard", "pairs", "expected"),
    [
        pytest.param(GUARD, [SLOW, SLOW, SLOW], (Verdict.ROLL_BACK, Cause.LATENCY), id="slow three times"),
        pytest.param(GUARD, [SLOW, SLOW], FINE, id="slow twice so far"),
        pytest.param(GUARD, [SLOW, EVEN, SLOW], FINE, id="even in between"),
        pytest.param(GUARD, [SLOW, SLOW, SLOW, EVEN], FINE, id="slow a while ago"),
        pytest.param(GUARD, [EVEN, SLOW, SLOW, SLOW], (Verdict.ROLL_BACK, Cause.LATENCY), id="slow lately"),
        pytest.param(
            Guard(latency_windows=2), [SLOW, SLOW], (Verdict.ROLL_BACK, Cause.LATENCY), id="two asked for"
        ),
        pytest.param(Guard(latency_factor=None), [SLOW] * 3, FINE, id="latency not judged"),
        pytest.param(Guard(latency_factor=6.0), [SLOW] * 3, FINE, id="below the factor"),
    ],
)
def test_latency(guard: Guard, pairs: list[Pair], expected: tuple[Verdict, Cause | None]) -> None:
    known = evidence(counts(9900, slow=200), counts(1000), windows=pairs)
    assert verdict(guard, known) == expected


@pytest.mark.parametrize(
    ("usual", "slow", "expected"),
    [
        (400, 2, Verdict.HEALTHY),
        (400, 4, Verdict.HEALTHY),
        (400, 5, Verdict.ROLL_BACK),
        (20, 7, Verdict.HEALTHY),
        (20, 8, Verdict.ROLL_BACK),
    ],
)
def test_a_tail_that_chance_could_have_made_is_no_reason_to_go_back(
    usual: int, slow: int, expected: Verdict
) -> None:
    """The stable version's p95 is the less certain the fewer its calls are: one in twenty is beyond it."""
    pairs = [(counts(usual), counts(20, slow=slow))] * 3
    assert judge(GUARD, evidence(counts(9900), counts(1000), windows=pairs)).verdict is expected
    tail = fisher_tail((3 * slow, 60), (3 * usual // 20, 3 * usual))
    assert (tail <= LEVEL) is (expected is Verdict.ROLL_BACK)


def test_latency_is_compared_to_the_last_counts_of_a_stable_version_that_answers_nobody() -> None:
    pairs = [(Counts(), counts(100, slow=50))] * 3
    known = evidence(counts(9900), counts(1000), windows=pairs)
    assert verdict(GUARD, known) == (Verdict.ROLL_BACK, Cause.LATENCY)


def test_a_canary_that_looks_slow_over_everything_waits() -> None:
    known = evidence(counts(9900), counts(1000, slow=60))
    assert verdict(GUARD, known) == (Verdict.INSUFFICIENT, Cause.LATENCY)


@pytest.mark.parametrize(
    ("compared", "agreed", "expected"),
    [
        pytest.param(50, 50, FINE, id="all agree"),
        pytest.param(49, 0, (Verdict.INSUFFICIENT, Cause.AGREEMENT), id="one comparison too few"),
        pytest.param(50, 45, FINE, id="on the bound"),
        pytest.param(50, 44, (Verdict.INSUFFICIENT, Cause.AGREEMENT), id="below it, by chance"),
        pytest.param(50, 34, (Verdict.INSUFFICIENT, Cause.AGREEMENT), id="16 of 50 disagree: 1.7e-5"),
        pytest.param(50, 33, (Verdict.ROLL_BACK, Cause.AGREEMENT), id="17 of 50 disagree: 3.8e-6"),
        pytest.param(10**6, 898_000, (Verdict.ROLL_BACK, Cause.AGREEMENT), id="little, but certain"),
    ],
)
def test_agreement(compared: int, agreed: int, expected: tuple[Verdict, Cause | None]) -> None:
    known = evidence(counts(9900), counts(100), compared=compared, agreed=agreed)
    assert verdict(AGREEING, known) == expected
    assert verdict(GUARD, known) == FINE


def test_agreement_condemns_a_canary_that_is_only_mirrored() -> None:
    known = evidence(counts(9900), counts(0), compared=100, agreed=10)
    assert verdict(AGREEING, known) == (Verdict.ROLL_BACK, Cause.AGREEMENT)


def test_where_all_must_agree_one_disagreement_is_enough() -> None:
    known = evidence(counts(9900), counts(100), compared=50, agreed=49)
    assert verdict(Guard(min_agreement=1.0), known) == (Verdict.ROLL_BACK, Cause.AGREEMENT)


@pytest.mark.parametrize(
    ("stable", "refused", "condemned"),
    [
        pytest.param(
            Counts(), [Counts(3, 3)], True, id="three of three, and nothing known of the stable version"
        ),
        pytest.param(Counts(), [Counts(2, 2)], False, id="two of two"),
        pytest.param(Counts(), [Counts(2, 2), Counts(4, 4), Counts(300, 4)], True, id="since lately"),
        pytest.param(Counts(), [Counts(300, 4)], False, id="four of many"),
        pytest.param(
            Counts(100, 50), [Counts(5, 5)], False, id="the stable version fails at every other call"
        ),
        pytest.param(Counts(100, 50), [Counts(30, 30)], True, id="it fails at every call"),
    ],
)
def test_behind_an_open_breaker_few_calls_are_enough(
    stable: Counts, refused: list[Counts], condemned: bool
) -> None:
    known = evidence(stable, Counts(), refused=refused)
    assert (verdict(GUARD, known) == (Verdict.ROLL_BACK, Cause.BREAKER)) is condemned


def test_the_chance_falls_with_the_looks_so_that_those_of_thirty_days_stay_below_a_hundredth() -> None:
    assert level(0) == level(FIRST_LOOKS) == LEVEL
    bounds = 4  # errors since the step began, and lately; latency; agreement
    assert bounds * sum(level(look) for look in range(30 * 86_400)) < 0.0105
    certain, likely = counts(100, 30), counts(100, 8)
    for canary, looks, expected in (
        (likely, 0, Verdict.ROLL_BACK),
        (likely, 86_400, Verdict.INSUFFICIENT),
        (certain, 30 * 86_400, Verdict.ROLL_BACK),
    ):
        assert judge(GUARD, evidence(counts(9900, 50), canary, looks=looks)).verdict is expected


@pytest.mark.parametrize(
    ("known", "judgement"),
    [
        (
            evidence(counts(9900, 50), counts(100, 10)),
            Judgement(
                Verdict.ROLL_BACK,
                "10.0% of 100 requests failed on the canary, 0.5% of 9900 on the stable version (z 12.2).",
                Cause.ERRORS,
            ),
        ),
        (
            evidence(counts(9900, slow=200), counts(1000), windows=[SLOW] * 3),
            Judgement(
                Verdict.ROLL_BACK,
                "p95 over 3 windows in a row: 49 ms on the canary, 10 ms on the stable version.",
                Cause.LATENCY,
            ),
        ),
        (
            evidence(counts(9900), counts(100), compared=100, agreed=61),
            Judgement(Verdict.ROLL_BACK, "61.0% of 100 answers agree; the bound is 90.0%.", Cause.AGREEMENT),
        ),
        (
            evidence(counts(9900), counts(42), compared=100, agreed=100),
            Judgement(Verdict.INSUFFICIENT, "42 of 100 requests on the canary.", Cause.REQUESTS),
        ),
        (
            evidence(counts(9900), counts(100), compared=100, agreed=100),
            Judgement(Verdict.HEALTHY, "100 requests on the canary, all bounds kept."),
        ),
    ],
)
def test_an_operator_reads_the_figures(known: Evidence, judgement: Judgement) -> None:
    assert judge(AGREEING, known) == judgement


def test_windows_last_their_seconds_and_the_newest_comes_last() -> None:
    seconds = [(counts(100 + n), counts(50 + n)) for n in range(7)]
    found = windows(seconds, GUARD)
    assert [canary.requests for _, canary in found] == [51 + 52, 53 + 54, 55 + 56]
    assert [stable.requests for stable, _ in found] == [101 + 102, 103 + 104, 105 + 106]


def test_windows_grow_until_both_versions_have_enough_samples() -> None:
    seconds = [(counts(200), counts(2))] * 25
    assert [canary.requests for _, canary in windows(seconds, GUARD)] == [WINDOW_SAMPLES] * 2
    assert windows([(counts(2), counts(200))] * 9, GUARD) == ()
    assert windows([], GUARD) == ()


@pytest.mark.parametrize(
    ("of_stable", "of_canary", "seconds"),
    [(200, 100, 6), (200, 10, 10), (2, 100, 50), (1, 100, 60)],
    ids=["as long as the windows", "until the canary has enough", "until both have", "all that is known"],
)
def test_errors_are_judged_over_the_last_seconds_with_enough_requests(
    of_stable: int, of_canary: int, seconds: int
) -> None:
    found = lately([(counts(of_stable), counts(of_canary))] * 60, GUARD)
    assert [each.requests for each in found] == [of_stable * seconds, of_canary * seconds]
    alone, canary = lately([(counts(of_stable), counts(of_canary))] * 60, GUARD, alone=True)
    assert (alone, canary.requests) == (Counts(), of_canary * max(6, 100 // of_canary))


def test_windows_of_a_canary_that_answers_everybody_have_no_stable_side() -> None:
    seconds = [(counts(1), counts(200))] * 6
    assert windows(seconds, GUARD, alone=True) == ((Counts(), counts(400)),) * 3


def test_nothing_is_certain_of_a_pooled_rate_of_one() -> None:
    assert math.isclose(counts(100, 100).error_rate, 1.0)
    assert judge(GUARD, evidence(counts(100, 97), counts(100, 100))).verdict is Verdict.INSUFFICIENT
