"""API keys in Redis: documents by id (`gateway.store`), changed by compare-and-set only.

Workers hold a copy (`ring`) and learn of a change from the channel, which is a hint, and from the version, which they
poll.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from gateway.auth.keys import KeyHasher, generate, new_id
from gateway.auth.record import ApiKey, BrokenRecord, Grant, from_document, to_document, tombstone
from gateway.errors import ValidationFailed
from gateway.store import Documents, Position, Snapshot, StoreAway, marks_of, script, translated

KEYS = "gw:keys"
CHANNEL = "gw:keys"
MAX_OVERLAP = 30 * 86_400.0  # seconds

_BOTH = [KEYS, marks_of(KEYS)]
_ATTEMPTS = 10
_IN_TIME = 1_000  # milliseconds; clients give up later than that


class KeyStoreError(Exception):
    """The root of what the store answers instead of a key."""


class KeyStoreAway(KeyStoreError, StoreAway):
    """Redis cannot be asked, or refuses."""


class UnknownKey(KeyStoreError):
    """No key has this id."""


class UnreadableKey(KeyStoreError):
    """What the store holds for this id is no key, or none any more: all that can be done is to revoke it."""


class KeyIsRevoked(KeyStoreError):
    """A revoked key cannot be changed any more."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key as its owner gets it: `secret`, the whole text, exists here and nowhere else."""

    record: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """`records` are all keys, revoked ones too, oldest first; `unreadable` the ids of the documents that are none."""

    records: list[ApiKey]
    unreadable: list[str]


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
        self._hasher = hasher
        self._environment = environment
        self._clock = clock
        self._documents = Documents(redis, key=KEYS, channel=CHANNEL, away=KeyStoreAway)
        self._write = script(redis, "gateway.auth", "write")
        self._clock_there = script(redis, "gateway.store", "clock")

    async def create(self, grant: Grant) -> IssuedKey:
        """Makes a key. Raises ValidationFailed for a grant that cannot be."""
        now = self._clock()
        grant.check(now)
        for _ in range(_ATTEMPTS):
            key_id = new_id()
            secret = generate(self._environment, key_id)
            record = ApiKey(key_id, grant, now, self._hasher.digest(secret))
            document = to_document(record)
            if await self._made(Change(key_id, None, document)):
                return IssuedKey(record, secret)
        raise KeyStoreAway("no free id found")

    async def listing(self) -> Listing:
        """Everything that the store holds."""
        listing = Listing([], [])
        for key_id, document in sorted((await self.read()).documents.items()):
            try:
                listing.records.append(from_document(document))
            except BrokenRecord:
                listing.unreadable.append(key_id)
        listing.records.sort(key=lambda record: record.created_at)
        return listing

    async def get(self, key_id: str) -> ApiKey:
        """Raises UnknownKey, UnreadableKey."""
        return _parsed(key_id, await self._document(key_id))

    async def rotate(self, key_id: str, *, overlap: float) -> IssuedKey:
        """A new secret under the same id; the old one holds for `overlap` seconds more.

        Raises UnknownKey, UnreadableKey, KeyIsRevoked; ValidationFailed for an overlap below 0 or over 30 days.
        """
        if not 0 <= overlap <= MAX_OVERLAP:
            raise ValidationFailed.of("/overlap", f"0 to {MAX_OVERLAP:.0f} seconds.")
        secret = generate(self._environment, key_id)
        digest = self._hasher.digest(secret)
        record = await self._update(
            key_id, lambda old: _unrevoked(_parsed(key_id, old)).rotated(digest, self._clock(), overlap)
        )
        return IssuedKey(record, secret)

    async def revoke(self, key_id: str) -> ApiKey:
        """Ends the key at once, also one that cannot be read; revoking it again changes nothing. Raises UnknownKey."""
        return await self._update(key_id, lambda old: _revoked(key_id, old, self._clock()))

    async def position(self) -> Position:
        """Cheap: what `ring` polls."""
        return await self._documents.position()

    async def read(self) -> Snapshot:
        """Everything, of one moment."""
        return await self._documents.read()

    async def write(self, changes: Sequence[Change], *, until: int | None = None) -> int:
        """Makes those changes whose `expected` still stands, together; answers how many. None is made later than
        `until`, in milliseconds on Redis's clock.
        """
        flat = [text for change in changes for text in (change.id, change.expected or "", change.document)]
        last = "" if until is None else until
        with translated(KeyStoreAway):
            written = int(await self._write(keys=_BOTH, args=[CHANNEL, secrets.token_hex(8), last, *flat]))
        if written < 0:
            raise KeyStoreAway("it came to this change too late")
        return written

    def hints(self) -> AsyncIterator[None]:
        """Yields whenever somebody says that the store changed. It may miss some: poll as well."""
        return self._documents.hints()

    async def _made(self, change: Change) -> bool:
        """Whether it stands now. One that Redis comes to when nobody waits for it any more is not made: a secret would
        hold, or end, that nobody was told of.
        """
        with translated(KeyStoreAway):
            now = int(await self._clock_there(keys=[KEYS]))
        written = await self.write([change], until=now + _IN_TIME)
        return bool(written) or await self._documents.get(change.id) == change.document

    async def _update(self, key_id: str, change: Callable[[str], ApiKey]) -> ApiKey:
        for _ in range(_ATTEMPTS):
            before = await self._document(key_id)
            record = change(before)
            document = to_document(record)
            if await self._made(Change(key_id, before, document)):
                return record
        raise KeyStoreAway("the key keeps changing")

    async def _document(self, key_id: str) -> str:
        found = await self._documents.get(key_id)
        if found is None:
            raise UnknownKey(key_id)
        return found


def _parsed(key_id: str, document: str) -> ApiKey:
    try:
        return from_document(document)
    except BrokenRecord as error:
        raise UnreadableKey(f"{key_id}: {error}") from None


def _revoked(key_id: str, document: str, now: float) -> ApiKey:
    try:
        return from_document(document).revoked(now)
    except BrokenRecord:
        return tombstone(key_id, now)


def _unrevoked(record: ApiKey) -> ApiKey:
    if record.revoked_at is not None:
        raise KeyIsRevoked(record.id)
    return record
