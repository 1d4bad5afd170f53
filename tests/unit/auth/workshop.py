"""What the tests of authentication are made with: a clock, a store without a wire, keys, issuers and their tokens."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from gateway.auth import (
    ApiKey,
    Authenticator,
    ConsoleSessions,
    ExternalIssuer,
    FailureThrottle,
    Grant,
    Issuer,
    KeyHasher,
    KeyRing,
    RemoteKeys,
    SessionTokens,
    TokenVerifier,
)
from gateway.auth import keys as key_text
from gateway.auth.record import to_document
from gateway.auth.store import Change, KeyStoreAway
from gateway.domain import Priority
from gateway.store import Position, Snapshot

NOW = 1_800_000_000.0
ISSUER = "https://id.example"
AUDIENCE = "gateway"
JWKS_URL = "https://id.example/jwks"
PEPPER = b"pepper-pepper-pepper-pepper-pepper"
SESSION_SECRET = b"session-session-session-session-"
HASHER = KeyHasher(PEPPER)


@dataclass
class Clock:
    """Wall or monotonic; it moves only by hand."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Shelf:
    """The documents as the ring sees them, without Redis; `away` makes every call fail."""

    documents: dict[str, str] = field(default_factory=dict)
    position_now: Position = field(default_factory=Position)
    away: bool = False
    read_only: bool = False
    reads: int = 0

    async def position(self) -> Position:
        self._answer()
        return self.position_now

    async def read(self) -> Snapshot:
        self._answer()
        self.reads += 1
        return Snapshot(self.position_now, dict(self.documents))

    async def write(self, changes: Sequence[Change]) -> int:
        self._answer()
        if self.read_only:
            raise KeyStoreAway("read only")
        fitting = [change for change in changes if self.documents.get(change.id) == change.expected]
        self.documents |= {change.id: change.document for change in fitting}
        self._move(len(fitting))
        return len(fitting)

    async def hints(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    def put(self, *records: ApiKey) -> None:
        self.documents |= {record.id: to_document(record) for record in records}
        self._move(len(records))

    def empty(self) -> None:
        self.documents = {}
        self.position_now = Position()

    def _move(self, changes: int) -> None:
        if changes:
            version, mark = self.position_now.version + 1, secrets.token_hex(8)
            marks = {**self.position_now.marks, version: mark}
            self.position_now = Position(self.position_now.epoch or mark, version, marks)

    def _answer(self) -> None:
        if self.away:
            raise KeyStoreAway("connection refused")


def grant(**fields: Any) -> Grant:
    """A key for everything that is no administration, changed as asked."""
    usual: dict[str, Any] = {
        "tenant": "acme",
        "scopes": frozenset({"infer"}),
        "tier": "standard",
        "priority_ceiling": Priority.STANDARD,
    }
    return Grant(**{**usual, **fields})


def api_key(**fields: Any) -> tuple[str, ApiKey]:
    """A new key's text and its record."""
    key_id = key_text.new_id()
    text = key_text.generate("test", key_id)
    return text, ApiKey(key_id, grant(**fields), NOW - 60, HASHER.digest(text))


@cache
def rsa_key(name: str = "first", bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same key for the same name, made once a run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(name: str = "first", curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


@cache
def ed_key(name: str = "first") -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def published(key: Any, kid: str, **fields: Any) -> dict[str, Any]:
    """The public half as an entry of a JWK set."""
    public = key.public_key()
    entry: dict[str, Any]
    if isinstance(public, rsa.RSAPublicKey):
        entry = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        entry = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        entry = OKPAlgorithm.to_jwk(public, as_dict=True)
    entry.pop("key_ops", None)
    return {**entry, "kid": kid, "use": "sig", **fields}


def pem_of(key: Any) -> bytes:
    """The public half as everybody may have it."""
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def claims(**fields: Any) -> dict[str, Any]:
    """What a good token says; a field that is None is left out."""
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 600,
        "tenant": "acme",
        "scope": "openid infer",
    }
    return {name: value for name, value in {**usual, **fields}.items() if value is not None}


def header(**fields: Any) -> dict[str, Any]:
    """What a good token's header says; a field that is None is left out."""
    usual = {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    return {name: value for name, value in {**usual, **fields}.items() if value is not None}


def signed(payload: Mapping[str, Any] | bytes, head: Mapping[str, Any] | None = None, key: Any = None) -> str:
    """Signs by hand what a library would refuse to: any header, any payload."""
    head = head or header()
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signing_input = f"{_base64(json.dumps(head).encode())}.{_base64(body)}"
    algorithm = jwt.get_algorithm_by_name(head["alg"])
    signature = algorithm.sign(signing_input.encode(), algorithm.prepare_key(key or rsa_key()))
    return f"{signing_input}.{_base64(signature)}"


def unsigned(payload: Mapping[str, Any], head: Mapping[str, Any], signature: bytes = b"") -> str:
    return f"{signing_input(payload, head)}.{_base64(signature)}"


def signing_input(payload: Mapping[str, Any], head: Mapping[str, Any]) -> str:
    return f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(payload).encode())}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class KeyServer:
    """The far side of a JWKS address: answers with `body`, or as `answer` says, and remembers what was asked."""

    body: Any = None
    status: int = 200
    failure: Exception | None = None
    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return httpx.Response(self.status, content=_in_chunks(content))

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._handle))


async def _in_chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 4096):
        yield content[start : start + 4096]


def key_set(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"keys": list(entries) or [published(rsa_key(), "k1")]}


def issuer(**fields: Any) -> Issuer:
    usual: dict[str, Any] = {
        "name": "example",
        "url": ISSUER,
        "audience": AUDIENCE,
        "algorithms": frozenset({"RS256"}),
        "default_tier": "standard",
        "jwks_url": JWKS_URL,
    }
    return Issuer(**{**usual, **fields})


@dataclass
class Denials:
    """A deny-list by hand; `asked` is what was looked up."""

    names: frozenset[str] = frozenset()
    asked: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)

    def denies(self, *names: str, administers: bool) -> bool:
        self.asked.append((names, administers))
        return not self.names.isdisjoint(names)


@dataclass
class World:
    """Everything wired as the gateway wires it, with a shelf for Redis and a key server for the issuer."""

    wall: Clock
    monotonic: Clock
    shelf: Shelf
    server: KeyServer
    ring: KeyRing
    sessions: SessionTokens
    consoles: ConsoleSessions
    denials: Denials
    verifier: TokenVerifier
    authenticator: Authenticator

    async def add(self, *records: ApiKey) -> None:
        self.shelf.put(*records)
        await self.ring.refresh()


def world(*, trusted: Issuer | None = None, failures: int = 20) -> World:
    wall, monotonic, shelf = Clock(), Clock(1000.0), Shelf()
    server = KeyServer(key_set())
    trusted = trusted or issuer()
    keys = RemoteKeys(JWKS_URL, trusted.algorithms, http=server.client(), clock=monotonic)
    ring = KeyRing(shelf, clock=monotonic)
    sessions = SessionTokens(secret=SESSION_SECRET, ring=ring, clock=wall)
    consoles = ConsoleSessions(secret=SESSION_SECRET, ring=ring, clock=wall)
    denials = Denials()
    verifier = TokenVerifier([ExternalIssuer(trusted, keys), sessions], clock=wall, denied=denials)
    authenticator = Authenticator(
        ring=ring,
        hasher=HASHER,
        tokens=verifier,
        sessions=TokenVerifier([consoles], clock=wall, denied=denials),
        throttle=FailureThrottle(clock=monotonic, limit=failures),
        clock=wall,
    )
    return World(wall, monotonic, shelf, server, ring, sessions, consoles, denials, verifier, authenticator)
