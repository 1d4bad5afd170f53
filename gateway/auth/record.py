"""An API key as the gateway knows it: what it grants, how long, and the hashes of its secrets. Pure."""

import hmac
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError

from gateway.auth.scopes import is_model_name, is_scope
from gateway.domain import Principal, Priority, Quota
from gateway.errors import FieldError, ValidationFailed

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_MAX_QUOTA = 10**9
_LATEST = 32_503_680_000.0  # the first moment of the year 3000: every calendar reaches further

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class BrokenRecord(Exception):
    """A document of the store that is not a key. Its text is not repeated: it may hold anything."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key gives its holder; the fields mean what they mean in `Principal`."""

    tenant: str
    scopes: frozenset[str]
    tier: str
    priority_ceiling: Priority
    models: frozenset[str] | None = None
    quota: Quota | None = None
    expires_at: float | None = None

    def check(self, now: float) -> None:
        """Raises ValidationFailed that names every wrong field. `now` is in seconds since the epoch."""
        wrong = [
            FieldError(pointer, detail)
            for pointer, detail, fine in (
                ("/tenant", "1 to 64 of A-Z, a-z, 0-9, '.', '_', '@', '-'.", is_tenant(self.tenant)),
                (
                    "/scopes",
                    "At least one, each a known scope.",
                    bool(self.scopes) and _all(is_scope, self.scopes),
                ),
                ("/models", "At least one, each a model's name.", self._models_are_fine()),
                ("/rate_limit", "Whole numbers and a period of at least 1 s.", self._quota_is_fine()),
                (
                    "/expires_at",
                    "In the future, and before the year 3000.",
                    self.expires_at is None or now < self.expires_at < _LATEST,
                ),
            )
            if not fine
        ]
        if wrong:
            raise ValidationFailed("The key cannot be made like this.", wrong)

    def _models_are_fine(self) -> bool:
        return self.models is None or (bool(self.models) and _all(is_model_name, self.models))

    def _quota_is_fine(self) -> bool:
        quota = self.quota
        if quota is None:
            return True
        return (
            1 <= quota.limit <= _MAX_QUOTA
            and 1 <= quota.burst <= _MAX_QUOTA
            and 1 <= quota.period <= _MAX_QUOTA
        )


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key. Times are in seconds since the epoch. `revision` counts its changes.

    After a rotation the previous secret holds until `previous_until`. A revoked key stays in the store as the memory
    of its revocation; nothing makes it valid again.
    """

    id: str
    grant: Grant
    created_at: float
    hash: Digest = field(repr=False)
    previous_hash: Digest | None = field(default=None, repr=False)
    previous_until: float = 0.0
    revoked_at: float | None = None
    revision: int = 1

    def is_active(self, now: float) -> bool:
        """Neither revoked nor expired."""
        expires_at = self.grant.expires_at
        return self.revoked_at is None and (expires_at is None or now < expires_at)

    def holds(self, secret: str, now: float) -> bool:
        """Whether it is active by the secret with this id: the present one, or the previous one in its time."""
        if self.previous_hash is not None and secret == secret_id(self.previous_hash):
            return self.is_active(now) and now < self.previous_until
        return self.is_active(now) and secret == secret_id(self.hash)

    def rotated(self, digest: str, now: float, overlap: float) -> "ApiKey":
        """With a new secret; the one before holds for `overlap` more seconds, any older one ends now."""
        return replace(
            self,
            hash=digest,
            previous_hash=self.hash,
            previous_until=now + overlap,
            revision=self.revision + 1,
        )

    def revoked(self, now: float) -> "ApiKey":
        """Revoked at `now`, or when it already was."""
        if self.revoked_at is not None:
            return self
        return replace(self, revoked_at=now, revision=self.revision + 1)

    def outranks(self, other: "ApiKey") -> bool:
        """Whether this state of a key wins over another: revoked beats not revoked, then more changes beat fewer."""
        return (self.revoked_at is not None, self.revision) > (other.revoked_at is not None, other.revision)

    def principal(self, secret: str) -> Principal:
        """The caller that came by the secret with this id, which holds; what is made from it ends with it."""
        grant = self.grant
        expires_at = grant.expires_at
        if secret != secret_id(self.hash):
            expires_at = min(self.previous_until, math.inf if expires_at is None else expires_at)
        return Principal(
            id=self.id,
            tenant=grant.tenant,
            scopes=grant.scopes,
            models=grant.models,
            tier=grant.tier,
            priority_ceiling=grant.priority_ceiling,
            quota=grant.quota,
            expires_at=expires_at,
            secret_id=secret,
        )


_CODEC = TypeAdapter(ApiKey)
_NO_HASH = secrets.token_hex(32)
_NOBODY = ApiKey("", Grant("", frozenset(), "", Priority.BATCH), 0, secrets.token_hex(32), revoked_at=0)


def tombstone(key_id: str, now: float) -> ApiKey:
    """What stays of a key that was revoked when nothing but its id could be read: nothing makes it valid again."""
    return replace(_NOBODY, id=key_id, revoked_at=now)


def is_tenant(text: str) -> bool:
    """Whether `text` can name an owner."""
    return _TENANT.fullmatch(text) is not None


def secret_id(digest: str) -> str:
    """What tells the secrets of a key apart and may be shown: the beginning of a keyed hash, which leads to none."""
    return digest[:16]


def accepts(record: ApiKey | None, digest: str, now: float) -> bool:
    """Whether `digest` is of a secret that holds.

    Always two comparisons, each in constant time: no record, one secret or two take the same time.
    """
    known = record or _NOBODY
    current = hmac.compare_digest(digest, known.hash)
    previous = hmac.compare_digest(digest, known.previous_hash or _NO_HASH) and now < known.previous_until
    return (current or previous) and known.is_active(now)


def to_document(record: ApiKey) -> str:
    """The record as JSON; it holds hashes only, never a secret."""
    return _CODEC.dump_json(record, exclude_none=True).decode()


def from_document(text: str) -> ApiKey:
    """Raises BrokenRecord."""
    try:
        return _CODEC.validate_json(text)
    except ValidationError as error:
        places = {".".join(map(str, problem["loc"])) for problem in error.errors(include_input=False)}
        raise BrokenRecord(f"wrong or missing: {', '.join(sorted(places)) or 'the whole document'}") from None


def _all(fits: Callable[[str], bool], texts: frozenset[str]) -> bool:
    return all(fits(text) for text in texts)
