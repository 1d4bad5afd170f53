"""Routes in Redis: one document a model with its generation, changed by compare-and-set, and the log of the changes.

Documents are opaque text here. A generation is never used twice for a model: a route that was deleted leaves its
generation behind, and the next one counts on from there.

The user of the gateway needs for all of `gateway.canary` (`>` sets its password):

    ACL SETUSER gateway on >… resetkeys ~gw:* resetchannels &gw:* -@all
        +evalsha +script|load +time +get +set +del +pexpire +hget +hmget +hgetall +hset +hsetnx +hincrby
        +xadd +xrange +xrevrange +publish +subscribe +unsubscribe
"""

import secrets
from collections.abc import AsyncIterator, Container, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from gateway.errors import ValidationFailed
from gateway.store import (
    Documents,
    Position,
    StoreAway,
    exclusive,
    is_reserved,
    marks_of,
    moment,
    script,
    text,
    translated,
)

ROUTES = "gw:{routes}"
MARKS = marks_of(ROUTES)
BEFORE = "gw:{routes}:before"
EVENTS = "gw:{routes}:events"
CHANNEL = "gw:routes"
EVENTS_KEPT = 5_000

_PAGE = 250


class LostRace(Exception):
    """Somebody else changed the route first; `current` is the generation that stands."""

    def __init__(self, model: str, current: int) -> None:
        super().__init__(f"{model} is at generation {current}")
        self.current = current


@dataclass(frozen=True, slots=True)
class Stored:
    """What stands for a model: no document where it has no route, generation 0 where it never had one."""

    document: str | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All routes at one moment, deleted ones too."""

    position: Position
    routes: Mapping[str, Stored]


@dataclass(frozen=True, slots=True)
class Cause:
    """Who changed a route, by which action, and why; for the log."""

    actor: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """One change: `generation` is the new one, `at` Redis's clock in seconds since the epoch."""

    id: str
    at: float
    model: str
    generation: int
    cause: Cause
    before: str | None
    after: str | None


class RouteStore:
    """Every worker, and every operator, may write at once. Every method raises StoreAway.

    A `put` whose answer got lost may have been done: read again. So the client must not repeat calls by itself.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._documents = Documents(redis, key=ROUTES, channel=CHANNEL)
        self._put = script(redis, "gateway.canary", "put")
        self._restore = script(redis, "gateway.canary", "restore")

    async def position(self) -> Position:
        """Cheap: what `table` polls."""
        return await self._documents.position()

    async def read(self) -> Snapshot:
        """Everything, of one moment."""
        found = await self._documents.read()
        return Snapshot(found.position, {model: _stored(value) for model, value in found.documents.items()})

    def hints(self) -> AsyncIterator[None]:
        """Yields whenever somebody says that a route changed. It may miss some: poll as well."""
        return self._documents.hints()

    async def get(self, model: str) -> Stored:
        """What stands for the model now."""
        return _stored(await self._documents.get(model) or "")

    async def before(self, model: str) -> Stored | None:
        """What stood before the last change, None where nobody knows."""
        with translated():
            found = await self._redis.hget(BEFORE, model)
        return None if found is None else _stored(text(found))

    async def put(self, model: str, document: str | None, expected: int, cause: Cause) -> int:
        """Puts the document (None: no route any more) in place of that generation; answers the new one.

        Raises LostRace where another generation stands.
        """
        if not model or is_reserved(model):
            raise ValidationFailed.of("/model", "Not a name of a model.")
        keys = [ROUTES, MARKS, BEFORE, EVENTS]
        change = (model, expected, document or "", cause.actor, cause.action, cause.reason)
        with translated():
            words: list[str | int] = [CHANNEL, secrets.token_hex(8), *change, EVENTS_KEPT]
            done, generation = map(int, await self._put(keys=keys, args=words))
        if not done:
            raise LostRace(model, generation)
        return generation

    async def restore(self, routes: Mapping[str, Stored], reason: str) -> int:
        """Writes back, with their generations, those that the store has older or not at all; answers how many."""
        flat = [
            word
            for model, stored in routes.items()
            for word in (model, stored.generation, stored.document or "")
        ]
        if not flat:
            return 0
        with translated():
            words = [CHANNEL, secrets.token_hex(8), "gateway", reason, EVENTS_KEPT, *flat]
            return int(await self._restore(keys=[ROUTES, MARKS, EVENTS], args=words))

    async def events(
        self,
        model: str | None = None,
        *,
        limit: int = 100,
        after: str | None = None,
        before: str | None = None,
        among: Container[str] | None = None,
    ) -> list[Event]:
        """Changes of one model, or of all, or of those `among` these: the newest first; with `after`, an event's id,
        those since, oldest first.

        The log is bounded. Raises ValidationFailed for an id that is none.
        """
        found: list[Event] = []
        start, end = exclusive("/after", after, "-"), exclusive("/before", before, "+")
        while len(found) < limit:
            page = await self._page(start, end, oldest_first=after is not None)
            found += [
                event
                for event in page
                if model in (None, event.model) and (among is None or event.model in among)
            ]
            if len(page) < _PAGE:
                break
            start, end = (f"({page[-1].id}", end) if after is not None else (start, f"({page[-1].id}")
        return found[:limit]

    async def _page(self, start: str, end: str, *, oldest_first: bool) -> list[Event]:
        with translated():
            rows: Any = await (
                self._redis.xrange(EVENTS, start, end, count=_PAGE)
                if oldest_first
                else self._redis.xrevrange(EVENTS, end, start, count=_PAGE)
            )
            return [_event(text(row_id), fields) for row_id, fields in rows]


def _stored(value: str) -> Stored:
    """From the form in which the hash holds it: the generation, a blank, the document.

    What somebody else wrote there counts as a document of generation 0, as the scripts see it.
    """
    generation, blank, document = value.partition(" ")
    if blank and generation.isascii() and generation.isdecimal():
        return Stored(document or None, int(generation))
    return Stored(value or None, 0)


def _event(event_id: str, raw: Mapping[Any, Any]) -> Event:
    fields = {text(name): text(value) for name, value in raw.items()}
    try:
        return Event(
            id=event_id,
            at=moment(event_id),
            model=fields["model"],
            generation=int(fields["generation"]),
            cause=Cause(fields["actor"], fields["action"], fields["reason"]),
            before=fields["before"] or None,
            after=fields["after"] or None,
        )
    except KeyError as error:
        raise StoreAway(f"{EVENTS} holds what is no event: {error} is missing") from None
