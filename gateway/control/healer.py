"""Starts a model's process again that died: Triton itself never does, and its readiness says that all is well."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from redis.asyncio import Redis

from gateway.control.models import ModelControl
from gateway.errors import GatewayError
from gateway.store import Area, Audit, StoreAway, translated

ACTOR = "healer"

_PAUSE = (
    60.0  # seconds after the first attempt on a model, from all workers together; each further one doubles it
)
_DOUBLED = 4  # times at most
_FORGOTTEN = 3600.0  # seconds without an attempt, after which the next one is the first
_TURN, _ATTEMPTS = "gw:heal:turn:", "gw:heal:attempts:"

_log = structlog.stdlib.get_logger("gateway.control")


class Turns:
    """One worker of all heals a model on a Triton, and none again before a pause is over, which is longer each time.

    Both are keys in Redis that expire. A model that dies whenever it is loaded is so not down all the time for it.
    """

    def __init__(self, redis: Redis, *, pause: float = _PAUSE) -> None:
        self._redis = redis
        self._pause = pause

    async def take(self, dead: str) -> bool:
        """Whether it is this worker's turn now for model@endpoint. Raises StoreAway."""
        with translated():
            attempts = int(await self._redis.get(_ATTEMPTS + dead) or 0)
            pause = self._pause * 2 ** min(attempts, _DOUBLED)
            if not await self._redis.set(_TURN + dead, "1", nx=True, px=round(pause * 1000)):
                return False
            await self._redis.set(_ATTEMPTS + dead, attempts + 1, px=round(_FORGOTTEN * 1000))
            return True


class Taken(Protocol):
    """Whose turn it is."""

    async def take(self, dead: str) -> bool: ...


class Healer:
    """`died` hears of each call that failed for a dead process. `enabled` False only tells of it.

    `told(model, outcome)` hears what came of it: found, healed or failed.
    """

    def __init__(
        self,
        control: ModelControl,
        turns: Taken,
        *,
        enabled: bool,
        told: Callable[[str, str], None],
        audit: Audit,
    ) -> None:
        self._control = control
        self._turns = turns
        self._enabled = enabled
        self._told = told
        self._audit = audit
        self._dead: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._known: set[tuple[str, str]] = set()

    def died(self, model: str, endpoint: str) -> None:
        """Takes note; costs nothing more while it is known already."""
        dead = model, endpoint
        if dead not in self._known:
            self._known.add(dead)
            self._dead.put_nowait(dead)

    async def run(self) -> None:
        """Heals for ever; run as a task and cancel it to stop."""
        while True:
            dead = await self._dead.get()
            try:
                await self._attend(*dead)
            finally:
                self._known.discard(dead)

    async def _attend(self, model: str, endpoint: str) -> None:
        try:
            mine = await self._turns.take(f"{model}@{endpoint}")
        except StoreAway:
            mine = True  # nobody can say whose turn it is; twice does less harm than never
        if not mine:
            await asyncio.sleep(
                1
            )  # whoever's turn it is needs a moment, and the next failed call tells again
            return
        self._told(model, "found")
        _log.error("model_process_died", model=model, endpoint=endpoint, heals=self._enabled)
        if not self._enabled:
            return
        try:
            await self._control.heal(model, only=endpoint)
        except GatewayError as error:
            self._told(model, "failed")
            _log.error(
                "model_not_healed", model=model, endpoint=endpoint, code=error.code, reason=error.internal
            )
        else:
            self._told(model, "healed")
            _log.warning("model_healed", model=model, endpoint=endpoint)
            await self._audit.note(ACTOR, Area.MODELS, "heal", model)
