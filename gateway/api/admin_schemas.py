"""The administration's requests and answers."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.auth.denylist import MAX_SECONDS, OUTLIVES_ALL
from gateway.auth.record import ApiKey, Grant
from gateway.domain import Priority, Quota

_LAST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_PriorityName = Literal["interactive", "standard", "batch"]


class _Admin(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RateLimit(_Admin):
    """`limit` requests a `period` of seconds, of which `burst` may come at once."""

    limit: int = Field(ge=1, le=1_000_000_000)
    period: float = Field(default=1.0, ge=1, le=86_400, allow_inf_nan=False)
    burst: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="As many as `limit` where absent."
    )

    def quota(self) -> Quota:
        return Quota(self.limit, self.period, self.burst or self.limit)


def _moment(value: object) -> object:
    """RFC 3339 text as JSON carries it; strict validation takes no text for a moment otherwise."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


class KeyRequest(_Admin):
    tenant: str = Field(min_length=1, max_length=64, examples=["shop"])
    scopes: list[str] = Field(min_length=1, max_length=64, examples=[["infer"]])
    models: list[str] | None = Field(
        default=None, min_length=1, max_length=256, description="Every model if absent."
    )
    tier: str = Field(default="standard", min_length=1, max_length=32)
    priority_ceiling: _PriorityName | None = Field(
        default=None, description="The tier's own class if absent."
    )
    rate_limit: RateLimit | None = Field(default=None, description="In place of the tier's bound on a key.")
    expires_at: Annotated[AwareDatetime | None, BeforeValidator(_moment)] = None

    def grant(self, ceiling: Priority) -> Grant:
        """`ceiling` is the tier's class, where the request names none."""
        return Grant(
            tenant=self.tenant,
            scopes=frozenset(self.scopes),
            models=None if self.models is None else frozenset(self.models),
            tier=self.tier,
            priority_ceiling=Priority[self.priority_ceiling.upper()] if self.priority_ceiling else ceiling,
            quota=self.rate_limit.quota() if self.rate_limit else None,
            expires_at=self.expires_at.timestamp() if self.expires_at else None,
        )


class RotateRequest(_Admin):
    overlap: float = Field(
        default=86_400.0,
        ge=0,
        le=30 * 86_400,
        allow_inf_nan=False,
        description="Seconds that the old key still holds, and with it the tokens and sessions that it made.",
    )


class KeyInfo(_Admin):
    """A key without its secret."""

    id: str
    tenant: str
    scopes: list[str]
    models: list[str] | None
    tier: str
    priority_ceiling: str
    rate_limit: RateLimit | None
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    previous_until: AwareDatetime | None = Field(
        description="Until when the key before the last rotation holds."
    )


class NewKey(KeyInfo):
    """A key with its secret, which is shown this once."""

    key: str


class KeyList(_Admin):
    keys: list[KeyInfo]
    unreadable: list[str] = Field(
        description="Ids of keys that Redis holds and that cannot be read: they can only be revoked."
    )


class TokenRequest(_Admin):
    """A token for pages: never more than the key it is made from."""

    origins: list[str] = Field(min_length=1, max_length=16, examples=[["https://shop.example"]])
    scopes: list[str] | None = Field(
        default=None, min_length=1, max_length=64, description="What the key may infer."
    )
    models: list[str] | None = Field(default=None, min_length=1, max_length=256)
    ttl: float = Field(default=900.0, ge=1, le=900, allow_inf_nan=False, description="Seconds; at most 900.")


class NewToken(_Admin):
    """`id` is what ends the token before its time."""

    id: str
    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # the name of a scheme
    expires_at: AwareDatetime
    scopes: list[str]


class SessionView(_Admin):
    """Who is signed in at the console: a key, and what it may do."""

    key: str
    tenant: str
    scopes: list[str]
    expires_at: AwareDatetime | None


class Withdrawal(_Admin):
    seconds: float = Field(
        default=OUTLIVES_ALL,
        ge=1,
        le=MAX_SECONDS,
        allow_inf_nan=False,
        description="How long the id stays on the list; the default outlives every token and session that exists now.",
    )


def key_fields(record: ApiKey) -> dict[str, object]:
    """What may be told of a key. Its numbers are shown as they stand: one that is none hides no other key."""
    grant = record.grant
    quota = grant.quota
    return {
        "id": record.id,
        "tenant": grant.tenant,
        "scopes": sorted(grant.scopes),
        "models": None if grant.models is None else sorted(grant.models),
        "tier": grant.tier,
        "priority_ceiling": grant.priority_ceiling.name.lower(),
        "rate_limit": quota and RateLimit.model_construct(**asdict(quota)),
        "created_at": moment(record.created_at),
        "expires_at": moment(grant.expires_at),
        "revoked_at": moment(record.revoked_at),
        "previous_until": moment(record.previous_until or None),
    }


def moment(seconds: float | None) -> datetime | None:
    """Of seconds since the epoch; what lies beyond the calendar is its last day."""
    return None if seconds is None else datetime.fromtimestamp(min(max(0.0, seconds), _LAST), UTC)
