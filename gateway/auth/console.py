"""Sessions of the console: what a browser holds in place of the API key that somebody signed in with.

Such a session may do what its key may do at that moment, and is over when the key is revoked or expires, when the
secret that signed in ends, when it is signed out, or after `LIFETIME`. It is no page's token: only the console's cookie
carries it, see `api/same_origin.py`.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.auth.jwks import KeySource
from gateway.auth.ring import KeyRing
from gateway.auth.sessions import key_of, require_key
from gateway.auth.signing import ALGORITHM, Signer
from gateway.auth.tokens import Claims, Rules
from gateway.domain import Principal

LIFETIME = 8 * 3600.0  # seconds
TYPE = "gw-console+jwt"

_ISSUER = "gateway-console"
_NO_PAGES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """`text` is what the cookie holds; `expires_at` in seconds since the epoch."""

    expires_at: float
    text: str = field(repr=False)


class ConsoleSessions:
    """Makes sessions, and is their issuer for a verifier. All workers share `secret`. `clock` is the wall clock."""

    def __init__(self, *, secret: bytes, ring: KeyRing, clock: Callable[[], float]) -> None:
        self._signer = Signer(secret, kind=TYPE, key_id="console")
        self._ring = ring
        self._clock = clock
        self._rules = Rules(
            issuer=_ISSUER,
            audience=_ISSUER,
            algorithms=frozenset({ALGORITHM}),
            types=frozenset({TYPE}),
            lifetime=LIFETIME,
        )

    @property
    def rules(self) -> Rules:
        return self._rules

    @property
    def keys(self) -> KeySource:
        return self._signer

    def begin(self, principal: Principal) -> ConsoleSession:
        """A session for whoever came with this key. Raises Forbidden where the caller came by a token or a session."""
        require_key(principal)
        now = self._clock()
        ends = now + LIFETIME if principal.expires_at is None else min(now + LIFETIME, principal.expires_at)
        claims: dict[str, Any] = {
            "iss": _ISSUER,
            "aud": _ISSUER,
            "sub": principal.id,
            "secret_id": principal.secret_id,
            "jti": secrets.token_hex(16),
            "iat": int(now),
            "exp": int(ends),
        }
        return ConsoleSession(float(claims["exp"]), self._signer.sign(claims))

    def principal(self, claims: Claims, origin: str | None) -> Principal:
        """The key's principal. Raises InvalidToken where the key, or the secret that signed in, is gone."""
        return replace(
            key_of(claims, self._ring, self._clock()),
            origins=_NO_PAGES,  # a token is not made from it
            expires_at=float(claims["exp"]),
            session=claims["jti"],
        )
