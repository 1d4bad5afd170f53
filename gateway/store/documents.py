"""One hash of documents by id with its epoch and version: what keys and routes have in common in Redis.

The scripts that write draw the epoch when the first document is written, so a store that was emptied does not pass for
the old one, and count the version up with every change. Beside the hash they keep a mark that each of the last changes
drew: a replica that took over without some of them, and was changed since, may stand at the same version, or at a later
one, and is not what it was. A change is announced on a channel, as a hint.
"""

import importlib.resources
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from gateway.store.connection import text
from gateway.store.failures import StoreAway, translated
from gateway.store.following import heed_cancellation

_EPOCH = ":epoch"
_VERSION = ":version"
_LISTEN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Position:
    """Which state a store is in; an empty one has no epoch. `marks` are those of its last versions, as far as they were
    written by gateways that make some.
    """

    epoch: str | None = None
    version: int = 0
    marks: Mapping[int, str] = field(default_factory=dict)

    def has_lost(self, known: "Position") -> bool:
        """Whether a store that stood at `known` must have forgotten something to stand here."""
        if known.epoch is None:
            return False
        mark = self.marks.get(known.version)
        another = mark is not None and mark != known.marks.get(known.version)
        return self.epoch != known.epoch or self.version < known.version or another


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole store at one moment: the documents by id, as they stand there."""

    position: Position
    documents: Mapping[str, str]


class Documents:
    """Reading them. Every method raises `away`."""

    def __init__(self, redis: Redis, *, key: str, channel: str, away: type[StoreAway] = StoreAway) -> None:
        self._redis = redis
        self._key = key
        self._marks = marks_of(key)
        self._channel = channel
        self._away = away
        self._read = script(redis, "gateway.store", "read")

    async def position(self) -> Position:
        """Cheap: what followers poll."""
        with translated(self._away):
            return await self._marked(*await self._redis.hmget(self._key, [_EPOCH, _VERSION]))

    async def read(self) -> Snapshot:
        """Everything, of one moment."""
        with translated(self._away):
            flat: Sequence[str] = json.loads(text(await self._read(keys=[self._key])))
            texts = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
            position = await self._marked(texts.pop(_EPOCH, None), texts.pop(_VERSION, None))
        return Snapshot(position, texts)

    async def _marked(self, epoch: Any, version: Any) -> Position:
        """The marks are read after the version, so that its own is among them. Alone: while a slot moves, nothing that
        names two keys of it is answered.
        """
        found: Mapping[Any, Any] = await self._redis.hgetall(self._marks)
        marks = dict(_mark(text(value)) for value in found.values())
        return Position(None if epoch is None else text(epoch), int(version or 0), marks)

    async def get(self, name: str) -> str | None:
        """One document."""
        with translated(self._away):
            found = None if is_reserved(name) else await self._redis.hget(self._key, name)
        return None if found is None else text(found)

    async def hints(self) -> AsyncIterator[None]:
        """Yields whenever somebody says that the store changed. It may miss some: poll as well."""
        with translated(self._away):
            async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(self._channel)
                while True:
                    heed_cancellation()
                    if await channel.get_message(timeout=_LISTEN_SECONDS) is not None:
                        yield


def is_reserved(name: str) -> bool:
    """Names that begin so are the store's own fields, never documents."""
    return name.startswith(":")


def script(redis: Redis, package: str, name: str) -> AsyncScript:
    """The Lua script that travels with the package; loaded again where Redis does not know it (any more)."""
    return redis.register_script(importlib.resources.files(package).joinpath(f"{name}.lua").read_text())


def marks_of(key: str) -> str:
    """The key of the marks, in the slot of the hash itself."""
    return f"{key}:marks" if "{" in key else f"gw:{{{key}}}:marks"


def _mark(value: str) -> tuple[int, str]:
    version, _, mark = value.partition(" ")
    return int(version), mark
