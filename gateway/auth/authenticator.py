"""Who calls: one credential, taken from the headers alone, becomes a Principal or an error that gives nothing away."""

import math
from collections.abc import Callable

from gateway.auth import keys
from gateway.auth.keys import KeyHasher, invalid_key
from gateway.auth.record import accepts, secret_id
from gateway.auth.ring import KeyRing
from gateway.auth.throttle import FailureThrottle
from gateway.auth.tokens import TokenVerifier
from gateway.domain import Principal
from gateway.errors import AmbiguousCredentials, InvalidKey, InvalidToken, RateLimited, Unauthenticated


class Authenticator:
    """`tokens` are those of the Authorization header, `sessions` those of the console. `clock` is the wall clock.

    A peer that failed too often gets RateLimited for its failures; a good credential from the same address still
    passes, since many callers may share one (a proxy, an office) and a key of 190 bits is not found by trying.
    """

    def __init__(
        self,
        *,
        ring: KeyRing,
        hasher: KeyHasher,
        tokens: TokenVerifier,
        sessions: TokenVerifier,
        throttle: FailureThrottle,
        clock: Callable[[], float],
    ) -> None:
        self._ring = ring
        self._hasher = hasher
        self._tokens = tokens
        self._sessions = sessions
        self._throttle = throttle
        self._clock = clock

    async def authenticate(
        self,
        *,
        authorization: str | None,
        x_api_key: str | None,
        session: str | None = None,
        origin: str | None = None,
        peer: str = "",
        administers: bool = False,
    ) -> Principal:
        """The caller. The values are the headers as they came, None for an absent one; `session` is the console's
        cookie, where it counts; `peer` is the client's address.

        A caller who `administers` is refused where nobody can tell whether its token was ended a moment ago.

        Raises Unauthenticated, AmbiguousCredentials, InvalidKey, InvalidToken, RateLimited; Overloaded where
        credentials cannot be checked. It waits for nothing but an issuer's keys.
        """
        try:
            return await self._identify(authorization, x_api_key, session, origin, administers)
        except (InvalidKey, InvalidToken) as error:
            wait = self._throttle.failed(peer)
            if wait:
                raise RateLimited(
                    "Too many failed attempts from this address.",
                    retry_after=math.ceil(wait),
                    internal=error.internal,
                ) from None
            raise

    async def _identify(
        self,
        authorization: str | None,
        x_api_key: str | None,
        session: str | None,
        origin: str | None,
        administers: bool,
    ) -> Principal:
        if (authorization, x_api_key, session).count(None) < 2:
            raise AmbiguousCredentials("Send either Authorization or X-API-Key, not both.")
        if session is not None:
            return await self._sessions.verify(session, origin, administers=administers)
        if x_api_key is not None:
            return self._by_key(x_api_key)
        scheme, _, rest = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(
                "Send an API key or a token as Authorization: Bearer, or a key as X-API-Key."
            )
        credential = rest.lstrip(" ")
        if credential.startswith(keys.PREFIX):
            return self._by_key(credential)
        return await self._tokens.verify(credential, origin, administers=administers)

    def _by_key(self, text: str) -> Principal:
        parsed = keys.parse(text)
        record = self._ring.find(parsed.id)
        digest = self._hasher.digest(parsed.text)
        if not accepts(record, digest, self._clock()) or record is None:
            raise invalid_key(f"unknown, wrong, expired or revoked: {parsed.id}")
        return record.principal(secret_id(digest))
