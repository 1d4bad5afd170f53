"""API keys in Redis: one hash of documents by id with its epoch and version, changed by compare-and-set only.

Workers hold a copy (`ring`) and learn of a change from the channel, which is a hint, and from the version, which they
poll. The epoch is drawn when the first key is written, so a store that was emptied does not pass for the old one.
"""

import asyncio
import importlib.resources
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.auth.keys import KeyHasher, generate, new_id
from gateway.auth.record import ApiKey, BrokenRecord, Grant, from_document, to_document
from gateway.errors import ValidationFailed

KEYS = "gw:keys"
CHANNEL = "gw:keys"
MAX_OVERLAP = 30 * 86_400.0  # seconds

_EPOCH = ":epoch"
_VERSION = ":version"
_ATTEMPTS = 10
_LISTEN_SECONDS = 1.0


class KeyStoreError(Exception):
    """The root of what the store answers instead of a key."""


class KeyStoreAway(KeyStoreError):
    """Redis cannot be asked, or refuses."""


class UnknownKey(KeyStoreError):
    """No key has this id, or what the store holds for it is none."""


class KeyIsRevoked(KeyStoreError):
    """A revoked key cannot be changed any more."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key as its owner gets it: `secret`, the whole text, exists here and nowhere else."""

    record: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Position:
    """Which state a store is in; an empty one has no epoch."""

    epoch: str | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole store at one moment: the documents by id, as they stand there."""

    position: Position
    documents: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """`document` takes the place of `expected` (None: of nothing)."""

    id: str
    expected: str | None
    document: str


class KeyStore:
    """Every worker, and the command line, may write at once.

    `environment` stands in the text of new keys. `clock` is the wall clock. The client's own timeouts bound each call,
    and it may repeat one: a write that was done before its answer got lost is found out. Every method raises
    KeyStoreAway.
    """

    def __init__(
        self, redis: Redis, *, hasher: KeyHasher, environment: str, clock: Callable[[], float]
    ) -> None:
        self._redis = redis
        self._hasher = hasher
        self._environment = environment
        self._clock = clock
        self._read = redis.register_script(_lua("read"))
        self._write = redis.register_script(_lua("write"))

    async def create(self, grant: Grant) -> IssuedKey:
        """Makes a key. Raises ValidationFailed for a grant that cannot be."""
        now = self._clock()
        grant.check(now)
        for _ in range(_ATTEMPTS):
            key_id = new_id()
            secret = generate(self._environment, key_id)
            record = ApiKey(key_id, grant, now, self._hasher.digest(secret))
            document = to_document(record)
            if await self.write([Change(key_id, None, document)]) or await self._document(key_id) == document:
                return IssuedKey(record, secret)
        raise KeyStoreAway("no free id found")

    async def records(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first; documents that are no keys are left out."""
        records = readable((await self.read()).documents)
        return sorted(records.values(), key=lambda record: record.created_at)

    async def get(self, key_id: str) -> ApiKey:
        """Raises UnknownKey."""
        return _parsed(key_id, await self._document(key_id))

    async def rotate(self, key_id: str, *, overlap: float) -> IssuedKey:
        """A new secret under the same id; the old one holds for `overlap` seconds more.

        Raises UnknownKey, KeyIsRevoked, ValidationFailed for an overlap that is negative or over 30 days.
        """
        if not 0 <= overlap <= MAX_OVERLAP:
            raise ValidationFailed.of("/overlap", f"0 to {MAX_OVERLAP:.0f} seconds.")
        secret = generate(self._environment, key_id)
        digest = self._hasher.digest(secret)
        record = await self._update(
            key_id, lambda old: _unrevoked(old).rotated(digest, self._clock(), overlap)
        )
        return IssuedKey(record, secret)

    async def revoke(self, key_id: str) -> ApiKey:
        """Ends the key at once; revoking it again changes nothing. Raises UnknownKey."""
        return await self._update(key_id, lambda old: old.revoked(self._clock()))

    async def position(self) -> Position:
        """Cheap: what `ring` polls."""
        with _translated():
            return _position(*await self._redis.hmget(KEYS, [_EPOCH, _VERSION]))

    async def read(self) -> Snapshot:
        """Everything, of one moment."""
        with _translated():
            flat: Sequence[str] = json.loads(_text(await self._read(keys=[KEYS])))
            texts = dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}
            position = _position(texts.pop(_EPOCH, None), texts.pop(_VERSION, None))
        return Snapshot(position, texts)

    async def write(self, changes: Sequence[Change]) -> int:
        """Makes those changes whose `expected` still stands, together; answers how many."""
        flat = [text for change in changes for text in (change.id, change.expected or "", change.document)]
        with _translated():
            written = await self._write(keys=[KEYS], args=[CHANNEL, secrets.token_hex(8), *flat])
        return int(written)

    async def hints(self) -> AsyncIterator[None]:
        """Yields whenever somebody says that the store changed. It may miss some: poll as well."""
        with _translated():
            async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(CHANNEL)
                while True:
                    heed_cancellation()
                    if await channel.get_message(timeout=_LISTEN_SECONDS) is not None:
                        yield

    async def _update(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        for _ in range(_ATTEMPTS):
            before = await self._document(key_id)
            record = change(_parsed(key_id, before))
            document = to_document(record)
            if (
                await self.write([Change(key_id, before, document)])
                or await self._document(key_id) == document
            ):
                return record
        raise KeyStoreAway("the key keeps changing")

    async def _document(self, key_id: str) -> str:
        with _translated():
            found = None if key_id.startswith(":") else await self._redis.hget(KEYS, key_id)
        if found is None:
            raise UnknownKey(key_id)
        return _text(found)


def heed_cancellation() -> None:
    """Raises CancelledError in a task that was cancelled. Loops around Redis ask at every turn.

    redis-py sends by `asyncio.wait_for`, which up to Python 3.11 can lose a cancellation: it then answers normally.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def readable(documents: Mapping[str, str]) -> dict[str, ApiKey]:
    """The keys among the documents."""
    records = {}
    for key_id, document in documents.items():
        try:
            records[key_id] = from_document(document)
        except BrokenRecord:
            continue
    return records


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (
        RedisError,
        OSError,
        ValueError,
    ) as error:  # the last: something else stands where the keys should
        raise KeyStoreAway(f"{type(error).__name__}: {error}") from None


def _parsed(key_id: str, document: str) -> ApiKey:
    try:
        return from_document(document)
    except BrokenRecord as error:
        raise UnknownKey(f"{key_id}: {error}") from None


def _unrevoked(record: ApiKey) -> ApiKey:
    if record.revoked_at is not None:
        raise KeyIsRevoked(record.id)
    return record


def _lua(name: str) -> str:
    return importlib.resources.files("gateway.auth").joinpath(f"{name}.lua").read_text()


def _position(epoch: Any, version: Any) -> Position:
    return Position(None if epoch is None else _text(epoch), int(version or 0))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
