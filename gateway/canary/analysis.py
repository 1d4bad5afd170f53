"""Whether a canary may go on, has to go back, or cannot be judged yet: pure statistics over counts of all workers.

The guard looks every second for as long as a rollout lasts, and may roll back less than 1 of 100 equal canaries. The
operator's bounds alone (z > 3, two points, p95 in three windows) rolled back 17 of 100 in simulated rollouts of six
minutes: every look is another chance to be unlucky. So a canary goes back when it crosses its bound and a canary that
kept the bound would do so with a chance below `level`, computed exactly. A really bad one gets there a few calls later.

Failures that come together, as those of a batch in Triton do, are no more evidence than one: where they come in bursts
of four, a quarter of them counts (and of the requests), as overdispersed counts are judged everywhere.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.canary.histogram import EMPTY, Histogram
from gateway.canary.route import Guard
from gateway.canary.tails import binomial_tail, fisher_tail

# The chance that one look condemns an equal canary by one bound: this at each of the first looks, and from then on the
# less the longer it was watched. So the looks of 30 days add up to 0.26 % for each bound at the most, and those of two
# years to 0.32 %, however much they depend on one another. At 1e-5 for ever, 6 of 30 were rolled back within a day.
LEVEL = 1e-5
FIRST_LOOKS = 20
# Per window and version, before its p95 is worth comparing: below 20 it would be the slowest call alone.
WINDOW_SAMPLES = 20

_TAIL = 0.95  # the quantile that latencies are compared at: slow answers are felt before the mean shows them
# How much more than the stable version a canary may fail behind its open breaker, whatever the bound on its errors.
_SPARED = 0.02


class Verdict(StrEnum):
    HEALTHY = "healthy"
    INSUFFICIENT = "insufficient"  # no reason to go back, and none to go on
    ROLL_BACK = "roll-back"


class Cause(StrEnum):
    """What a judgement rests on."""

    REQUESTS = "requests"
    ERRORS = "errors"
    LATENCY = "latency"
    AGREEMENT = "agreement"
    BREAKER = "breaker"


@dataclass(frozen=True, slots=True)
class Counts:
    """What one version answered. Failed calls need not be in `latency`.

    The squares are sums over seconds, of what each of them counted; 0 where the seconds are not known.
    """

    requests: int = 0
    errors: int = 0
    latency: Histogram = EMPTY
    requests_squared: int = 0
    errors_squared: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            self.latency + other.latency,
            self.requests_squared + other.requests_squared,
            self.errors_squared + other.errors_squared,
        )

    def of_one_second(self) -> "Counts":
        return replace(self, requests_squared=self.requests**2, errors_squared=self.errors**2)

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    @property
    def burst(self) -> float:
        """How many failures come together: the variance of those of a second over their mean, less what the number of
        its requests explains; 1 where each comes by itself. All of a single second are one burst.
        """
        if not self.errors or not self.requests_squared:
            return 1.0
        spread = self.requests**2 - self.requests_squared
        if not spread:
            return float(self.errors)
        excess = self.errors_squared * self.requests**2 - self.errors**2 * self.requests_squared
        return max(1.0, excess / (self.errors * spread))

    @property
    def at_once(self) -> float:
        """How many requests come in a second: no burst is larger."""
        return max(1.0, self.requests_squared / self.requests) if self.requests else 1.0


Pair = tuple[Counts, Counts]  # of the stable version and of the canary, over the same seconds


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a rollout at one moment.

    `stable` and `canary` count from when the step, or the weight, began; `windows` are the last few, newest last, and
    `lately` the last seconds with enough requests to judge errors. Where the stable version answers nobody any more
    (weight 100 %), its counts are those of the last step in which it did, and neither has a stable side.
    `compared` and `agreed` count from when the rollout began, `looks` are those since then that found the canary at
    work. `refused` is empty unless the canary's breaker is open and the stable version's is not: then it is what the
    canary did in the last second, in the last two, and so on.

    A failure counts for the canary only if the stable version answered the same request, and for the stable version
    only if its own caller had asked. So callers of the canary cannot take it back with what no version can answer,
    nor make the stable version look bad. Requests of the stable version's callers that no version can answer do: the
    canary reads better by their share. It cannot be taken off: from the canary's callers alone nobody could tell a
    share that all callers send from one that was sent to condemn it.
    """

    stable: Counts
    canary: Counts
    windows: Sequence[Pair] = ()
    lately: Pair = (Counts(), Counts())
    compared: int = 0
    agreed: int = 0
    looks: int = 0
    refused: Sequence[Counts] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, what it rests on, and a sentence with the figures for the operator."""

    verdict: Verdict
    sentence: str
    cause: Cause | None = None


def judge(guard: Guard, evidence: Evidence) -> Judgement:
    """The worst finding of all bounds; data that is missing is a finding too, so it never passes."""
    findings = [finding for finding in _findings(guard, evidence) if finding is not None]
    for finding in findings:
        if finding.verdict is Verdict.ROLL_BACK:
            return finding
    return findings[0] if findings else Judgement(Verdict.HEALTHY, _healthy(evidence))


def level(looks: int) -> float:
    """The chance that one of so many looks may have to condemn an equal canary."""
    return LEVEL * min(1.0, FIRST_LOOKS / max(1, looks))


def windows(seconds: Sequence[Pair], guard: Guard, *, alone: bool = False) -> tuple[Pair, ...]:
    """The last windows from counts per second, both newest last.

    A window lasts `guard.window` seconds, or longer until both versions have enough samples in it: so a small share of
    little traffic is judged too, only later. `alone` says that the canary answers everybody: there is no stable side.
    """
    found: list[Pair] = []
    stable, canary, length = Counts(), Counts(), 0
    for one, other in reversed(seconds):
        stable, canary, length = stable + one, canary + other, length + 1
        enough = canary.latency.total >= WINDOW_SAMPLES and (alone or stable.latency.total >= WINDOW_SAMPLES)
        if length < guard.window or not enough:
            continue
        found.append((Counts() if alone else stable, canary))
        stable, canary, length = Counts(), Counts(), 0
        if len(found) == guard.latency_windows:
            break
    return tuple(reversed(found))


def lately(seconds: Sequence[Pair], guard: Guard, *, alone: bool = False) -> Pair:
    """As long as the last windows have to be at least, or longer until both versions have `min_requests`."""
    stable, canary, length = Counts(), Counts(), 0
    for one, other in reversed(seconds):
        enough = canary.requests >= guard.min_requests and (alone or stable.requests >= guard.min_requests)
        if enough and length >= guard.window * guard.latency_windows:
            break
        stable, canary, length = stable + one, canary + other, length + 1
    return (Counts() if alone else stable, canary)


def _findings(guard: Guard, evidence: Evidence) -> Iterable[Judgement | None]:
    yield _broken(evidence)
    yield _agreement(guard, evidence)
    stable, canary = evidence.stable, evidence.canary
    if canary.requests < guard.min_requests:
        yield _missing(canary, "canary", guard)
        return
    yield _errors(guard, stable, canary, evidence)
    yield _recent_errors(guard, evidence)
    yield _slow_windows(guard, evidence)
    yield _slow_overall(guard, stable, canary)
    if stable.requests < guard.min_requests:
        yield _missing(stable, "stable version", guard)


def _missing(counts: Counts, who: str, guard: Guard) -> Judgement:
    sentence = f"{counts.requests} of {guard.min_requests} requests on the {who}."
    return Judgement(Verdict.INSUFFICIENT, sentence, Cause.REQUESTS)


def _broken(evidence: Evidence) -> Judgement | None:
    """Behind an open breaker there are few calls, and no `min_requests` of them: it is enough that it fails at more of
    them than the stable version and chance explain.
    """
    usual = min(1.0, evidence.stable.error_rate + _SPARED)
    for counts in evidence.refused:
        if binomial_tail(counts.requests, counts.errors, usual) <= level(evidence.looks):
            failed = f"{counts.errors} of its last {counts.requests} requests failed"
            return Judgement(Verdict.ROLL_BACK, f"The canary's breaker is open: {failed}.", Cause.BREAKER)
    return None


def _errors(guard: Guard, stable: Counts, canary: Counts, evidence: Evidence) -> Judgement | None:
    """The gap keeps what is certain but small from counting, z and the exact chance what is large but not certain."""
    if canary.error_rate - stable.error_rate <= guard.max_error_gap:
        return None
    z = _pooled_z(stable, canary)
    certain = z > guard.error_z and _chance(stable, canary, evidence) <= level(evidence.looks)
    sentence = (
        f"{canary.error_rate:.1%} of {canary.requests} requests failed on the canary, "
        f"{stable.error_rate:.1%} of {stable.requests} on the stable version (z {z:.1f})."
    )
    return Judgement(Verdict.ROLL_BACK if certain else Verdict.INSUFFICIENT, sentence, Cause.ERRORS)


def _recent_errors(guard: Guard, evidence: Evidence) -> Judgement | None:
    """Over the last seconds alone: a canary that turns bad after an hour must not hide behind that hour."""
    stable, canary = evidence.lately
    if canary.requests < guard.min_requests:
        return None
    stable = stable if stable.requests else evidence.stable
    finding = _errors(guard, stable, canary, evidence)
    return finding if finding and finding.verdict is Verdict.ROLL_BACK else None


def _chance(stable: Counts, canary: Counts, evidence: Evidence) -> float:
    """That so many of the failures fall on a canary that is equal.

    A few seconds do not show how failures come, so what is known of that since the step began holds for them too. Of a
    stable version that has not failed yet nothing is known: it is taken to be as the canary is.
    """
    burst, usual = max(canary.burst, evidence.canary.burst), max(stable.burst, evidence.stable.burst)
    if not evidence.stable.errors:
        usual = min(canary.burst, stable.at_once)
    return fisher_tail(_apart(canary, burst), _apart(stable, usual))


def _apart(counts: Counts, burst: float) -> tuple[int, int]:
    """Failures and requests, as many as come by themselves."""
    return round(counts.errors / burst), round(counts.requests / burst)


def _pooled_z(stable: Counts, canary: Counts) -> float:
    if not stable.requests or not canary.requests:
        return 0.0
    pooled = (stable.errors + canary.errors) / (stable.requests + canary.requests)
    variance = pooled * (1 - pooled) * (1 / stable.requests + 1 / canary.requests)
    return (canary.error_rate - stable.error_rate) / math.sqrt(variance) if variance > 0 else 0.0


def _slow_windows(guard: Guard, evidence: Evidence) -> Judgement | None:
    """Slow in every one of the last windows, and by more calls than chance gives.

    The stable version's p95 is only as certain as its calls are many: at a large weight it has a few dozen. So its own
    calls beyond it are held against the canary's beyond the bound. Where the threshold is one of the stable version's
    calls, Fisher's tail is exact for that too (the exceedance test of Gumbel and von Schelling, 1950).
    """
    last = evidence.windows[-guard.latency_windows :]
    if guard.latency_factor is None or len(last) < guard.latency_windows:
        return None
    for stable, canary in reversed(last):
        if not _exceeds(guard.latency_factor, stable if stable.requests else evidence.stable, canary):
            return None
    stable, canary = (sum((pair[side] for pair in last), Counts()) for side in (0, 1))
    stable = stable if stable.requests else evidence.stable  # which must not count once per window
    bound = guard.latency_factor * (stable.latency.quantile(_TAIL) or math.inf)
    slower = canary.latency.slower_than(bound)
    usual = stable.latency.total - int(_TAIL * stable.latency.total)
    tail = fisher_tail((slower, canary.latency.total), (usual, stable.latency.total))
    if tail > level(evidence.looks):
        return None
    where = f"over {len(last)} windows in a row"
    return Judgement(Verdict.ROLL_BACK, _latency_sentence(stable, canary, where), Cause.LATENCY)


def _slow_overall(guard: Guard, stable: Counts, canary: Counts) -> Judgement | None:
    """Over everything: not enough to go back for, but a step does not go on while it looks slow or is not known."""
    if guard.latency_factor is None:
        return None
    if min(stable.latency.total, canary.latency.total) < WINDOW_SAMPLES:
        return Judgement(Verdict.INSUFFICIENT, "Too few latencies to compare.", Cause.LATENCY)
    if not _exceeds(guard.latency_factor, stable, canary):
        return None
    return Judgement(Verdict.INSUFFICIENT, _latency_sentence(stable, canary, "so far"), Cause.LATENCY)


def _exceeds(factor: float, stable: Counts, canary: Counts) -> bool:
    usual, seen = stable.latency.quantile(_TAIL), canary.latency.quantile(_TAIL)
    return usual is not None and seen is not None and seen > factor * usual


def _latency_sentence(stable: Counts, canary: Counts, where: str) -> str:
    seen, usual = (1000 * (counts.latency.quantile(_TAIL) or 0.0) for counts in (canary, stable))
    return f"p95 {where}: {seen:.0f} ms on the canary, {usual:.0f} ms on the stable version."


def _agreement(guard: Guard, evidence: Evidence) -> Judgement | None:
    """Below the bound by more disagreements than a canary on the bound would have: a binomial tail.

    This is the exact form of an upper confidence limit below the bound; Wilson's is ten times too sure of it at 50.
    """
    if guard.min_agreement is None:
        return None
    compared, agreed = evidence.compared, evidence.agreed
    if compared < guard.min_compared:
        sentence = f"{compared} of {guard.min_compared} answers compared."
        return Judgement(Verdict.INSUFFICIENT, sentence, Cause.AGREEMENT)
    if agreed >= guard.min_agreement * compared:
        return None
    certain = binomial_tail(compared, compared - agreed, 1 - guard.min_agreement) <= level(evidence.looks)
    sentence = f"{agreed / compared:.1%} of {compared} answers agree; the bound is {guard.min_agreement:.1%}."
    return Judgement(Verdict.ROLL_BACK if certain else Verdict.INSUFFICIENT, sentence, Cause.AGREEMENT)


def _healthy(evidence: Evidence) -> str:
    return f"{evidence.canary.requests} requests on the canary, all bounds kept."
