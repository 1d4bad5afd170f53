"""Short-lived tokens for pages: made from an API key, narrower than it, bound to origins, and dead when it is.

Such a token says which key it came from, by which of its secrets, and what it asks for. What it may do is decided at
each use, as the overlap with what the key may do now; so its requests also count on the key's own limits.
"""

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.auth.jwks import KeySource
from gateway.auth.keys import is_id
from gateway.auth.record import secret_id
from gateway.auth.ring import KeyRing
from gateway.auth.scopes import ADMIN_KEYS, covers, is_inference, is_scope, may_use
from gateway.auth.signing import ALGORITHM, Signer
from gateway.auth.tokens import MAX_TOKEN_BYTES, Claims, Rules, invalid_token
from gateway.domain import Principal, is_origin
from gateway.errors import Forbidden, ValidationFailed

MAX_TTL = 900.0  # seconds
MAX_ORIGINS = 16
TYPE = "gw-session+jwt"
ISSUER = "gateway"  # who these tokens say they are by, and for


@dataclass(frozen=True, slots=True)
class SessionToken:
    """`text` is the credential, `id` its `jti`; `expires_at` in seconds since the epoch."""

    id: str
    expires_at: float
    scopes: frozenset[str]
    text: str = field(repr=False)


class SessionTokens:
    """Makes these tokens, and is their issuer for the verifier. All workers share `secret`; `clock` is the wall's."""

    def __init__(self, *, secret: bytes, ring: KeyRing, clock: Callable[[], float]) -> None:
        self._signer = Signer(secret, kind=TYPE, key_id="session")
        self._ring = ring
        self._clock = clock
        self._rules = Rules(
            issuer=ISSUER,
            audience=ISSUER,
            algorithms=frozenset({ALGORITHM}),
            types=frozenset({TYPE}),
            lifetime=MAX_TTL,
        )

    @property
    def rules(self) -> Rules:
        return self._rules

    @property
    def keys(self) -> KeySource:
        return self._signer

    def mint(
        self,
        principal: Principal,
        *,
        origins: Collection[str],
        scopes: Collection[str] | None = None,
        models: Collection[str] | None = None,
        ttl: float = MAX_TTL,
    ) -> SessionToken:
        """A token for pages of `origins`. Without `scopes` it may do what the key may infer; `models` narrows.

        Raises ValidationFailed; Forbidden for what the caller does not have, or where the caller is no API key.
        """
        require_key(principal)
        if not 1 <= ttl <= MAX_TTL:
            raise ValidationFailed.of("/ttl", f"1 to {MAX_TTL:.0f} seconds.")
        _check_origins(origins)
        granted = _narrowed(principal, scopes)
        _check_models(principal, models)
        now = self._clock()
        ends = now + ttl if principal.expires_at is None else min(now + ttl, principal.expires_at)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": ISSUER,
            "sub": principal.id,
            "secret_id": principal.secret_id,
            "jti": secrets.token_hex(8),
            "iat": int(now),
            "exp": int(ends),
            "scope": " ".join(sorted(granted)),
            "origins": sorted(set(origins)),
            **({} if models is None else {"models": sorted(set(models))}),
        }
        text = self._signer.sign(claims)
        if len(text) > MAX_TOKEN_BYTES:
            raise ValidationFailed.of(
                "", f"A token has at most {MAX_TOKEN_BYTES} bytes: name fewer origins or models."
            )
        return SessionToken(claims["jti"], float(claims["exp"]), granted, text)

    def principal(self, claims: Claims, origin: str | None) -> Principal:
        """The key's principal, narrowed. Raises InvalidToken where the page or the key may not, or no longer."""
        origins = frozenset(claims["origins"])
        if origin not in origins:
            raise invalid_token("not from one of its origins")
        key = key_of(claims, self._ring, self._clock())
        return replace(
            key,
            scopes=frozenset(
                scope
                for scope in claims["scope"].split()
                if scope != ADMIN_KEYS and covers(key.scopes, scope)
            ),
            models=_overlap(key.models, claims.get("models")),
            origins=origins,
            expires_at=float(claims["exp"]),
        )


def key_of(claims: Claims, ring: KeyRing, now: float) -> Principal:
    """Who holds the key that these claims came from. Raises InvalidToken where it is gone, or its secret of that time:
    whoever rotates a stolen key ends what the thief has made of it, too.
    """
    record = ring.find(claims["sub"])
    if record is None:
        raise invalid_token("its API key is gone")
    # Those of an older gateway, which may stand beside this one for a while, do not say it: the older one, then.
    secret = claims.get("secret_id") or secret_id(record.previous_hash or record.hash)
    if not record.holds(secret, now):
        raise invalid_token("its API key is gone, or was rotated")
    return record.principal(secret)


def require_key(principal: Principal) -> None:
    """Raises Forbidden where the caller came by a token: one token must not outlive itself in another."""
    if principal.origins is not None or not is_id(principal.id):
        raise Forbidden("Tokens for pages are made with an API key.")


def _check_origins(origins: Collection[str]) -> None:
    if not 1 <= len(origins) <= MAX_ORIGINS or not all(map(is_origin, origins)):
        raise ValidationFailed.of(
            "/origins", f"1 to {MAX_ORIGINS} origins, each as browsers write it, like https://shop.example."
        )


def _narrowed(principal: Principal, wanted: Collection[str] | None) -> frozenset[str]:
    if wanted is None:
        wanted = {scope for scope in principal.scopes if is_inference(scope)}
    if not all(map(is_scope, wanted)):  # one with a blank in it would be two in the claim
        raise ValidationFailed.of("/scopes", "Each a known scope.")
    if ADMIN_KEYS in wanted:
        raise Forbidden("A token for pages cannot manage API keys.")
    if not wanted or not all(covers(principal.scopes, scope) for scope in wanted):
        raise Forbidden("The API key does not have these scopes.")
    return frozenset(wanted)


def _check_models(principal: Principal, wanted: Collection[str] | None) -> None:
    if wanted is not None and not (wanted and all(may_use(principal, model) for model in wanted)):
        raise Forbidden("The API key may not use these models.")


def _overlap(held: frozenset[str] | None, asked: Collection[str] | None) -> frozenset[str] | None:
    if asked is None:
        return held
    return frozenset(asked) if held is None else held & frozenset(asked)
