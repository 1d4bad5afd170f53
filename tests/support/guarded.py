"""A gateway as a process with trusted issuers, and what knocks at it: keys good and bad, tokens, many addresses."""

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from processes import running
from stack import Addresses, free_port, gateway, store_environment
from unit.auth.workshop import ec_key, header, published, rsa_key, signed

from gateway.auth import Grant, KeyHasher, KeyStore
from gateway.auth.keys import generate, parse
from gateway.domain import Priority
from gateway.store import connect

AUDIENCE = "gateway"
PAGE = "https://shop.example"

_ACCESS = """
[tiers.standard]
key = {{ limit = 100000, burst = 100000 }}
tenant = {{ limit = 100000, burst = 100000 }}

[issuers.corp]
url = "https://corp.example"
audience = "{audience}"
algorithms = ["RS256"]
jwks_url = "{url}/corp"
default_tier = "standard"
grants = ["infer", "admin:keys"]

[issuers.partner]
url = "https://partner.example"
audience = "{audience}"
algorithms = ["ES256"]
jwks_url = "{url}/partner"
default_tier = "standard"
tenant = "partner"
"""


@dataclass
class Publisher:
    """An HTTP server on this machine with the issuers' key sets; `asked` are the paths that anybody wanted."""

    sets: Mapping[str, object]
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @contextlib.contextmanager
    def serving(self) -> Iterator["Publisher"]:
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the base class's name
                publisher.asked.append(self.path)
                found = publisher.sets.get(self.path)
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found or {}).encode())

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


_addresses = itertools.count(2)


def another_address() -> str:
    """A loopback address that nobody has used yet: failures are counted by where they come from."""
    number = next(_addresses)
    return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@dataclass(frozen=True)
class Guarded:
    """The gateway and its callers. `keys` are API keys by what they are for."""

    url: str
    port: int
    publisher: Publisher
    keys: Mapping[str, str]

    def ask(
        self,
        headers: Mapping[str, str] | Mapping[bytes, bytes] | list[tuple[str, str]] | None = None,
        method: str = "GET",
        path: str = "/v1/models",
        address: str | None = None,
    ) -> httpx.Response:
        """One request from an address that has not failed before, or from this one. A stream is not read to its end."""
        with (
            self.client(address or another_address()) as client,
            client.stream(method, path, headers=headers) as answer,
        ):
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return httpx.Response(answer.status_code, headers=answer.headers)
            answer.read()
            return answer

    def client(self, address: str) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=address)
        return httpx.Client(base_url=self.url, transport=transport, timeout=10, trust_env=False)

    @property
    def from_console(self) -> Mapping[str, str]:
        """What the console's page sends beside its cookie."""
        return {"x-console": "1", "origin": self.url, "sec-fetch-site": "same-origin"}

    def console_session(self, key: str) -> str:
        """A new session's cookie, as browsers send it."""
        answer = self.ask({"x-api-key": key, "origin": self.url}, "POST", "/console/session")
        assert answer.status_code == 201, answer.text
        return answer.headers["set-cookie"].split(";")[0]

    def page_token(self, key: str, **wanted: object) -> dict[str, Any]:
        """The answer to POST /v1/tokens with this key."""
        with self.client(another_address()) as client:
            answer = client.post("/v1/tokens", json={"origins": [PAGE], **wanted}, headers={"x-api-key": key})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


@contextlib.contextmanager
def guarded(redis: Addresses, folder: Path) -> Iterator[Guarded]:
    """The gateway on this Redis, without a Triton: nobody here gets as far as that."""
    sets = {
        "/corp": {"keys": [published(rsa_key("corp"), "c1")]},
        "/partner": {"keys": [published(ec_key("partner"), "p1")]},
    }
    with Publisher(sets).serving() as publisher:
        access = folder / "access.toml"
        access.write_text(_ACCESS.format(url=publisher.url, audience=AUDIENCE))
        at = replace(redis, gateway_port=free_port())
        keys = asyncio.run(_make_keys(at))
        # Everybody here calls from this machine; /metrics is to ask them for a key all the same.
        with running(gateway(at, access_file=access, metrics_networks="10.0.0.0/8")):
            _until(lambda: _knows_callers(at.gateway_url))
            yield Guarded(at.gateway_url, at.gateway_port, publisher, keys)


SCOPES = ("infer", "infer:pets", "pin-version", "admin:keys", "admin:canary", "admin:models")


async def _make_keys(at: Addresses) -> dict[str, str]:
    """A key for each scope alone, under the scope's name, and the keys "expired" and "revoked", which had infer."""
    values = store_environment(at)
    async with connect(values["GATEWAY_REDIS_URL"], timeout=2.0) as redis:

        def store(clock: Callable[[], float]) -> KeyStore:
            hasher = KeyHasher(values["GATEWAY_KEY_PEPPER"].encode())
            return KeyStore(redis, hasher=hasher, environment="dev", clock=clock)

        now = store(time.time)
        keys = {scope: (await now.create(_grant(scope))).secret for scope in SCOPES}
        earlier = store(lambda: time.time() - 3600)
        expired = await earlier.create(replace(_grant("infer"), expires_at=time.time() - 60))
        revoked = await now.create(_grant("infer"))
        await now.revoke(revoked.record.id)
    return {**keys, "expired": expired.secret, "revoked": revoked.secret}


def _grant(scope: str) -> Grant:
    return Grant("tests", frozenset({scope}), "standard", Priority.STANDARD)


def _knows_callers(url: str) -> bool:
    parts = httpx.get(f"{url}/readyz", trust_env=False).json()["parts"]
    return all(parts[name] for name in ("keys", "denied_tokens_fresh", "issuer:corp", "issuer:partner"))


def _until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if true():
                return
        assert time.monotonic() < end
        time.sleep(0.05)


def forged(key: str, *, key_id: str | None = None) -> str:
    """A key with a secret that nobody has, for this id or the key's own; its checksum is right."""
    return generate("dev", key_id or parse(key).id)


def corp_token(head: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """A token of the RS256 issuer that is good, but for what is changed; None leaves a claim out."""
    return signed(said(**claims), header(**{"kid": "c1", **(head or {})}), rsa_key("corp"))


def said(**claims: Any) -> dict[str, Any]:
    """What a good token of the RS256 issuer says now."""
    now = int(time.time())
    usual = {
        "iss": "https://corp.example",
        "aud": AUDIENCE,
        "sub": "user-1",
        "iat": now - 10,
        "exp": now + 600,
        "tenant": "acme",
        "scope": "infer",
    }
    return {name: value for name, value in {**usual, **claims}.items() if value is not None}
