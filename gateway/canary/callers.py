"""Who still calls a version that is to go: the last call of each, for a week, from all workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis

from gateway.domain import ModelVersion, Principal
from gateway.store import repeat, text, translated

_PREFIX = "gw:callers:"
_KEPT = 7 * 86_400  # seconds
_INTERVAL = 2.0
_MOST = 1_000  # different callers that are noted between two deliveries, and shown at once

_log = structlog.stdlib.get_logger("gateway.canary")


@dataclass(frozen=True, slots=True)
class Caller:
    """`last_seen` is in seconds since the epoch."""

    tenant: str
    id: str
    last_seen: float


class Callers:
    """`note` is arithmetic in memory; `run` brings it to Redis. `clock` is that of the store."""

    def __init__(self, redis: Redis, *, clock: Callable[[], float]) -> None:
        self._redis = redis
        self._clock = clock
        self._seen: dict[tuple[str, str], float] = {}  # by set and member

    def note(self, target: ModelVersion, principal: Principal) -> None:
        """A call of this version by this caller, now."""
        entry = _key(target.model, target.version), f"{principal.tenant}\n{principal.id}"
        if entry in self._seen or len(self._seen) < _MOST:
            self._seen[entry] = self._clock()

    async def of(self, model: str, version: str) -> Sequence[Caller]:
        """The latest first, at most a thousand. Raises StoreAway."""
        key, since = _key(model, version), self._clock() - _KEPT
        with translated():
            # Counted from the oldest: to read backwards is a right that the gateway does not ask for.
            older = max(0, int(await self._redis.zcard(key)) - _MOST)
            rows: Any = await self._redis.zrangebyscore(
                key, "-inf", "+inf", start=older, num=_MOST, withscores=True
            )
            callers = [_caller(text(member), float(score)) for member, score in rows]
        return [caller for caller in reversed(callers) if caller.last_seen >= since]

    async def run(self) -> None:
        """Delivers for ever; run as a task and cancel it to stop."""
        await repeat(
            self.deliver,
            interval=_INTERVAL,
            failed=lambda reason: _log.warning("callers_held", reason=reason),
        )

    async def deliver(self) -> None:
        """Raises StoreAway, and then the same goes out with the next delivery."""
        by_key: dict[str, dict[str, float]] = {}
        for (key, member), at in self._seen.items():
            by_key.setdefault(key, {})[member] = at
        for key, seen in by_key.items():
            with translated():
                await self._redis.zadd(key, seen)
                await self._redis.zremrangebyscore(key, "-inf", max(seen.values()) - _KEPT)
                await self._redis.pexpire(key, _KEPT * 1000)
            for member, at in seen.items():
                if self._seen.get((key, member)) == at:
                    del self._seen[key, member]


def _caller(member: str, last_seen: float) -> Caller:
    tenant, _, caller = member.partition("\n")
    return Caller(tenant, caller, last_seen)


def _key(model: str, version: str) -> str:
    return f"{_PREFIX}{model}:{version}"
