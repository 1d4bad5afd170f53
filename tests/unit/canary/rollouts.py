"""Simulated rollouts: drawn calls, and the real guard and life cycle that look at them each second."""

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.canary import lifecycle
from gateway.canary.analysis import WINDOW_SAMPLES, Cause, Counts, Evidence, Pair, Verdict, judge
from gateway.canary.histogram import BOUNDS, Histogram
from gateway.canary.route import Guard, Phase, Route, Step, default_route
from gateway.canary.split import FULL
from gateway.canary.wanted import Wanted

PLAN = tuple(Step(weight, 10, 100) for weight in (100, 500, 2500, 5000, FULL))
GUARD = Guard(min_agreement=0.9)

_CHUNK = 64  # seconds drawn at once
_LONGEST = 3600  # seconds
_COMPARISONS = 10.0  # a second, while the stable version has traffic to mirror

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Behaviour:
    """Of one version: the share of failures and how many come together, the median and spread of its log-normal
    latency.
    """

    errors: float = 0.005
    burst: int = 1
    median: float = 0.04
    sigma: float = 0.5

    def buckets(self) -> NDArray[np.float64]:
        scaled = [math.log(bound / self.median) / (self.sigma * math.sqrt(2)) for bound in BOUNDS]
        below = np.array([0.0, *(0.5 + 0.5 * math.erf(x) for x in scaled), 1.0])
        return np.diff(below)


@dataclass(frozen=True)
class World:
    """`rate` is of all calls a second, `agreement` the share of compared answers that agree."""

    rate: float
    stable: Behaviour = Behaviour()
    canary: Behaviour = Behaviour()
    agreement: float = 0.97


@dataclass(frozen=True)
class Outcome:
    """`enough_at`: when the canary had `min_requests` in its first step; `compared_at`: when `min_compared` were."""

    route: Route
    cause: Cause | None
    seconds: int
    enough_at: int | None
    compared_at: int | None

    @property
    def promoted(self) -> bool:
        return self.route.phase is Phase.PROMOTED

    @property
    def rolled_back(self) -> bool:
        return self.route.phase is Phase.ROLLED_BACK


class Traffic:
    """Of one version since a step began: rows of requests, errors, the squares of both, and the latency's buckets,
    summed up by second.
    """

    def __init__(self, behaviour: Behaviour, rate: float, draw: np.random.Generator) -> None:
        self._behaviour, self._rate, self._draw = behaviour, rate, draw
        self._buckets = behaviour.buckets()
        self.sums: Ints = np.zeros((1, 4 + len(self._buckets)), np.int64)
        self.requests = [0]

    def until(self, second: int) -> None:
        while len(self.sums) <= second:
            requests = self._draw.poisson(self._rate, _CHUNK)
            errors = self._failures(requests)
            latency = self._draw.multinomial(requests, self._buckets)
            drawn = np.column_stack([requests, errors, requests**2, errors**2, latency])
            self.sums = np.vstack([self.sums, self.sums[-1] + np.cumsum(drawn, axis=0)])
            self.requests = self.sums[:, 0].tolist()

    def counts(self, start: int, end: int) -> Counts:
        """Over the seconds from `start` to before `end`."""
        requests, errors, *squares_and_latency = (self.sums[end] - self.sums[start]).tolist()
        squares, latency = squares_and_latency[:2], squares_and_latency[2:]
        return Counts(requests, errors, Histogram(tuple(latency)), *squares)

    def _failures(self, requests: Ints) -> Ints:
        """Of each second."""
        errors, burst = self._behaviour.errors, self._behaviour.burst
        if burst == 1:
            return self._draw.binomial(requests, errors)
        bursts = self._draw.poisson(self._rate * errors / burst, _CHUNK)
        return np.minimum(requests, burst * bursts)


def windows(stable: Traffic, canary: Traffic, second: int, guard: Guard, *, alone: bool) -> list[Pair]:
    """What `analysis.windows` finds, from sums instead of from counts of each second, which takes too long here."""
    found: list[Pair] = []
    end = second
    while len(found) < guard.latency_windows:
        starts = [end - guard.window, _enough(canary, end), end if alone else _enough(stable, end)]
        if (start := min(starts)) < 0:
            break
        found.append((Counts() if alone else stable.counts(start, end), canary.counts(start, end)))
        end = start
    return found[::-1]


def lately(stable: Traffic, canary: Traffic, second: int, guard: Guard, *, alone: bool) -> Pair:
    """What `analysis.lately` finds, likewise."""
    enough = [_enough(each, second, guard.min_requests) for each in ([canary] if alone else [canary, stable])]
    start = max(0, min(second - guard.window * guard.latency_windows, *enough))
    return (Counts() if alone else stable.counts(start, second), canary.counts(start, second))


def _enough(traffic: Traffic, end: int, requests: int = WINDOW_SAMPLES) -> int:
    """The last second from which on there are so many before `end`; -1 if there is none."""
    return bisect_right(traffic.requests, traffic.requests[end] - requests, 0, end + 1) - 1


class Rollout:
    """One rollout through `PLAN`, from its first second to its end."""

    def __init__(self, world: World, seed: int, guard: Guard = GUARD, plan: tuple[Step, ...] = PLAN) -> None:
        self._world, self._guard = world, guard
        self._draw = np.random.default_rng(seed)
        wanted = Wanted("1", "2", mirror=1000, guard=guard, steps=plan)
        self._route = lifecycle.put(default_route("pets", "1"), wanted, 0, "r1")
        self._compared = self._agreed = self._looks = 0
        self._baseline: Counts | None = None
        self._begin_step(0)

    def run(self, longest: int = _LONGEST) -> Outcome:
        enough_at = compared_at = cause = None
        now = 0
        while self._route.phase is Phase.PROGRESSING and now < longest:
            now += 1
            judgement = judge(self._guard, evidence := self._evidence(now - self._began))
            if enough_at is None and evidence.canary.requests >= self._guard.min_requests:
                enough_at = now
            if compared_at is None and evidence.compared >= self._guard.min_compared:
                compared_at = now
            if judgement.verdict is Verdict.ROLL_BACK:
                cause = judgement.cause
                self._route = lifecycle.rollback(self._route, judgement.sentence, now)
                break
            healthy = judgement.verdict is Verdict.HEALTHY
            action = lifecycle.due(self._route, now, served=evidence.canary.requests, healthy=healthy)
            if action is not None:
                self._route = lifecycle.perform(self._route, action, now)
                self._baseline = evidence.stable if self._route.weight == FULL else None
                self._begin_step(now)
        return Outcome(self._route, cause, now, enough_at, compared_at)

    def _begin_step(self, now: int) -> None:
        share = self._route.weight / FULL
        self._began = now
        self.stable = Traffic(self._world.stable, self._world.rate * (1 - share), self._draw)
        self.canary = Traffic(self._world.canary, self._world.rate * share, self._draw)

    def _evidence(self, second: int) -> Evidence:
        self.stable.until(second)
        self.canary.until(second)
        if self._baseline is None:
            drawn = int(self._draw.poisson(_COMPARISONS))
            self._compared += drawn
            self._agreed += int(self._draw.binomial(drawn, self._world.agreement))
        self._looks += self.canary.requests[second] > self.canary.requests[second - 1]
        alone = self._baseline is not None
        return Evidence(
            stable=self._baseline or self.stable.counts(0, second),
            canary=self.canary.counts(0, second),
            windows=windows(self.stable, self.canary, second, self._guard, alone=alone),
            lately=lately(self.stable, self.canary, second, self._guard, alone=alone),
            compared=self._compared,
            agreed=self._agreed,
            looks=self._looks,
        )
