"""The evidence of one rollout as it adds up: from counts by the second to what the guard judges (pure).

The counts in Redis last for two minutes and a step may last for days, so whoever evaluates adds them up, and leaves the
sums where the next evaluator finds them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import Any

from gateway.canary.analysis import Cause, Counts, Evidence, Judgement, Pair, Verdict, judge, lately, windows
from gateway.canary.counts import KEPT, Bucket, Reading, Series, Tally
from gateway.canary.histogram import EMPTY, Histogram
from gateway.canary.outcomes import BREAKER
from gateway.canary.route import Phase, Route
from gateway.canary.split import FULL
from gateway.domain import Variant

_BREAKER_SECONDS = 3  # for which one refusal says that a breaker is open
_NOTHING = Tally()
# How the mark begins of counts that were taken while the stable version answered nobody.
_EVERYBODY = f"{FULL}/"
_WHAT_HELPS = "At 100 % the stable version answers nobody: go back below (--steps 50%,100%), or promote."


@dataclass(frozen=True, slots=True)
class Ledger:
    """Sums since the weight, or the step, began.

    `rollout` and `mark` say which one that was, `since` is that of its route when it was last looked at. `began` is the
    first second that counts, `second` the last that was added. `baseline` are the stable version's counts before it,
    of when it last had a share of the callers; `compared`, `agreed` and `looks`, those that found the canary at work,
    count from the rollout's beginning. `judgement` is the last one.
    """

    rollout: str
    mark: str
    second: int
    began: int = 0
    since: float = 0.0
    looks: int = 0
    stable: Counts = field(default_factory=Counts)
    canary: Counts = field(default_factory=Counts)
    baseline: Counts = field(default_factory=Counts)
    compared: int = 0
    agreed: int = 0
    judgement: Judgement | None = None


def continued(ledger: Ledger | None, route: Route, reading: Reading) -> Ledger:
    """The ledger for the route as it stands, with everything in the reading that it did not hold yet.

    Another weight or step means another mix of callers, so the counts begin anew with it, and with a change that was
    undone all evidence does. What came before is none: the seconds up to this one belong to what there was.
    """
    mark = f"{route.weight}/{route.mirror}/{route.step_started_at}"
    if ledger is None or ledger.rollout != route.salt:
        return Ledger(route.salt, mark, reading.now - 1, began=reading.now, since=route.since)
    undone = _undone(ledger, route, mark)
    ledger = _added(ledger, route, reading)
    if undone:
        ledger = replace(ledger, compared=0, agreed=0)
    if undone or ledger.mark != mark:
        stragglers = ledger.mark.startswith(_EVERYBODY) or not ledger.stable.requests
        ledger = replace(
            ledger,
            mark=mark,
            began=ledger.second + 1,
            stable=Counts(),
            canary=Counts(),
            baseline=ledger.baseline if stragglers else ledger.stable,
            judgement=None,
        )
    return replace(ledger, since=route.since)


def evidence(ledger: Ledger, route: Route, reading: Reading) -> Evidence:
    """What the guard judges."""
    alone = route.weight == FULL
    seconds = [
        _pair(bucket, route) for bucket in reading.buckets if ledger.began <= bucket.second < reading.now
    ]
    return Evidence(
        stable=ledger.baseline if alone else ledger.stable,
        canary=ledger.canary,
        windows=windows(seconds, route.guard, alone=alone),
        lately=lately(seconds, route.guard, alone=alone),
        compared=ledger.compared,
        agreed=ledger.agreed,
        looks=ledger.looks,
        refused=_refused(ledger, route, reading),
    )


def judged(ledger: Ledger, route: Route, reading: Reading) -> Judgement:
    """The guard's word. Where it waits for what cannot come, it says what would help."""
    judgement = judge(route.guard, evidence(ledger, route, reading))
    blind = route.weight == FULL and ledger.baseline.requests < route.guard.min_requests
    if judgement.verdict is Verdict.INSUFFICIENT and blind:
        return replace(judgement, sentence=f"{judgement.sentence} {_WHAT_HELPS}")
    return judgement


def to_document(ledger: Ledger) -> str:
    return json.dumps(asdict(ledger), separators=(",", ":"))


def from_document(text: str) -> Ledger | None:
    """None for what is no ledger, or one of another kind: then the evidence begins anew."""
    try:
        fields = json.loads(text)
        for name in ("stable", "canary", "baseline"):
            fields[name] = _counts(fields[name])
        fields["judgement"] = fields["judgement"] and _judgement(fields["judgement"])
        return Ledger(**fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def side(buckets: Sequence[Bucket], version: str, variants: Sequence[str]) -> Counts:
    """What a version answered as one of these variants, all buckets together."""
    return sum((_side(bucket, version, variants) for bucket in buckets), Counts())


STABLE_VARIANTS = (Variant.STABLE,)
CANARY_VARIANTS = (Variant.CANARY, Variant.SHADOW)


def _added(ledger: Ledger, route: Route, reading: Reading) -> Ledger:
    """With the seconds that are over; a second that is running may still grow."""
    new = [bucket for bucket in reading.buckets if ledger.second < bucket.second < reading.now]
    mirrored = [bucket.tallies.get(Series(route.canary or "", Variant.SHADOW), _NOTHING) for bucket in new]
    canary = side(new, route.canary or "", CANARY_VARIANTS)
    second = _last(ledger, reading)
    return replace(
        ledger,
        second=second,
        began=min(ledger.began, second + 1),
        looks=ledger.looks + bool(canary.requests),
        stable=ledger.stable + side(new, route.stable, STABLE_VARIANTS),
        canary=ledger.canary + canary,
        compared=ledger.compared + sum(tally.compared for tally in mirrored),
        agreed=ledger.agreed + sum(tally.agreed for tally in mirrored),
    )


def _last(ledger: Ledger, reading: Reading) -> int:
    """The last second that is over. Where the clock went back, it lives through seconds that were added already; where
    it went back further than counts are kept, it finds none of them.
    """
    over = reading.now - 1
    return over if over < ledger.second - KEPT else max(over, ledger.second)


def _undone(ledger: Ledger, route: Route, mark: str) -> bool:
    """Whether the route is back where it was: only its `since` is another, or its plan waits since the same moment."""
    if route.since == ledger.since:
        return False
    return route.step_started_at == route.since if route.phase is Phase.PAUSED else ledger.mark == mark


def _pair(bucket: Bucket, route: Route) -> Pair:
    return (
        _side(bucket, route.stable, STABLE_VARIANTS),
        _side(bucket, route.canary or "", CANARY_VARIANTS),
    )


def _side(bucket: Bucket, version: str, variants: Sequence[str]) -> Counts:
    """Mirrored calls go last, which is no fault of the canary: how long they take is no evidence."""
    found = Counts()
    for variant in variants:
        tally = bucket.tallies.get(Series(version, variant), _NOTHING)
        latency = EMPTY if variant == Variant.SHADOW else Histogram(tally.latency)
        found += Counts(tally.requests, tally.errors, latency)
    return found.of_one_second()


def _refused(ledger: Ledger, route: Route, reading: Reading) -> Sequence[Counts]:
    """While the canary's breaker alone is open: what it did over the last second, the last two, and so on.

    Requests that both versions fail at open it too. They are counted for nobody: whoever sends them could take any
    canary back. So what counts is how it fares at the others.
    """
    last = [bucket for bucket in reading.buckets if bucket.second >= reading.now - _BREAKER_SECONDS]
    if not _is_refused(last, route.canary) or _is_refused(last, route.stable):
        return ()
    since = [bucket for bucket in reversed(reading.buckets) if bucket.second >= ledger.began]
    found = accumulate(_side(bucket, route.canary or "", CANARY_VARIANTS) for bucket in since)
    return tuple(counts for counts in found if counts.requests)


def _is_refused(buckets: Sequence[Bucket], version: str | None) -> bool:
    return any(Series(version or "", BREAKER) in bucket.tallies for bucket in buckets)


def _counts(fields: Mapping[str, Any]) -> Counts:
    latency = Histogram(tuple(fields["latency"]["counts"]))
    return Counts(**{**fields, "latency": latency})


def _judgement(fields: Mapping[str, Any]) -> Judgement:
    cause = fields["cause"]
    return Judgement(Verdict(fields["verdict"]), fields["sentence"], None if cause is None else Cause(cause))
