"""The evidence of a rollout: when the canary's breaker is a reason to take it back."""

from dataclasses import replace

import pytest

from gateway.canary.counts import Bucket, Reading, Series, Tally
from gateway.canary.ledger import Ledger, evidence
from gateway.canary.outcomes import BREAKER
from gateway.canary.route import default_route
from gateway.domain import Variant

NOW = 1_000
ROUTE = replace(default_route("digits", "1"), canary="2", weight=5000, salt="salt")
REFUSED, STABLE_REFUSED = Series("2", BREAKER), Series("1", BREAKER)
CANARY, SHADOW, PINNED = (Series("2", each) for each in (Variant.CANARY, Variant.SHADOW, Variant.PINNED))
STABLE = Series("1", Variant.STABLE)
FAILED, FINE = Tally(requests=5, errors=5), Tally(requests=5)


@pytest.mark.parametrize(
    ("seen", "opened"),
    [
        ({(2, REFUSED): FAILED, (4, CANARY): FAILED}, True),
        ({(2, REFUSED): FAILED, (4, SHADOW): FAILED}, True),
        ({(2, REFUSED): FAILED, (4, CANARY): FINE}, False),
        ({(2, REFUSED): FAILED, (4, STABLE): FAILED}, False),
        ({(2, REFUSED): FAILED, (4, PINNED): FAILED}, False),
        ({(2, REFUSED): FAILED, (30, CANARY): FAILED}, False),
        ({(2, REFUSED): FAILED, (1, STABLE_REFUSED): FAILED, (4, CANARY): FAILED}, False),
        ({(5, REFUSED): FAILED, (5, CANARY): FAILED}, False),
        ({(2, CANARY): FAILED}, False),
    ],
    ids=[
        "it failed",
        "it failed at mirrored calls",
        "it failed at nothing that the stable version answers",
        "both failed, which counts for the stable version alone",
        "it failed for who had asked for it",
        "it failed long ago",
        "the stable version's is open too",
        "it was open and is no longer",
        "it failed and is not open",
    ],
)
def test_the_breaker_is_evidence_where(seen: dict[tuple[int, Series], Tally], opened: bool) -> None:
    """`seen` says how many seconds ago each tally was."""
    buckets = [
        Bucket(NOW - ago, {series: tally})
        for (ago, series), tally in sorted(seen.items(), key=lambda i: -i[0][0])
    ]
    known = evidence(Ledger("salt", "mark", NOW), ROUTE, Reading(NOW, buckets))
    assert known.breaker_open is opened
