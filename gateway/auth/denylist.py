"""Tokens that were ended before their time: one sorted set in Redis, and every worker's copy of it.

A name on the list is a token's `jti`, or the id of a caller (`<issuer>:<sub>`; an API key's id for the tokens and the
console's sessions made from it), which ends every token of that caller. It stays until no token that it means could be
valid any more. Workers read the list every second. Where they cannot, the copy holds for `max_age`; afterwards no token
passes, because one that was ended meanwhile could not be told from the others. A store that lost names gets them back
from the workers.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis

from gateway.auth.console import LIFETIME as SESSION_LIFETIME
from gateway.auth.issuers import MAX_LIFETIME
from gateway.auth.sessions import MAX_TTL
from gateway.auth.tokens import LEEWAY
from gateway.errors import Forbidden, Overloaded, ValidationFailed
from gateway.store import Freshness, StoreAway, heed_cancellation, script, text, translated

DENIED = "gw:denied"
MAX_SECONDS = 30 * 86_400.0
MAX_NAME = 1024
# Nobody's tokens are accepted for longer than this from now on: the longest lifetime, and what two clocks may differ.
OUTLIVES_ALL = max(MAX_LIFETIME, MAX_TTL, SESSION_LIFETIME) + 2 * LEEWAY

_log = structlog.stdlib.get_logger("gateway.auth")


class Names(Protocol):
    """What `DenyList` needs of `DeniedTokens`; each raises StoreAway."""

    async def read(self, now: float) -> Mapping[str, float]: ...

    async def deny(self, names: Mapping[str, float]) -> None: ...


class DeniedTokens:
    """The list in Redis: until when, in seconds since the epoch, by name. Every method raises StoreAway."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._deny = script(redis, "gateway.auth", "deny")

    async def end(self, name: str, until: float) -> None:
        """Puts one name on the list. Raises ValidationFailed for one that no token and no caller has."""
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise ValidationFailed.of("/id", f"1 to {MAX_NAME} printable characters.")
        await self.deny({name: until})

    async def deny(self, names: Mapping[str, float]) -> None:
        """Puts the names on the list; one that is there keeps the later of its times."""
        flat = [word for name, until in names.items() for word in (math.ceil(until), name)]
        with translated():
            await self._deny(keys=[DENIED], args=[LEEWAY, *flat])

    async def read(self, now: float) -> Mapping[str, float]:
        """The names that are denied at `now`."""
        with translated():
            found: Any = await self._redis.zrangebyscore(DENIED, f"({now}", "+inf", withscores=True)
            return {text(name): float(until) for name, until in found}


class DenyList:
    """This worker's copy. `wall` is the wall clock, `clock` monotonic; `interval` and `max_age` are in seconds."""

    def __init__(
        self,
        store: Names,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        interval: float = 1.0,
        max_age: float = 60.0,
    ) -> None:
        self._store = store
        self._freshness = Freshness(clock=clock, interval=interval)
        self._wall = wall
        self._interval = interval
        self._max_age = max_age
        self._names: Mapping[str, float] = {}

    @property
    def fresh(self) -> bool:
        """Whether the list was read within the last polls."""
        return self._freshness.fresh

    def denies(self, *names: str, administers: bool = False) -> bool:
        """Whether one of these is on the list.

        Raises Overloaded where the copy is too old to tell; for a caller who `administers`, where it is not fresh.
        """
        if not (self.fresh if administers else self._usable()):
            reason = self._freshness.detail
            raise Overloaded("Tokens cannot be checked at the moment.", retry_after=1, internal=reason)
        now = self._wall()
        return any(self._names.get(name, -math.inf) > now for name in names)

    def check_open(self, caller: str) -> None:
        """Raises Forbidden where nothing that is made for this caller now would be accepted; Overloaded."""
        if self.denies(caller):
            until = datetime.fromtimestamp(self._names[caller], UTC).isoformat(timespec="seconds")
            raise Forbidden(
                f"The tokens and sessions of this key were ended, and those to come until {until}."
            )

    async def watch(self) -> None:
        """Follows the list for ever; run as a task and cancel it to stop."""
        while True:
            try:
                await self.refresh()
            except StoreAway as error:
                self._note_failure(str(error))
            heed_cancellation()
            await asyncio.sleep(self._interval)

    async def refresh(self) -> None:
        """Reads the list once, and writes back what it has lost. Raises StoreAway."""
        now = self._wall()
        theirs = await self._store.read(now)
        lost = {
            name: until for name, until in self._names.items() if until > now and theirs.get(name, 0) < until
        }
        if lost:
            _log.error("denied_tokens_lost", lost=len(lost))
            await self._store.deny(lost)
        self._names = {**theirs, **lost}
        if self._freshness.confirm():
            _log.info("denied_tokens_fresh", names=len(self._names))

    def _usable(self) -> bool:
        age = self._freshness.age
        return age is not None and age <= self._max_age

    def _note_failure(self, reason: str) -> None:
        if self._freshness.doubt(reason):
            _log.warning("denied_tokens_stale", reason=reason, max_age=self._max_age)
