"""Tiers and token issuers from a TOML file, checked offline; without a file, the built-in tiers."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.auth import ClaimNames, Issuer
from gateway.domain import Priority, Quota, Tier


class AccessFileError(ValueError):
    """The file cannot be used; the message says where it is wrong."""


def _priority(value: object) -> object:
    return (
        Priority[value.upper()] if isinstance(value, str) and value.upper() in Priority.__members__ else value
    )


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
PriorityName = Annotated[Priority, BeforeValidator(_priority)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuotaEntry(_Strict):
    limit: int = Field(ge=1, le=10_000_000)
    period: float = Field(default=1.0, gt=0, le=86400)
    burst: int | None = Field(default=None, ge=1, le=10_000_000)

    def quota(self) -> Quota:
        return Quota(self.limit, self.period, self.burst or self.limit)


class TierEntry(_Strict):
    key: QuotaEntry
    tenant: QuotaEntry
    daily: int | None = Field(default=None, ge=1)
    in_flight: int = Field(default=64, ge=1)
    priority: PriorityName = Priority.STANDARD
    fail_open: bool = True
    shadow: bool = False

    def tier(self, name: str) -> Tier:
        return Tier(
            name=name,
            key=self.key.quota(),
            tenant=self.tenant.quota(),
            daily=self.daily,
            in_flight=self.in_flight,
            priority=self.priority,
            fail_open=self.fail_open,
            shadow=self.shadow,
        )


class ClaimEntry(_Strict):
    """Which claims of a token say what."""

    tenant: str = "tenant"
    scopes: str = "scope"
    tier: str = "tier"
    models: str | None = None


class IssuerEntry(_Strict):
    """A trusted token issuer; `algorithms` are fixed here, whatever a token says."""

    url: str
    audience: str
    algorithms: frozenset[str] = Field(min_length=1)
    jwks_url: str
    default_tier: str
    claims: ClaimEntry = ClaimEntry()
    tenant: str | None = None
    grants: frozenset[str] = frozenset({"infer", "pin-version"})
    priority_ceiling: PriorityName = Priority.STANDARD

    def issuer(self, name: str, tiers: frozenset[str]) -> Issuer:
        """Raises ValueError where the values contradict each other."""
        if self.default_tier not in tiers:
            raise ValueError(f"issuers.{name}.default_tier: one of {', '.join(sorted(tiers))}")
        return Issuer(
            name=name,
            url=self.url,
            audience=self.audience,
            algorithms=self.algorithms,
            default_tier=self.default_tier,
            jwks_url=self.jwks_url,
            claims=ClaimNames(**self.claims.model_dump()),
            tenant=self.tenant,
            grants=self.grants,
            tiers=tiers,
            priority_ceiling=self.priority_ceiling,
        )


class AccessFile(_Strict):
    """What the file may hold; further tables are refused, so a typo does not go unseen."""

    tiers: dict[Name, TierEntry] = Field(min_length=1)
    issuers: dict[Name, IssuerEntry] = {}


BUILT_IN: Mapping[str, Tier] = {
    tier.name: tier
    for tier in (
        Tier("free", Quota(60, 60, 20), Quota(120, 60, 40), 5_000, 4, Priority.BATCH, fail_open=False),
        Tier("standard", Quota(50, 1, 100), Quota(200, 1, 400), None, 64, Priority.STANDARD),
        Tier("premium", Quota(500, 1, 1000), Quota(2000, 1, 4000), None, 256, Priority.INTERACTIVE),
    )
}


def tiers_of(path: Path | None) -> Mapping[str, Tier]:
    """The tiers of the file, or the built-in ones. Raises AccessFileError."""
    if path is None:
        return BUILT_IN
    return {name: entry.tier(name) for name, entry in read_access_file(path).tiers.items()}


def issuers_of(path: Path | None) -> list[Issuer]:
    """The token issuers of the file; none without one. Raises AccessFileError."""
    if path is None:
        return []
    file = read_access_file(path)
    try:
        return _apart([entry.issuer(name, frozenset(file.tiers)) for name, entry in file.issuers.items()])
    except ValueError as error:
        raise AccessFileError(f"{path}: {error}") from None


def _apart(issuers: list[Issuer]) -> list[Issuer]:
    """Raises ValueError where the same tokens would be two issuers'."""
    names: dict[tuple[str, str], str] = {}
    for issuer in issuers:
        first = names.setdefault((issuer.url, issuer.audience), issuer.name)
        if first != issuer.name:
            raise ValueError(f"issuers.{first} and issuers.{issuer.name}: one url and one audience for both")
    return issuers


def read_access_file(path: Path) -> AccessFile:
    """Raises AccessFileError for a file that is missing, not TOML, or wrong in a field."""
    try:
        return AccessFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AccessFileError(f"{path}: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise AccessFileError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
