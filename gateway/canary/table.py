"""Every worker's copy of the routes: looked up in memory, kept true by the store's hints and by a poll.

Where the store cannot be read, the last good copy goes on for as long as that lasts. A store that lost routes (emptied,
restarted without its data, put back to an older state) changes nothing either: an alarm is raised, the routes stay as
they are, and what is missing is written back with its generation. The higher generation wins, so it ends the same in
whatever order workers do it; no worker ever takes a lower one than it had.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import structlog

from gateway.canary.store import Snapshot, Stored
from gateway.store import Freshness, Position, follow

_log = structlog.stdlib.get_logger("gateway.canary")

T = TypeVar("T")

_NOTHING = Stored()


class Routes(Protocol):
    """What the table needs of `RouteStore`; each raises StoreAway."""

    async def position(self) -> Position: ...

    async def read(self) -> Snapshot: ...

    async def restore(self, routes: Mapping[str, Stored], reason: str) -> int: ...

    def hints(self) -> AsyncIterator[None]: ...


@dataclass(frozen=True, slots=True)
class Live(Generic[T]):
    """A route and the generation that it is. `unreadable` says why what the store has of this generation is no route to
    this release: then the route is the one that is applied in its place.
    """

    route: T
    generation: int
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class TableStatus:
    """For readiness. `fresh`: the store was read within the last polls. `known`: it was ever read."""

    fresh: bool
    known: bool
    routes: int
    unreadable: frozenset[str]
    detail: str


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    """`live` is None where the route was deleted: its generation has to be known all the same."""

    stored: Stored
    live: Live[T] | None


class RouteTable(Generic[T]):
    """`clock` is monotonic; `interval` is in seconds. `parse` raises `broken` for a document that is no route.

    `on_change` hears each route that comes, changes or goes (None), after it holds.
    """

    def __init__(
        self,
        store: Routes,
        parse: Callable[[str], T],
        *,
        clock: Callable[[], float],
        broken: type[Exception] = ValueError,
        interval: float = 1.0,
        on_change: Callable[[str, Live[T] | None], None] = lambda _model, _live: None,
    ) -> None:
        self._store = store
        self._parse = parse
        self._broken = broken
        self._interval = interval
        self._on_change = on_change
        self._freshness = Freshness(clock=clock, interval=interval)
        self._known: Mapping[str, Stored] = {}  # all of them, as they are kept
        self._entries: Mapping[str, _Entry[T]] = {}
        self._live: Mapping[str, Live[T]] = {}
        self._unreadable: Mapping[str, Stored] = {}
        self._position = Position()
        self._lost = False
        self._turn = asyncio.Lock()

    def route(self, model: str) -> Live[T] | None:
        """What holds for the model here and now, None where it has no route."""
        return self._live.get(model)

    def routes(self) -> Mapping[str, Live[T]]:
        """All of them by model."""
        return self._live

    def generation(self, model: str) -> int:
        """The last one of the model, also of a route that was deleted or cannot be read; 0 without any."""
        return self._known.get(model, _NOTHING).generation

    def status(self) -> TableStatus:
        """How true the copy is."""
        fresh = self._freshness
        return TableStatus(
            fresh.fresh, fresh.known, len(self._live), frozenset(self._unreadable), fresh.detail
        )

    async def watch(self) -> None:
        """Follows the store for ever; run as a task and cancel it to stop."""
        await follow(self.refresh, self._store.hints, interval=self._interval, failed=self._note_failure)

    async def refresh(self, *, doubted: bool = False) -> None:
        """Reads the store once, where it changed, or is doubted. Raises StoreAway."""
        async with self._turn:
            known = self._freshness.known and not doubted
            if not known or await self._store.position() != self._position:
                await self._follow(await self._store.read())
            if self._freshness.confirm():
                _log.info("routes_fresh", routes=len(self._live))

    async def _follow(self, snapshot: Snapshot) -> None:
        missing = self._missing(snapshot)
        if missing or snapshot.position.has_lost(self._position):
            snapshot = await self._write_back(missing)
        self._adopt({**snapshot.routes, **self._missing(snapshot)})
        self._position = snapshot.position
        self._lost = False

    def _missing(self, snapshot: Snapshot) -> Mapping[str, Stored]:
        """What the store holds in an older generation, or not at all: it never goes back by itself."""
        return {
            model: stored
            for model, stored in self._known.items()
            if stored.generation > snapshot.routes.get(model, _NOTHING).generation
        }

    async def _write_back(self, missing: Mapping[str, Stored]) -> Snapshot:
        """What the store holds after it has learned again what it lost."""
        if not self._lost:
            _log.error("routes_store_lost", missing=sorted(missing), kept=len(self._live))
        self._lost = True
        self._freshness.doubt("the store lost routes; they are kept and written back")
        written = await self._store.restore(missing, "the store had lost it")
        _log.warning("routes_written_back", routes=written)
        return await self._store.read()

    def _adopt(self, routes: Mapping[str, Stored]) -> None:
        entries: dict[str, _Entry[T]] = {}
        unreadable: dict[str, Stored] = {}
        for model, stored in routes.items():
            mine = self._entries.get(model)
            try:
                entries[model] = mine if mine and mine.stored == stored else self._entry(stored)
            except self._broken as error:
                unreadable[model] = stored
                entries |= {model: mine} if mine else {}
                self._report(model, stored, error)
        self._known, self._unreadable = routes, unreadable
        self._apply(entries)

    def _entry(self, stored: Stored) -> _Entry[T]:
        if stored.document is None:
            return _Entry(stored, None)
        return _Entry(stored, Live(self._parse(stored.document), stored.generation))

    def _apply(self, entries: Mapping[str, _Entry[T]]) -> None:
        before, self._entries = self._live, entries
        self._live = {model: entry.live for model, entry in entries.items() if entry.live is not None}
        for model in sorted(before.keys() | self._live.keys()):
            if (live := self._live.get(model)) != before.get(model):
                self._on_change(model, live)

    def _report(self, model: str, stored: Stored, error: Exception) -> None:
        if self._unreadable.get(model) != stored:
            kept = model in self._live
            _log.error(
                "route_unreadable", model=model, generation=stored.generation, reason=str(error), kept=kept
            )

    def _note_failure(self, reason: str) -> None:
        if self._freshness.doubt(reason):
            _log.warning("routes_stale", reason=reason, routes=len(self._live))
