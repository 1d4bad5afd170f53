"""The public keys of token issuers: a fixed set, or one fetched over HTTP, cached and kept while it cannot be renewed.

Only the configured address is ever asked; what a token's header says about keys (jku, x5u, jwk, x5c) is never read.
"""

import asyncio
import ipaddress
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from gateway.errors import Overloaded

_log = structlog.stdlib.get_logger("gateway.auth")

_RSA = ("RSA", None)
_KINDS = {
    **{f"{family}{bits}": _RSA for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
ALGORITHMS = frozenset(_KINDS)  # asymmetric only: an issuer's published key must never verify an HMAC
MAX_SET_BYTES = 256 * 1024
MAX_KEY_ID = 256

KeySet = Mapping[tuple[str, str], PyJWK]


class BadKeySet(Exception):
    """A set that cannot be used, or could not be had."""


class KeySource(Protocol):
    """Where a verifier finds the key that a token names."""

    async def find(self, key_id: str, algorithm: str) -> PyJWK | None:
        """The key for exactly this id and algorithm. Raises Overloaded where no key could be had yet."""
        ...


@dataclass(frozen=True, slots=True)
class KeysStatus:
    """For readiness; `detail` is empty while all is well."""

    usable: bool
    keys: int
    detail: str


class StaticKeys:
    """A set that came with the configuration. Raises BadKeySet for one without a usable key."""

    def __init__(self, document: Mapping[str, Any], algorithms: Collection[str]) -> None:
        self._keys = read_key_set(document, algorithms)

    async def find(self, key_id: str, algorithm: str) -> PyJWK | None:
        return self._keys.get((key_id, algorithm))

    def status(self) -> KeysStatus:
        return KeysStatus(usable=True, keys=len(self._keys), detail="")


class RemoteKeys:
    """A set behind a URL. `clock` is monotonic; times are in seconds.

    A set older than `max_age` is renewed in the background, an unknown key id asks at once; neither more often than
    every `min_interval`, whatever tokens arrive, and never twice at a time. `watch` keeps it without any token, and
    ends what is under way; where it does not run, call `close` before the client closes.
    """

    def __init__(
        self,
        url: str,
        algorithms: Collection[str],
        *,
        http: httpx.AsyncClient,
        clock: Callable[[], float],
        max_age: float = 300.0,
        min_interval: float = 10.0,
        timeout: float = 3.0,
    ) -> None:
        check_url(url)
        self._url = url
        self._algorithms = frozenset(algorithms)
        self._http = http
        self._clock = clock
        self._max_age = max_age
        self._min_interval = min_interval
        self._timeout = timeout
        self._keys: KeySet = {}
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")
        self._failure = "not fetched yet"
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str, algorithm: str) -> PyJWK | None:
        key = self._keys.get((key_id, algorithm))
        if key is not None:
            if self._clock() - self._fetched_at > self._max_age:
                self._renew()
            return key
        await self.refresh()
        if not self._keys:
            raise Overloaded("Tokens cannot be checked at the moment.", retry_after=1, internal=self._failure)
        return self._keys.get((key_id, algorithm))

    async def refresh(self) -> None:
        """Fetches the set unless that was just done; a failure leaves the last good set and a log line."""
        task = self._renew()
        if task is not None:
            await asyncio.shield(task)

    def status(self) -> KeysStatus:
        return KeysStatus(usable=bool(self._keys), keys=len(self._keys), detail=self._failure)

    async def watch(self) -> None:
        """Keeps the set fresh for ever; run as a task and cancel it to stop."""
        try:
            while True:
                await self.refresh()
                await asyncio.sleep(self._min_interval if self._failure else self._max_age)
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends a fetch that is under way."""
        if self._fetching is not None and not self._fetching.done():
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _renew(self) -> "asyncio.Task[None] | None":
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if self._clock() - self._asked_at < self._min_interval:
            return None
        self._asked_at = self._clock()
        self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            self._keys = read_key_set(await self._download(), self._algorithms)
        except (BadKeySet, httpx.HTTPError, TimeoutError) as error:
            self._note_failure(f"{type(error).__name__}: {error}")
            return
        self._fetched_at = self._clock()
        if self._failure:
            _log.info("jwks_fresh", url=self._url, keys=len(self._keys))
        self._failure = ""

    async def _download(self) -> Any:
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        async with (
            asyncio.timeout(self._timeout),
            self._http.stream("GET", self._url, headers=headers, follow_redirects=False) as answer,
        ):
            if answer.status_code != httpx.codes.OK or "content-encoding" in answer.headers:
                raise BadKeySet(f"answered {answer.status_code}")
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MAX_SET_BYTES:
                    raise BadKeySet("larger than 256 KiB")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise BadKeySet("not JSON") from None

    def _note_failure(self, reason: str) -> None:
        if not self._failure or (not self._keys and self._failure != reason):
            _log.warning("jwks_stale", url=self._url, reason=reason, kept=len(self._keys))
        self._failure = reason


def check_url(url: str) -> None:
    """Raises ValueError unless `url` is https, or http to this machine, and carries no password."""
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))
    if not safe or not parts.hostname or "@" in parts.netloc:
        raise ValueError(
            "a key set's address is https://…, or http:// on a loopback host, without a password"
        )


def read_key_set(document: Any, algorithms: Collection[str]) -> KeySet:
    """The usable keys of a JWK set (RFC 7517), by key id and algorithm.

    Keys without an id, for encryption, symmetric or private ones, and those that fit none of `algorithms` are left
    out; of two with the same id the first counts. Raises BadKeySet where nothing remains.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise BadKeySet("not a JWK set")
    found: dict[tuple[str, str], PyJWK] = {}
    for entry in entries:
        if isinstance(entry, dict) and _is_public_signing_key(entry):
            for algorithm in _fitting(entry, algorithms):
                try:
                    found.setdefault((entry["kid"], algorithm), PyJWK(entry, algorithm))
                except (PyJWTError, ValueError, TypeError, AttributeError):  # whatever a stranger wrote there
                    continue
    if not found:
        raise BadKeySet("no usable key")
    return found


def _is_public_signing_key(entry: Mapping[str, Any]) -> bool:
    key_id = entry.get("kid")
    named = isinstance(key_id, str) and 0 < len(key_id) <= MAX_KEY_ID
    operations = entry.get("key_ops", ["verify"])
    signs = entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    return named and signs and "d" not in entry


def _fitting(entry: Mapping[str, Any], algorithms: Collection[str]) -> Iterator[str]:
    for algorithm in algorithms:
        kind, curve = _KINDS[algorithm]
        if (
            entry.get("kty") == kind
            and curve in (None, entry.get("crv"))
            and entry.get("alg", algorithm) == algorithm
        ):
            yield algorithm


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
