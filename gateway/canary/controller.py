"""The one worker that judges every rollout each second: rolls back what is bad, moves on what is good."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from gateway.canary import ledger as ledgers
from gateway.canary.analysis import Judgement, Verdict, judge
from gateway.canary.counts import KEPT, Reading
from gateway.canary.ledger import Ledger
from gateway.canary.lifecycle import Action, RefusedChange, due, perform, rollback
from gateway.canary.rollouts import Rollouts
from gateway.canary.route import Route
from gateway.canary.store import Cause, LostRace
from gateway.canary.table import Live
from gateway.errors import GatewayError
from gateway.store import StoreAway, heed_cancellation

_log = structlog.stdlib.get_logger("gateway.canary")

ACTOR = "guard"
_INTERVAL = 1.0


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
    """`routes` gives the routes that hold now. `clock` is the wall clock. `rolled_back` hears of each model and the
    cause.
    """

    def __init__(
        self,
        *,
        routes: Callable[[], Mapping[str, Live[Route]]],
        rollouts: Rollouts,
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

    async def run(self) -> None:
        """Judges for ever; run as a task and cancel it to stop."""
        while True:
            if self._lease.held:
                await self.look()
            heed_cancellation()
            await asyncio.sleep(_INTERVAL)

    async def look(self) -> None:
        """Judges every rollout that is under way, once."""
        for model, live in self._routes().items():
            if not live.route.under_way:
                continue
            try:
                await self._look_at(model, live)
            except (RefusedChange, LostRace) as error:
                _log.info("canary_changed_meanwhile", model=model, reason=str(error))
            except (StoreAway, GatewayError) as error:
                _log.warning("canary_not_judged", model=model, reason=str(error))

    async def _look_at(self, model: str, live: Live[Route]) -> None:
        route = live.route
        reading = await self._reader.read(model, KEPT)
        ledger = ledgers.continued(await self._store.load(model), route, reading)
        judgement = judge(route.guard, ledgers.evidence(ledger, route, reading))
        await self._store.save(model, replace(ledger, judgement=judgement))
        await self._act(live, ledger, judgement)

    async def _act(self, live: Live[Route], ledger: Ledger, judgement: Judgement) -> None:
        now = self._clock()
        if judgement.verdict is Verdict.ROLL_BACK:
            await self._roll_back(live, judgement, now)
            return
        healthy = judgement.verdict is Verdict.HEALTHY
        action = due(live.route, now, served=ledger.canary.requests, healthy=healthy)
        if action is not None:
            await self._go_on(live, action, judgement, now)

    async def _roll_back(self, live: Live[Route], judgement: Judgement, now: float) -> None:
        cause = Cause(ACTOR, "rollback", judgement.sentence)
        after = await self._rollouts.change(
            live.route.model,
            lambda route: rollback(route, judgement.sentence, now),
            cause,
            expected=live.generation,
        )
        self._rolled_back(live.route.model, judgement.cause or "")
        _log.warning(
            "canary_rolled_back",
            model=live.route.model,
            canary=live.route.canary,
            cause=judgement.cause,
            reason=judgement.sentence,
            generation=after.generation,
        )

    async def _go_on(self, live: Live[Route], action: Action, judgement: Judgement, now: float) -> None:
        after = await self._rollouts.change(
            live.route.model,
            lambda route: perform(route, action, now),
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
