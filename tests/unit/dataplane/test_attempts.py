"""Whose failure an attempt is: the real attempts, outcomes and guard; what the versions do with a request is drawn."""

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from support.cards import classifier_card

from gateway.canary import Choice
from gateway.canary.analysis import Cause, Counts, Evidence, Judgement, Verdict, judge
from gateway.canary.counts import Bucket, Series, Tally
from gateway.canary.histogram import bucket
from gateway.canary.ledger import CANARY_VARIANTS, STABLE_VARIANTS, side
from gateway.canary.outcomes import AWAY, Outcomes
from gateway.canary.route import Guard
from gateway.dataplane.attempts import Attempts
from gateway.dataplane.deadlines import Deadlines
from gateway.dataplane.job import Job
from gateway.domain import Deadline, ModelVersion, Priority, Variant
from gateway.errors import ConnectionFailed, UpstreamFailed
from gateway.telemetry.timeline import Timeline

STABLE, CANARY = ModelVersion("digits", "1", Variant.STABLE), ModelVersion("digits", "2", Variant.CANARY)
CARD = classifier_card()
Draw = Callable[[], float]


@dataclass
class Counted:
    """A recorder that keeps what it hears, a hundred records a second."""

    seconds: list[dict[Series, Tally]] = field(default_factory=list)
    records: int = 0

    def record(self, model: str, version: str, variant: str = "", *, ok: bool, seconds: float) -> None:
        if self.records % 100 == 0:
            self.seconds.append({})
        self.records += 1
        tallies = self.seconds[-1]
        series = Series(version, str(variant))
        tally = tallies.get(series, Tally())
        latency = list(tally.latency)
        latency[bucket(seconds)] += ok
        tallies[series] = replace(
            tally, requests=tally.requests + 1, errors=tally.errors + (not ok), latency=tuple(latency)
        )

    def record_comparison(self, model: str, version: str, variant: str = "", *, agreed: bool) -> None:
        raise AssertionError("nothing is mirrored here")

    def sides(self) -> tuple[Counts, Counts]:
        buckets = [Bucket(second, tallies) for second, tallies in enumerate(self.seconds)]
        return side(buckets, "1", STABLE_VARIANTS), side(buckets, "2", CANARY_VARIANTS)


@dataclass
class World:
    """The shares of requests at which each version fails, by itself and (`poison`) whichever is asked; that of the
    requests on the canary; how many of those somebody sends because no version can answer them; and the share of
    requests (`outage`) that come while Triton is away.
    """

    weight: float
    stable: float = 0.0
    canary: float = 0.0
    poison: float = 0.0
    attack: float = 0.0
    outage: float = 0.0

    async def run(self, requests: int = 20_000) -> Counted:
        draw = random.Random(1)
        counted = Counted()
        attempts = Attempts(
            _Nobody(), Outcomes(counted), _Nobody(), Deadlines(10.0, 30.0, lambda: 0.0), lambda _: None
        )
        for _ in range(requests):
            on_canary = draw.random() < self.weight
            bad = draw.random() < (max(self.poison, self.attack) if on_canary else self.poison)
            away = draw.random() < self.outage
            await self._ask(attempts, draw.random, on_canary=on_canary, bad=bad, away=away)
        return counted

    async def _ask(self, attempts: Attempts, draw: Draw, *, on_canary: bool, bad: bool, away: bool) -> None:
        async def work(job: Job) -> tuple[str, float]:
            if away:
                raise ConnectionFailed("Nobody is there.")
            share = self.canary if job.target == CANARY else self.stable
            if bad or draw() < share:
                raise UpstreamFailed("It failed.")
            return "answer", 0.01

        choice = Choice(CANARY, {}, fallback=STABLE) if on_canary else Choice(STABLE, {})
        timeline = Timeline(lambda: 0.0)
        job = Job(
            card=CARD,
            choice=choice,
            target=choice.target,
            priority=Priority.STANDARD,
            deadline=Deadline(10.0),
            usual=10.0,
            request_id="r",
            follow=lambda _: None,
            timeline=timeline,
        )
        with contextlib.suppress(UpstreamFailed, ConnectionFailed):
            await attempts.serve(job, work)


class _Nobody:
    """In place of what no request here gets to."""

    def choose(self, *_: object) -> Choice:
        raise AssertionError

    def offer(self, *_: object) -> None:
        raise AssertionError


def judged(counted: Counted) -> Judgement:
    return judge(Guard(), Evidence(*counted.sides()))


@pytest.mark.parametrize("weight", [0.05, 0.5, 0.9])
async def test_what_is_counted_of_each_version_does_not_depend_on_the_weight(weight: float) -> None:
    stable, canary = (await World(weight, stable=0.03, canary=0.06, poison=0.02).run()).sides()
    assert stable.error_rate == pytest.approx(0.02 + 0.98 * 0.03, abs=0.009)  # what its own callers see
    assert canary.error_rate == pytest.approx(0.06, abs=0.012)  # of what the stable version answers


@pytest.mark.parametrize(
    ("poison", "canary", "weight"), [(0.01, 0.04, 0.9), (0.05, 0.08, 0.5), (0.05, 0.1, 0.95)]
)
async def test_a_worse_canary_does_not_hide_behind_requests_that_no_version_can_answer(
    poison: float, canary: float, weight: float
) -> None:
    found = judged(await World(weight, poison=poison, canary=canary).run())
    assert (found.verdict, found.cause) == (Verdict.ROLL_BACK, Cause.ERRORS)


@pytest.mark.parametrize("attack", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("weight", [0.01, 0.5, 0.95])
async def test_nobody_takes_a_sound_canary_back_with_requests_that_no_version_can_answer(
    weight: float, attack: float
) -> None:
    found = judged(await World(weight, stable=0.03, canary=0.03, poison=0.01, attack=attack).run())
    assert found.verdict is not Verdict.ROLL_BACK


async def test_an_outage_of_both_takes_no_canary_back() -> None:
    found = judged(await World(0.9, stable=1.0, canary=1.0).run(2_000))
    assert found.verdict is not Verdict.ROLL_BACK


async def test_an_outage_makes_neither_version_look_better() -> None:
    counted = await World(0.5, outage=0.3).run(2_000)
    stable, canary = counted.sides()
    assert (stable.errors, canary.errors) == (0, 0)
    assert min(stable.requests, canary.requests) > 600
    away = sum(second.get(Series("1", AWAY), Tally()).errors for second in counted.seconds)
    assert away == pytest.approx(300, abs=50), "its own callers' are not lost to dashboards"


async def test_a_worse_canary_does_not_hide_behind_an_outage() -> None:
    found = judged(await World(0.5, outage=0.1, canary=0.06).run())
    assert (found.verdict, found.cause) == (Verdict.ROLL_BACK, Cause.ERRORS)
