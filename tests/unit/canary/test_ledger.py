"""The evidence of a rollout: what counts for whom and since when, and when an open breaker takes a canary back."""

from dataclasses import replace

import pytest

from gateway.canary.analysis import Cause, judge
from gateway.canary.counts import KEPT, Bucket, Reading, Series, Tally
from gateway.canary.histogram import Histogram, bucket
from gateway.canary.ledger import Ledger, continued, evidence
from gateway.canary.outcomes import BREAKER, FALLBACK
from gateway.canary.route import default_route
from gateway.domain import Variant

NOW = 1_000
ROUTE = replace(default_route("digits", "1"), canary="2", weight=5000, salt="salt")
REFUSED, STABLE_REFUSED = Series("2", BREAKER), Series("1", BREAKER)
CANARY, SHADOW, PINNED = (Series("2", each) for each in (Variant.CANARY, Variant.SHADOW, Variant.PINNED))
STABLE = Series("1", Variant.STABLE)
MARK = "5000/0/None"
INSTEAD = Series("1", FALLBACK)
FAILED, ONCE, FINE = Tally(requests=5, errors=5), Tally(requests=1, errors=1), Tally(requests=5)
AMONG_MANY = Tally(requests=40, errors=1)
BUSY = Tally(requests=100, errors=1, latency=Histogram.of({bucket(0.01): 99}).counts)
BAD = Tally(requests=100, errors=50, latency=Histogram.of({bucket(0.01): 50}).counts)


@pytest.mark.parametrize(
    ("seen", "opened"),
    [
        ({(2, REFUSED): FAILED, (4, CANARY): FAILED}, True),
        ({(2, REFUSED): FAILED, (4, SHADOW): FAILED}, True),
        ({(2, REFUSED): FAILED, (4, CANARY): FAILED, (20, CANARY): FINE}, True),
        (
            {
                (1, REFUSED): ONCE,
                (1, CANARY): ONCE,
                (12, CANARY): ONCE,
                (30, CANARY): ONCE,
                (60, CANARY): ONCE,
            },
            True,
        ),
        ({(2, REFUSED): FAILED, (4, CANARY): FINE}, False),
        ({(2, REFUSED): FAILED, (4, CANARY): ONCE}, False),
        ({(2, REFUSED): FAILED, (3, CANARY): AMONG_MANY, (4, CANARY): AMONG_MANY}, False),
        ({(2, REFUSED): FAILED, (4, CANARY): FAILED, (3, CANARY): Tally(requests=100)}, False),
        ({(2, REFUSED): FAILED, (4, INSTEAD): FAILED}, False),
        ({(2, REFUSED): FAILED, (4, PINNED): FAILED}, False),
        ({(1, STABLE_REFUSED): FAILED, (2, REFUSED): FAILED, (4, CANARY): FAILED}, False),
        ({(5, REFUSED): FAILED, (5, CANARY): FAILED}, False),
        ({(2, CANARY): FAILED}, False),
        ({(2, REFUSED): FAILED, (4, CANARY): FAILED, (9, STABLE): Tally(requests=9, errors=9)}, False),
    ],
    ids=[
        "it failed at all it was asked",
        "it failed at mirrored calls",
        "it fails since lately",
        "it is asked now and then, and always fails",
        "it failed at nothing that the stable version answers",
        "it failed once, which is no reason to open a breaker",
        "it fails now and then, and who sends what no version can answer opened its breaker",
        "it does well since",
        "both failed, which counts for neither",
        "it failed for who had asked for it",
        "the stable version's is open too",
        "it was open and is no longer",
        "it failed and is not open",
        "the stable version fails as much",
    ],
)
def test_the_breaker_is_evidence_where(seen: dict[tuple[int, Series], Tally], opened: bool) -> None:
    """`seen` says how many seconds ago each tally was."""
    tallies: dict[int, dict[Series, Tally]] = {}
    for (ago, series), tally in seen.items():
        tallies.setdefault(NOW - ago, {})[series] = tally
    reading = Reading(NOW, [Bucket(second, tallies[second]) for second in sorted(tallies)])
    ledger = continued(Ledger("salt", MARK, NOW - KEPT), ROUTE, reading)
    assert (judge(ROUTE.guard, evidence(ledger, ROUTE, reading)).cause is Cause.BREAKER) is opened


def test_what_the_stable_version_does_in_a_canarys_place_is_held_against_neither() -> None:
    reading = Reading(NOW, [Bucket(NOW - 1, {STABLE: BUSY, CANARY: BUSY, INSTEAD: FAILED})])
    known = evidence(continued(Ledger("salt", MARK, NOW - 2), ROUTE, reading), ROUTE, reading)
    assert (known.stable.requests, known.stable.errors) == (100, 1)
    assert (known.canary.requests, known.canary.errors) == (100, 1)
