"""Checks signed tokens (JWT) as RFC 8725 asks for; nothing that a token says about itself is taken on trust.

Its issuer, looked up by `iss` and `aud`, fixes which algorithms, types and lifetime are allowed, and its key is found
by (key id, algorithm) among the issuer's own. PyJWT checks the signature and who it is by and for; times are checked
here, against an injected clock and as numbers only.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt
from jwt import PyJWK

from gateway.auth.jwks import MAX_KEY_ID, KeySource
from gateway.domain import Principal
from gateway.errors import InvalidToken

MAX_TOKEN_BYTES = 8192
LEEWAY = 30.0  # seconds that two clocks may differ

Claims = Mapping[str, Any]

_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
_EXTENSIONS = ("crit", "b64")
_MAX_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token of one issuer has to be. `types` are in lower case and without "application/"; "" means none.

    `lifetime` is the most seconds between `iat` and `exp`.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str]
    types: frozenset[str]
    lifetime: float


class TokenIssuer(Protocol):
    """Somebody whose tokens count, and what they mean here."""

    @property
    def rules(self) -> Rules: ...

    @property
    def keys(self) -> KeySource: ...

    def principal(self, claims: Claims, origin: str | None) -> Principal:
        """The caller behind claims that are verified. Raises InvalidToken."""
        ...


class Denied(Protocol):
    """Tokens that were ended before their time."""

    def denies(self, *names: str, administers: bool) -> bool:
        """Whether a token with one of these names, its `jti` or its caller's id, was ended. Raises Overloaded."""
        ...


class TokenVerifier:
    """`clock` is the wall clock. No two issuers have the same name and audience."""

    def __init__(self, issuers: Iterable[TokenIssuer], *, clock: Callable[[], float], denied: Denied) -> None:
        self._issuers = {(issuer.rules.issuer, issuer.rules.audience): issuer for issuer in issuers}
        self._clock = clock
        self._denied = denied

    async def verify(self, token: str, origin: str | None, *, administers: bool = False) -> Principal:
        """The caller; `administers` asks more of the deny-list.

        Raises InvalidToken; Overloaded where the issuer's keys, or the deny-list, could not be had.
        """
        header, unverified = _peek(token)
        issuer = self._issuer(unverified)
        key = await _key(header, issuer)
        claims = _signed(token, key, issuer.rules)
        _check_times(claims, self._clock(), issuer.rules.lifetime)
        _check_subject(claims["sub"])
        principal = issuer.principal(claims, origin)
        if self._denied.denies(claims.get("jti", ""), principal.id, administers=administers):
            raise invalid_token("on the deny-list")
        return principal

    def _issuer(self, unverified: Claims) -> TokenIssuer:
        name, audience = unverified.get("iss"), unverified.get("aud")
        issuer = None
        if isinstance(name, str) and isinstance(audience, str):
            issuer = self._issuers.get((name, audience))
        if issuer is None:
            raise invalid_token("unknown issuer, or not for its audience")
        return issuer


def invalid_token(reason: str) -> InvalidToken:
    """The one answer for every token that is refused; `reason` goes to the log only."""
    return InvalidToken("The token is not valid.", internal=reason)


def _peek(token: str) -> tuple[Mapping[str, Any], Claims]:
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise invalid_token("too long, or not ASCII")
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise invalid_token(type(error).__name__) from None
    return parts["header"], parts["payload"]


async def _key(header: Mapping[str, Any], issuer: TokenIssuer) -> PyJWK:
    algorithm, kind, key_id = header.get("alg"), header.get("typ", ""), header.get("kid")
    if any(name in header for name in _EXTENSIONS):
        raise invalid_token("critical extension")
    if not isinstance(algorithm, str) or algorithm not in issuer.rules.algorithms:
        raise invalid_token("algorithm not allowed")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in issuer.rules.types:
        raise invalid_token("type not allowed")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID:
        raise invalid_token("no key id")
    key = await issuer.keys.find(key_id, algorithm)
    if key is None:
        raise invalid_token("unknown key id")
    return key


def _signed(token: str, key: PyJWK, rules: Rules) -> Claims:
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=rules.audience,
            issuer=rules.issuer,
            options={
                "require": _REQUIRED,
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "enforce_minimum_key_length": True,
            },
        )
    except jwt.PyJWTError as error:
        raise invalid_token(type(error).__name__) from None


def _check_times(claims: Claims, now: float, lifetime: float) -> None:
    issued, ends = _moment(claims, "iat"), _moment(claims, "exp")
    begins = _moment(claims, "nbf") if "nbf" in claims else issued
    if ends <= now - LEEWAY:
        raise invalid_token("expired")
    if issued > now + LEEWAY or begins > now + LEEWAY:
        raise invalid_token("not valid yet")
    if ends - issued > lifetime:
        raise invalid_token("lives too long")


def _moment(claims: Claims, name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_token(f"{name} is not a number")
    try:
        moment = float(value)
    except OverflowError:
        moment = math.inf
    if not math.isfinite(moment):
        raise invalid_token(f"{name} is not a moment")
    return moment


def _check_subject(subject: str) -> None:
    if not 0 < len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise invalid_token("sub is empty, too long or not printable")
