"""The one worker that judges every rollout each second: rolls back what is bad, moves on what is good."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import structlog

from gateway.canary import ledger as ledgers
from gateway.canary.analysis import Judgement, Verdict
from gateway.canary.counts import KEPT, Reading
from gateway.canary.ledger import Ledger
from gateway.canary.lifecycle import Action, RefusedChange, due, perform, rollback
from gateway.canary.rollouts import Transition
from gateway.canary.route import Route
from gateway.canary.store import Cause, LostRace
from gateway.canary.table import Live
from gateway.errors import GatewayError
from gateway.store import StoreAway, heed_cancellation

_log = structlog.stdlib.get_logger("gateway.canary")

ACTOR = "guard"
_INTERVAL = 1.0
_REST = 10.0  # seconds after a step was refused, until it is tried again


class Changes(Protocol):
    """How a route is changed; see `Rollouts`."""

    async def change(
        self, model: str, transition: Transition, cause: Cause, *, expected: int | None = None
    ) -> Live[Route]: ...


class Reader(Protocol):
    """Where the counts come from; raises StoreAway."""

    async def read(self, model: str, seconds: int) -> Reading: ...


class Ledgers(Protocol):
    """Where the sums wait for the next evaluator; each raises StoreAway."""

    async def load(self, model: str) -> Ledger | None: ...

    async def save(self, model: str, ledger: Ledger) -> None: ...


class Held(Protocol):
    """Whether it is this worker's turn."""

    @property
    def held(self) -> bool: ...


class Controller:
    """`routes` gives the routes that hold now. `clock` is that of the store: another worker may have begun what is due
    by it. `rolled_back` hears of each model and the cause.

    All rollouts are judged one after the other, which takes no time. A step waits for its pre-flight, as long as the
    model's answers take, in a task of its own: every canary is guarded on meanwhile, its own too.
    """

    def __init__(
        self,
        *,
        routes: Callable[[], Mapping[str, Live[Route]]],
        rollouts: Changes,
        reader: Reader,
        store: Ledgers,
        lease: Held,
        clock: Callable[[], float],
        rolled_back: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._routes = routes
        self._rollouts = rollouts
        self._reader = reader
        self._store = store
        self._lease = lease
        self._clock = clock
        self._rolled_back = rolled_back
        self._stepping: set[str] = set()
        self._refused: dict[str, tuple[int, float]] = {}  # the generation whose step was, and when, by model
        # For which generation and reason, by event and model.
        self._told: dict[tuple[str, str], tuple[int, str]] = {}

    async def run(self) -> None:
        """Judges for ever; run as a task and cancel it to stop."""
        async with asyncio.TaskGroup() as steps:
            while True:
                if self._lease.held:
                    await self._look(steps)
                heed_cancellation()
                await asyncio.sleep(_INTERVAL)

    async def _look(self, steps: asyncio.TaskGroup) -> None:
        """Judges every rollout that is under way, once."""
        for live in self._routes().values():
            if live.route.under_way:
                with self._telling("canary_not_judged", live):
                    await self._look_at(live, steps)

    @contextmanager
    def _telling(self, event: str, live: Live[Route]) -> Iterator[None]:
        """What comes between is told once, and again when it is something else."""
        model = live.route.model
        try:
            yield
        except (RefusedChange, LostRace) as error:
            _log.info("canary_changed_meanwhile", model=model, reason=str(error))
        except (StoreAway, GatewayError) as error:
            reason = "; ".join([str(error), *getattr(error, "reasons", ())])
            if self._told.get((event, model)) != (live.generation, reason):
                self._told[event, model] = live.generation, reason
                _log.warning(event, model=model, reason=reason)
        else:
            self._told.pop((event, model), None)

    async def _look_at(self, live: Live[Route], steps: asyncio.TaskGroup) -> None:
        route = live.route
        reading = await self._reader.read(route.model, KEPT)
        ledger = ledgers.continued(await self._store.load(route.model), route, reading)
        judgement = ledgers.judged(ledger, route, reading)
        await self._store.save(route.model, replace(ledger, judgement=judgement))
        await self._act(live, ledger, judgement, steps)

    async def _act(
        self, live: Live[Route], ledger: Ledger, judgement: Judgement, steps: asyncio.TaskGroup
    ) -> None:
        if judgement.verdict is Verdict.ROLL_BACK:
            await self._roll_back(live, judgement)
            return
        healthy = judgement.verdict is Verdict.HEALTHY
        action = due(live.route, self._clock(), served=ledger.canary.requests, healthy=healthy)
        if action is Action.EXPIRE_LEASE:
            await self._go_on(live, action, judgement)
        elif action is not None and self._may_step(live):
            model = live.route.model
            self._stepping.add(model)
            step = steps.create_task(self._step(live, action, judgement))
            step.add_done_callback(lambda _: self._stepping.discard(model))

    def _may_step(self, live: Live[Route]) -> bool:
        """Not while one is under way, nor soon after the same one was refused: a pre-flight is work for the model."""
        generation, at = self._refused.get(live.route.model, (None, 0.0))
        rests = generation == live.generation and asyncio.get_running_loop().time() < at + _REST
        return live.route.model not in self._stepping and not rests

    async def _step(self, live: Live[Route], action: Action, judgement: Judgement) -> None:
        with self._telling("canary_step_refused", live):
            try:
                await self._go_on(live, action, judgement)
            except GatewayError:
                self._refused[live.route.model] = live.generation, asyncio.get_running_loop().time()
                raise

    async def _roll_back(self, live: Live[Route], judgement: Judgement) -> None:
        """By the route and not by its generation: the one that is applied is taken back also where the store has a
        newer one that cannot be read.
        """

        def back(route: Route) -> Route:
            if route != live.route:
                raise RefusedChange("It is another route now.")
            return rollback(route, judgement.sentence, self._clock())

        cause = Cause(ACTOR, "rollback", judgement.sentence)
        after = await self._rollouts.change(live.route.model, back, cause)
        self._rolled_back(live.route.model, judgement.cause or "")
        _log.warning(
            "canary_rolled_back",
            model=live.route.model,
            canary=live.route.canary,
            cause=judgement.cause,
            reason=judgement.sentence,
            generation=after.generation,
        )

    async def _go_on(self, live: Live[Route], action: Action, judgement: Judgement) -> None:
        after = await self._rollouts.change(
            live.route.model,
            lambda route: perform(route, action, self._clock()),
            Cause(ACTOR, action, "" if action is Action.EXPIRE_LEASE else judgement.sentence),
            expected=live.generation,
        )
        _log.info(
            "canary_went_on",
            model=live.route.model,
            action=action,
            weight=after.route.weight,
            reason=after.route.reason,
            generation=after.generation,
        )
