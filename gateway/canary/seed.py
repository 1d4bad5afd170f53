"""The routes file of the configuration: it gives a store that never had a route its first ones, and nothing more.

Later changes are an operator's: by hand, or by `gateway canary apply` with the same file.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from gateway.canary.lifecycle import RefusedChange, new_salt, put
from gateway.canary.rollouts import Rollouts
from gateway.canary.store import Cause, LostRace
from gateway.canary.wanted import Wanted, read_wanted
from gateway.errors import GatewayError
from gateway.store import StoreAway, heed_cancellation

_INTERVAL = 2.0
_CAUSE = Cause("gateway", "seed", "The store had no route for this model.")

_log = structlog.stdlib.get_logger("gateway.canary")


class Seed:
    """`routes` are the bodies by model; `clock` is that of the store."""

    def __init__(
        self, routes: Mapping[str, Mapping[str, Any]], rollouts: Rollouts, *, clock: Callable[[], float]
    ) -> None:
        self._left = dict(routes)
        self._rollouts = rollouts
        self._clock = clock
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Tries until every model of the file has had a route; a model may be loaded later."""
        while self._left:
            for model in sorted(self._left):
                await self._try(model)
            heed_cancellation()
            await asyncio.sleep(_INTERVAL)

    async def _try(self, model: str) -> None:
        try:
            await self._plant(model)
            del self._left[model]
        except LostRace:
            del self._left[model]  # another worker was first
        except (RefusedChange, StoreAway, GatewayError) as error:
            reasons = [str(error), *getattr(error, "reasons", ())]
            if self._told.get(model) != (reason := "; ".join(reasons)):
                self._told[model] = reason
                _log.warning("route_not_seeded", model=model, reason=reason)

    async def _plant(self, model: str) -> None:
        if (await self._rollouts.standing(model)).generation:
            return
        wanted = self._wanted(self._left[model])
        await self._rollouts.change(
            model, lambda route: put(route, wanted, self._clock(), new_salt()), _CAUSE, expected=0
        )
        _log.info("route_seeded", model=model)

    def _wanted(self, body: Mapping[str, Any]) -> Wanted:
        """A lease counts from now."""
        lease = body.get("lease")
        return read_wanted(json.dumps({**body, "lease": None if lease is None else self._clock() + lease}))
