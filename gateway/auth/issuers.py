"""Other people's token issuers, as the configuration names them, and what their claims mean here."""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from gateway.auth.jwks import ALGORITHMS, KeySource, KeysStatus, RemoteKeys, StaticKeys, check_url
from gateway.auth.record import is_tenant
from gateway.auth.scopes import INFER, PIN_VERSION, covers, is_model_name, is_scope
from gateway.auth.sessions import ISSUER
from gateway.auth.tokens import Claims, Rules, invalid_token
from gateway.domain import Principal, Priority

MAX_LIFETIME = 3600.0

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Which claims say what. `models` None: the issuer does not narrow models.

    Scopes are a list, or one string with spaces between.
    """

    tenant: str = "tenant"
    scopes: str = "scope"
    tier: str = "tier"
    models: str | None = None


@dataclass(frozen=True, slots=True)
class Issuer:
    """One trusted issuer. Its keys are at `jwks_url`, or are `jwks`, a JWK set as it is published.

    `name` stands in principals and logs, `url` is the `iss`. `tenant` fixes the owner; None takes it from the claim.
    The issuer can give no more than `grants`; a tier that is not in `tiers` becomes `default_tier`. Raises ValueError
    for values that contradict each other.
    """

    name: str
    url: str
    audience: str
    algorithms: frozenset[str]
    default_tier: str
    jwks_url: str | None = None
    jwks: Mapping[str, Any] | None = None
    claims: ClaimNames = field(default_factory=ClaimNames)
    tenant: str | None = None
    grants: frozenset[str] = frozenset({INFER, PIN_VERSION})
    tiers: frozenset[str] = frozenset()
    priority_ceiling: Priority = Priority.STANDARD
    types: frozenset[str] = frozenset({"jwt", "at+jwt"})

    def __post_init__(self) -> None:
        problems = {
            "name: 1 to 32 of a-z, 0-9 and '-'": not _NAME.fullmatch(self.name),
            "url and audience: both are needed": not self.url or not self.audience,
            f"url: {ISSUER!r} stands in this gateway's own tokens": self.url == ISSUER,
            f"algorithms: some of {sorted(ALGORITHMS)}": not self.algorithms or self.algorithms - ALGORITHMS,
            "jwks_url, jwks: exactly one of them": (self.jwks_url is None) == (self.jwks is None),
            "tenant: not a tenant's name": self.tenant is not None and not is_tenant(self.tenant),
            "grants: not a scope": not all(map(is_scope, self.grants)),
        }
        for problem, is_so in problems.items():
            if is_so:
                raise ValueError(f"token issuer {self.name!r}: {problem}")
        if self.jwks_url is not None:
            check_url(self.jwks_url)


class ExternalIssuer:
    """An `Issuer` with its keys, as the verifier needs it."""

    def __init__(self, issuer: Issuer, keys: KeySource) -> None:
        self._issuer = issuer
        self._keys = keys
        self._rules = Rules(
            issuer=issuer.url,
            audience=issuer.audience,
            algorithms=issuer.algorithms,
            types=issuer.types,
            lifetime=MAX_LIFETIME,
        )

    @property
    def rules(self) -> Rules:
        return self._rules

    @property
    def keys(self) -> KeySource:
        return self._keys

    def principal(self, claims: Claims, origin: str | None) -> Principal:
        """The subject as the caller; a claim that is missing grants nothing."""
        issuer, names = self._issuer, self._issuer.claims
        tier = claims.get(names.tier)
        return Principal(
            id=f"{issuer.name}:{claims['sub']}",
            tenant=issuer.tenant or _tenant(claims.get(names.tenant)),
            scopes=frozenset(
                scope
                for scope in _words(claims.get(names.scopes))
                if is_scope(scope) and covers(issuer.grants, scope)
            ),
            models=None if names.models is None else _models(claims.get(names.models)),
            tier=tier if isinstance(tier, str) and tier in issuer.tiers else issuer.default_tier,
            priority_ceiling=issuer.priority_ceiling,
            expires_at=float(claims["exp"]),
        )


class TrustedIssuers:
    """All issuers of the configuration with their keys. `clock` is monotonic. Raises BadKeySet."""

    def __init__(
        self, issuers: Iterable[Issuer], *, http: httpx.AsyncClient, clock: Callable[[], float]
    ) -> None:
        self._keys = [(issuer, _keys(issuer, http, clock)) for issuer in issuers]

    def __iter__(self) -> Iterator[ExternalIssuer]:
        """As the verifier takes them."""
        return (ExternalIssuer(issuer, keys) for issuer, keys in self._keys)

    def status(self) -> Mapping[str, KeysStatus]:
        """By the issuers' names."""
        return {issuer.name: keys.status() for issuer, keys in self._keys}

    async def watch(self) -> None:
        """Keeps every set that is fetched fresh for ever; run as a task, and end it before the client closes."""
        async with asyncio.TaskGroup() as tasks:
            for _, keys in self._keys:
                if isinstance(keys, RemoteKeys):
                    tasks.create_task(keys.watch())


def _keys(issuer: Issuer, http: httpx.AsyncClient, clock: Callable[[], float]) -> RemoteKeys | StaticKeys:
    if issuer.jwks_url is not None:
        return RemoteKeys(issuer.jwks_url, issuer.algorithms, http=http, clock=clock)
    return StaticKeys(issuer.jwks or {}, issuer.algorithms)


def _tenant(value: object) -> str:
    if not isinstance(value, str) or not is_tenant(value):
        raise invalid_token("no tenant")
    return value


def _models(value: object) -> frozenset[str]:
    return frozenset(name for name in _words(value) if is_model_name(name))


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
