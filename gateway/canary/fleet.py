"""Which workers there are, and which generation of each route they apply: each says so, once a second, in Redis."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis

from gateway.canary.route import Route
from gateway.canary.table import Live
from gateway.store import StoreAway, repeat, text, translated

_KEY = "gw:fleet"
_INTERVAL = 1.0
_GONE = 10.0  # seconds of silence, after which a worker counts as ended

_log = structlog.stdlib.get_logger("gateway.canary")


@dataclass(frozen=True, slots=True)
class Worker:
    """`started_at` and `seen_at` are in seconds since the epoch, `generations` by model; a model without a route has
    none.
    """

    id: str
    host: str
    process: int
    started_at: float
    seen_at: float
    generations: Mapping[str, int]


class Fleet:
    """This worker's word to the others, and theirs. `clock` is that of the store.

    `taken` says whether Redis took the last report: one that does not takes nobody's changes either.
    """

    def __init__(
        self,
        redis: Redis,
        routes: Callable[[], Mapping[str, Live[Route]]],
        *,
        host: str,
        process: int,
        clock: Callable[[], float],
    ) -> None:
        self._redis = redis
        self._routes = routes
        self._clock = clock
        self._id = secrets.token_hex(6)
        self.taken = True
        self._self: dict[str, str | float] = {"host": host, "process": process}

    async def run(self) -> None:
        """Reports for ever; run as a task and cancel it to stop."""
        await repeat(
            self.report,
            interval=_INTERVAL,
            failed=lambda reason: _log.warning("fleet_unreported", reason=reason),
        )

    async def report(self) -> None:
        """Raises StoreAway."""
        now = self._clock()
        self._self.setdefault("started_at", now)
        generations = {model: live.generation for model, live in self._routes().items()}
        document = json.dumps({**self._self, "generations": generations})
        try:
            with translated():
                await self._redis.set(f"{_KEY}:{self._id}", document, px=round(_GONE * 1000))
                await self._redis.zadd(_KEY, {self._id: now})
                await self._redis.zremrangebyscore(_KEY, "-inf", now - _GONE)
        except StoreAway:
            self.taken = False
            raise
        self.taken = True

    async def workers(self) -> Sequence[Worker]:
        """Those that reported lately, by host and process. Raises StoreAway."""
        found = []
        with translated():
            rows: Any = await self._redis.zrangebyscore(
                _KEY, self._clock() - _GONE, "+inf", start=0, num=1000, withscores=True
            )
            for name, seen_at in rows:
                document = await self._redis.get(f"{_KEY}:{text(name)}")
                if document is not None:
                    found.append(Worker(id=text(name), seen_at=seen_at, **json.loads(text(document))))
        return sorted(found, key=lambda worker: (worker.host, worker.process))
