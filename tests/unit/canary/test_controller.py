"""The one that judges: every rollout each second, whatever any of them waits for, and no pre-flight without a pause."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog.testing
from structlog.typing import EventDict
from support.virtual_time import VirtualLoop

from gateway.canary import lifecycle
from gateway.canary.controller import Controller
from gateway.canary.counts import Bucket, Reading, Series, Tally
from gateway.canary.histogram import BOUNDS
from gateway.canary.ledger import Ledger
from gateway.canary.lifecycle import put
from gateway.canary.rollouts import Transition
from gateway.canary.route import Phase, Route, Step, default_route
from gateway.canary.store import Cause, LostRace
from gateway.canary.table import Live
from gateway.canary.wanted import Wanted
from gateway.domain import Variant
from gateway.errors import PreflightFailed
from gateway.store import StoreAway

START = 1_800_000_000
STABLE, CANARY = Series("1", Variant.STABLE), Series("2", Variant.CANARY)
FAST = (*(0 for _ in BOUNDS), 200)
FINE, BAD = Tally(200, 0, latency=FAST), Tally(200, 100, latency=FAST)


@dataclass
class Stage:
    """Routes, counts and changes of them, without Redis and without a Triton; it holds the lease.

    Changes that give a canary more take `preflight` seconds, and fail where it is `unfit`. Where it is `unreadable`, a
    newer release has made a change that cannot be read.
    """

    routes: dict[str, Live[Route]] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    preflight: float = 0.0
    unfit: bool = False
    away: bool = False
    unreadable: bool = False
    asked: list[float] = field(default_factory=list)
    running: int = 0
    held: bool = True
    ledgers: dict[str, Ledger] = field(default_factory=dict)

    async def read(self, model: str, seconds: int) -> Reading:
        if self.away:
            raise StoreAway("connection refused")
        second = int(now())
        tallies = {STABLE: FINE, CANARY: BAD if model in self.bad else FINE}
        return Reading(second, [Bucket(second - ago, tallies) for ago in range(5, 0, -1)])

    async def load(self, model: str) -> Ledger | None:
        return self.ledgers.get(model)

    async def save(self, model: str, ledger: Ledger) -> None:
        self.ledgers[model] = ledger

    async def change(
        self, model: str, transition: Transition, cause: Cause, *, expected: int | None = None
    ) -> Live[Route]:
        before = self._standing(model, expected)
        after = transition(before.route)
        if after.weight > before.route.weight or after.stable != before.route.stable:
            await self._ask()
        live = Live(transition(before.route), self._standing(model, expected).generation + 1)
        self.routes = {**self.routes, model: live}
        return live

    def _standing(self, model: str, expected: int | None) -> Live[Route]:
        live = self.routes[model]
        if self.unreadable:
            live = replace(live, generation=live.generation + 1, unreadable="wrong or missing: colour")
        if expected not in (None, live.generation):
            raise LostRace(model, live.generation)
        return live

    async def _ask(self) -> None:
        self.asked.append(now())
        self.running += 1
        try:
            await asyncio.sleep(self.preflight)
        finally:
            self.running -= 1
        if self.unfit:
            raise PreflightFailed("Version 2 is not fit for traffic.", ["version 2 is loaded: ready are: 1"])


def now() -> float:
    return START + asyncio.get_running_loop().time()


def plan(model: str, seconds: float = 2) -> Route:
    steps = (Step(500, seconds, 100), Step(2500, 600, 100), Step(10_000, 600, 100))
    return put(default_route(model, "1"), Wanted("1", "2", steps=steps), START, "salt")


def judged(stage: Stage, story: Callable[[], Awaitable[None]], **routes: Route) -> list[EventDict]:
    """The log of a story during which the controller runs, in no time."""

    async def told() -> None:
        stage.routes = {model: Live(route, 1) for model, route in routes.items()}
        controller = Controller(
            routes=lambda: stage.routes,
            rollouts=stage,
            reader=stage,
            store=stage,
            lease=stage,
            clock=now,
        )
        run = asyncio.create_task(controller.run())
        await story()
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with structlog.testing.capture_logs() as lines, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(told())
    return lines


def phases(stage: Stage) -> Mapping[str, Phase]:
    return {model: live.route.phase for model, live in stage.routes.items()}


def test_a_bad_canary_is_taken_back_while_another_model_s_preflight_runs() -> None:
    stage = Stage(preflight=20)

    async def story() -> None:
        await asyncio.sleep(5)
        assert stage.running == 1
        stage.bad.add("signs")
        await asyncio.sleep(2)
        assert stage.running == 1
        assert phases(stage) == {"pets": Phase.PROGRESSING, "signs": Phase.ROLLED_BACK}

    judged(stage, story, pets=plan("pets"), signs=by_hand_of("signs"))


def test_a_canary_that_turns_bad_during_its_own_preflight_is_taken_back_and_stays_back() -> None:
    stage = Stage(preflight=20)

    async def story() -> None:
        await asyncio.sleep(5)
        stage.bad.add("pets")
        await asyncio.sleep(2)
        assert phases(stage) == {"pets": Phase.ROLLED_BACK}
        await asyncio.sleep(30)
        assert phases(stage) == {"pets": Phase.ROLLED_BACK}

    lines = judged(stage, story, pets=plan("pets"))
    assert [line["event"] for line in lines] == ["canary_rolled_back", "canary_changed_meanwhile"]


def test_a_step_is_made_once_however_long_its_preflight_takes() -> None:
    stage = Stage(preflight=20)

    async def story() -> None:
        await asyncio.sleep(28)
        assert stage.routes["pets"].route.weight == 2500

    judged(stage, story, pets=plan("pets"))
    assert len(stage.asked) == 1


def test_a_step_begins_after_its_preflight() -> None:
    stage = Stage(preflight=20)

    async def story() -> None:
        await asyncio.sleep(28)
        began = stage.routes["pets"].route.step_started_at
        assert began == stage.asked[0] + 20

    judged(stage, story, pets=plan("pets"))


def test_a_preflight_ends_with_the_one_who_judges() -> None:
    stage = Stage(preflight=20)

    async def story() -> None:
        await asyncio.sleep(5)
        assert stage.running == 1

    judged(stage, story, pets=plan("pets"))
    assert stage.running == 0


def test_a_preflight_that_fails_is_told_once_with_its_reasons_and_made_again_after_a_pause() -> None:
    stage = Stage(unfit=True)

    async def story() -> None:
        await asyncio.sleep(65)
        assert stage.routes["pets"].generation == 1
        stage.unfit = False
        await asyncio.sleep(11)
        assert stage.routes["pets"].route.weight == 2500

    lines = judged(stage, story, pets=plan("pets"))
    gaps = [later - earlier for earlier, later in zip(stage.asked, stage.asked[1:], strict=False)]
    assert len(gaps) == 7
    assert min(gaps) >= 10
    refused, went_on = lines
    assert (refused["event"], went_on["event"]) == ("canary_step_refused", "canary_went_on")
    assert refused["reason"] == "Version 2 is not fit for traffic.; version 2 is loaded: ready are: 1"


def test_a_route_that_somebody_changed_since_is_tried_at_once() -> None:
    stage = Stage(unfit=True)

    async def story() -> None:
        await asyncio.sleep(5)
        assert len(stage.asked) == 1
        live = stage.routes["pets"]
        paused = lifecycle.pause(live.route, now())
        stage.routes = {"pets": Live(lifecycle.resume(paused, now()), live.generation + 2)}
        await asyncio.sleep(4)
        assert len(stage.asked) == 2

    judged(stage, story, pets=plan("pets"))


def test_under_a_route_that_cannot_be_read_a_bad_canary_is_taken_back_and_no_step_is_made() -> None:
    stage = Stage(unreadable=True)

    async def story() -> None:
        await asyncio.sleep(5)
        assert (stage.asked, stage.routes["pets"].route.weight) == ([], 500)
        stage.bad.add("pets")
        await asyncio.sleep(2)
        assert phases(stage) == {"pets": Phase.ROLLED_BACK}

    judged(stage, story, pets=plan("pets"))


def test_a_lease_ends_during_a_preflight() -> None:
    stage = Stage(preflight=20)
    steps = (Step(500, 2, 100), Step(2500, 600, 100))
    route = put(default_route("pets", "1"), Wanted("1", "2", steps=steps, lease=START + 8.0), START, "salt")

    async def story() -> None:
        await asyncio.sleep(10)
        assert stage.running == 1
        assert "lease ended" in stage.routes["pets"].route.reason

    judged(stage, story, pets=route)


def test_what_cannot_be_judged_is_told_when_that_begins_and_not_each_second() -> None:
    stage = Stage()

    async def story() -> None:
        for _ in range(2):
            stage.away = True
            await asyncio.sleep(10)
            stage.away = False
            await asyncio.sleep(10)

    lines = judged(stage, story, signs=by_hand_of("signs"))
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("canary_not_judged", "connection refused")
    ] * 2


def by_hand_of(model: str) -> Route:
    return put(default_route(model, "1"), Wanted("1", "2", 500), START, "salt")
