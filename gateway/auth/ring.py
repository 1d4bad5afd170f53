"""Every worker's copy of the API keys: looked up in memory, kept true by the store's hints and by a poll.

Where the store cannot be read, the last good copy holds for `grace` seconds, and in any case until a poll has failed or
is overdue; afterwards no key is accepted, because one that was revoked meanwhile could not be told from the others.

A store that lost keys (emptied, restarted without its data, put back to an older state) does not take them from the
workers. They keep what they had and write back what is missing. The merge has one rule (`ApiKey.outranks`), so it ends
the same in whatever order workers do it: revoked beats not revoked, then the later change wins. So a revocation, or a
rotation, outlives the store that forgot it as long as one worker remembers it; and emptying the store is not a way to
revoke.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from gateway.auth.record import ApiKey, BrokenRecord, from_document
from gateway.auth.store import Change
from gateway.errors import Overloaded
from gateway.store import Freshness, Position, Snapshot, follow

_log = structlog.stdlib.get_logger("gateway.auth")


class Documents(Protocol):
    """What the ring needs of `KeyStore`; each raises KeyStoreAway."""

    async def position(self) -> Position: ...

    async def read(self) -> Snapshot: ...

    async def write(self, changes: Sequence[Change]) -> int: ...

    def hints(self) -> AsyncIterator[None]: ...


@dataclass(frozen=True, slots=True)
class RingStatus:
    """For readiness. `fresh`: the store was read within the last polls. `usable`: keys can be accepted at all."""

    fresh: bool
    usable: bool
    keys: int
    detail: str


@dataclass(frozen=True, slots=True)
class _Entry:
    document: str
    record: ApiKey


class KeyRing:
    """`clock` is monotonic; `interval` and `grace` are in seconds. `adopted` hears of all keys whenever any changed."""

    def __init__(
        self,
        documents: Documents,
        *,
        clock: Callable[[], float],
        interval: float = 1.0,
        grace: float = 3600.0,
        adopted: Callable[[Iterable[ApiKey]], None] = lambda _: None,
    ) -> None:
        self._documents = documents
        self._freshness = Freshness(clock=clock, interval=interval)
        self._interval = interval
        self._grace = grace
        self._adopted = adopted
        self._entries: Mapping[str, _Entry] = {}
        self._broken: frozenset[str] = frozenset()
        self._position = Position()
        self._lost = False
        self._turn = asyncio.Lock()

    def find(self, key_id: str) -> ApiKey | None:
        """The key, or None where there is none. Raises Overloaded where the copy is too old to be trusted."""
        if not self._usable():
            raise Overloaded(
                "API keys cannot be checked at the moment.", retry_after=1, internal=self._freshness.detail
            )
        entry = self._entries.get(key_id)
        return None if entry is None else entry.record

    def status(self) -> RingStatus:
        """How true the copy is."""
        return RingStatus(self._freshness.fresh, self._usable(), len(self._entries), self._freshness.detail)

    async def watch(self) -> None:
        """Follows the store for ever; run as a task and cancel it to stop."""
        await follow(self.refresh, self._documents.hints, interval=self._interval, failed=self._note_failure)

    async def refresh(self) -> None:
        """Reads the store once, where it changed. Raises KeyStoreAway."""
        async with self._turn:
            if await self._documents.position() != self._position or not self._freshness.known:
                await self._follow(await self._documents.read())
            if self._freshness.confirm():
                _log.info("keys_fresh", keys=len(self._entries))

    async def _follow(self, snapshot: Snapshot) -> None:
        if snapshot.position.has_lost(self._position):
            self._alarm(snapshot)
            self._adopt(snapshot, keep_missing=True)
            written = await self._documents.write(self._missing(snapshot))
            _log.warning("keys_written_back", keys=written)
            snapshot = await self._documents.read()
        self._adopt(snapshot, keep_missing=False)
        self._position = snapshot.position
        self._lost = False

    def _adopt(self, snapshot: Snapshot, *, keep_missing: bool) -> None:
        entries = dict(self._entries) if keep_missing else {}
        broken: dict[str, str] = {}
        for key_id, document in snapshot.documents.items():
            mine = self._entries.get(key_id)
            try:
                theirs = mine if mine and mine.document == document else _entry(document)
            except BrokenRecord as error:
                broken[key_id] = str(error)
                entries.update({key_id: mine} if mine else {})
            else:
                entries[key_id] = _merged(mine, theirs)
        self._report(broken)
        self._entries = entries
        self._adopted(entry.record for entry in entries.values())

    def _report(self, broken: Mapping[str, str]) -> None:
        for key_id, reason in broken.items():
            if key_id not in self._broken:
                _log.error("key_unreadable", key=key_id, reason=reason, kept=key_id in self._entries)
        self._broken = frozenset(broken)

    def _missing(self, snapshot: Snapshot) -> list[Change]:
        """What the store has to learn again, beside what it says itself."""
        theirs = snapshot.documents
        return [
            Change(key_id, theirs.get(key_id), entry.document)
            for key_id, entry in self._entries.items()
            if theirs.get(key_id) != entry.document
        ]

    def _alarm(self, snapshot: Snapshot) -> None:
        if not self._lost:
            missing = len(self._entries.keys() - snapshot.documents.keys())
            _log.error("keys_store_lost", missing=missing, kept=len(self._entries))
        self._lost = True
        self._freshness.doubt("the store lost keys; they are kept and written back")

    def _usable(self) -> bool:
        age = self._freshness.age
        return age is not None and (age <= self._grace or self._freshness.fresh)

    def _note_failure(self, reason: str) -> None:
        if self._freshness.doubt(reason):
            _log.warning("keys_stale", reason=reason, grace=self._grace)


def _entry(document: str) -> _Entry:
    return _Entry(document, from_document(document))


def _merged(mine: _Entry | None, theirs: _Entry) -> _Entry:
    return mine if mine and mine.record.outranks(theirs.record) else theirs
