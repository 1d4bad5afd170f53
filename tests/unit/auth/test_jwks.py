"""An issuer's keys: which are usable, when they are fetched, and what stays when they cannot be."""

import asyncio
import gzip
import time
from typing import Any

import httpx
import pytest
import structlog.testing
from cryptography.hazmat.primitives.asymmetric import ec
from unit.auth.workshop import (
    JWKS_URL,
    Clock,
    KeyServer,
    ec_key,
    ed_key,
    issuer,
    key_set,
    published,
    rsa_key,
)

from gateway.auth import RemoteKeys, TrustedIssuers
from gateway.auth.jwks import ALGORITHMS, BadKeySet, check_url, read_key_set
from gateway.errors import Overloaded

RS256 = frozenset({"RS256"})


def remote(server: KeyServer, clock: Clock | None = None) -> RemoteKeys:
    return RemoteKeys(JWKS_URL, RS256, http=server.client(), clock=clock or Clock())


def test_each_key_serves_the_algorithms_that_fit_it() -> None:
    document = key_set(
        published(rsa_key(), "r"),
        published(rsa_key(), "r-pss", alg="PS256"),
        published(ec_key(), "e"),
        published(ec_key(curve=ec.SECP384R1), "e384"),
        published(ed_key(), "ed"),
    )
    found = read_key_set(document, {"RS256", "PS256", "ES256", "ES384", "EdDSA"})
    assert set(found) == {
        ("r", "RS256"),
        ("r", "PS256"),
        ("r-pss", "PS256"),
        ("e", "ES256"),
        ("e384", "ES384"),
        ("ed", "EdDSA"),
    }


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"kty": "oct", "kid": "k", "k": "c2VjcmV0"}, id="symmetric"),
        pytest.param({**published(rsa_key(), "k"), "d": "AQAB"}, id="private"),
        pytest.param(published(rsa_key(), "k", use="enc"), id="for encryption"),
        pytest.param(published(rsa_key(), "k", key_ops=["encrypt"]), id="not for verifying"),
        pytest.param(published(rsa_key(), "k", alg="RS512"), id="for another algorithm"),
        pytest.param(published(rsa_key(), "k", alg=None), id="for no algorithm"),
        pytest.param(published(rsa_key(), ""), id="with an empty id"),
        pytest.param(published(rsa_key(), "k" * 257), id="with an id that is too long"),
        pytest.param({**published(rsa_key(), "k"), "kid": 7}, id="with a number for an id"),
        pytest.param({**published(rsa_key(), "k"), "n": 7}, id="with a number for a modulus"),
        pytest.param({"kty": "RSA", "kid": "k"}, id="with nothing in it"),
        pytest.param("key", id="that is a string"),
        pytest.param(published(ec_key(), "k"), id="on a curve where RSA is asked for"),
    ],
)
def test_a_key_that_must_not_verify_is_left_out(entry: Any) -> None:
    with pytest.raises(BadKeySet, match="no usable key"):
        read_key_set({"keys": [entry]}, RS256)
    assert set(read_key_set({"keys": [entry, published(rsa_key(), "good")]}, RS256)) == {("good", "RS256")}


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, {"keys": []}, "keys"])
def test_what_is_not_a_key_set_is_refused(document: Any) -> None:
    with pytest.raises(BadKeySet):
        read_key_set(document, ALGORITHMS)


def test_of_two_keys_with_one_id_the_first_counts() -> None:
    first, second = published(rsa_key(), "k"), published(rsa_key("second"), "k")
    (found,) = read_key_set({"keys": [first, second]}, RS256).values()
    assert found.key.public_numbers() == rsa_key().public_key().public_numbers()


@pytest.mark.parametrize(
    "url",
    ["https://id.example/jwks", "http://127.0.0.1:8/jwks", "http://[::1]/jwks", "http://localhost/jwks"],
)
def test_addresses_that_may_be_asked(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/jwks",
        "http://127.0.0.1.example/jwks",
        "http://localhost.example/",
        "https://user:password@id.example/",
        "https://",
        "file:///etc/passwd",
        "",
        "ftp://127.0.0.1/",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        check_url(url)


async def test_keys_are_fetched_once_and_then_kept() -> None:
    server = KeyServer(key_set())
    keys = remote(server)
    for _ in range(5):
        assert await keys.find("k1", "RS256") is not None
    assert server.asked == [JWKS_URL]
    assert keys.status().detail == ""


async def test_an_unknown_key_id_asks_again_but_not_more_often_than_the_interval() -> None:
    server, clock = KeyServer(key_set()), Clock()
    keys = remote(server, clock)
    await keys.refresh()
    for number in range(1000):
        assert await keys.find(f"made-up-{number}", "RS256") is None
    assert len(server.asked) == 1
    server.body = key_set(published(rsa_key("second"), "k2"))
    clock.now += 10
    assert await keys.find("k2", "RS256") is not None
    assert await keys.find("k1", "RS256") is None
    assert len(server.asked) == 2


async def test_everybody_who_waits_for_the_keys_waits_for_one_fetch() -> None:
    server = KeyServer(key_set(), gate=asyncio.Event())
    keys = remote(server)
    waiting = [asyncio.create_task(keys.find("k1", "RS256")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert server.gate is not None
    server.gate.set()
    assert all(await asyncio.gather(*waiting[1:]))
    assert len(server.asked) == 1


async def test_a_known_key_never_waits_for_the_renewal_of_an_old_set() -> None:
    server, clock = KeyServer(key_set()), Clock()
    keys = remote(server, clock)
    await keys.refresh()
    clock.now += 301
    server.gate = asyncio.Event()
    server.body = key_set(published(rsa_key("second"), "k2"))
    async with asyncio.timeout(1):
        assert await keys.find("k1", "RS256") is not None
    server.gate.set()
    await keys.refresh()
    assert len(server.asked) == 2
    assert await keys.find("k1", "RS256") is None


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 500}, id="an error"),
        pytest.param({"status": 302}, id="a redirect"),
        pytest.param({"body": b""}, id="nothing"),
        pytest.param({"body": b'{"keys": [{"kty": "RS'}, id="half a set"),
        pytest.param({"body": {"keys": []}}, id="an empty set"),
        pytest.param({"body": b"<html>"}, id="a page"),
        pytest.param({"body": b"\xff\xfe\x00"}, id="no text"),
        pytest.param({"body": b"[" * 100_000}, id="brackets without end"),
        pytest.param({"body": b" " * 300_000}, id="too much"),
        pytest.param({"body": gzip.compress(b"{}")}, id="something compressed"),
        pytest.param({"failure": httpx.ConnectError("refused")}, id="a closed port"),
        pytest.param({"failure": httpx.ReadTimeout("slow")}, id="silence"),
    ],
)
async def test_the_last_good_set_stays_and_one_line_says_so(fault: dict[str, Any]) -> None:
    server, clock = KeyServer(key_set()), Clock()
    keys = remote(server, clock)
    await keys.refresh()
    for name, value in fault.items():
        setattr(server, name, value)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            clock.now += 400
            await keys.refresh()
            assert await keys.find("k1", "RS256") is not None
    assert [line["event"] for line in lines] == ["jwks_stale"]
    assert keys.status().usable
    assert keys.status().detail
    assert len(server.asked) == 4


async def test_before_any_set_could_be_had_the_fault_is_ours() -> None:
    server = KeyServer(status=500)
    keys = remote(server)
    for _ in range(3):
        with pytest.raises(Overloaded):
            await keys.find("k1", "RS256")
    assert len(server.asked) == 1
    assert not keys.status().usable


async def test_a_slow_address_is_given_up() -> None:
    server = KeyServer(key_set(), gate=asyncio.Event())
    keys = RemoteKeys(JWKS_URL, RS256, http=server.client(), clock=Clock(), timeout=0.01)
    with pytest.raises(Overloaded):
        await keys.find("k1", "RS256")


async def test_closing_ends_a_fetch_under_way() -> None:
    server = KeyServer(key_set(), gate=asyncio.Event())
    keys = remote(server)
    waiting = asyncio.create_task(keys.find("k1", "RS256"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await keys.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def until_asked(server: KeyServer, times: int) -> None:
    async with asyncio.timeout(2):
        while len(server.asked) < times:
            await asyncio.sleep(0.001)


async def test_a_watched_set_is_there_before_any_token_and_is_asked_for_until_it_is() -> None:
    server = KeyServer(key_set(), status=500)
    keys = RemoteKeys(
        JWKS_URL, RS256, http=server.client(), clock=time.monotonic, min_interval=0.01, max_age=60
    )
    watch = asyncio.create_task(keys.watch())
    await until_asked(server, 2)
    assert not keys.status().usable
    server.status = 200
    await until_asked(server, 3)
    while not keys.status().usable:
        await asyncio.sleep(0.001)
    watch.cancel()
    assert await asyncio.wait([watch], timeout=1) == ({watch}, set())


async def test_a_watch_that_ends_also_ends_its_fetch() -> None:
    server = KeyServer(key_set(), gate=asyncio.Event())
    keys = remote(server)
    watch = asyncio.create_task(keys.watch())
    await until_asked(server, 1)
    watch.cancel()
    await asyncio.wait([watch], timeout=1)
    assert server.gate is not None
    server.gate.set()
    await asyncio.sleep(0)
    assert not keys.status().usable


async def test_all_issuers_are_watched_and_named_also_one_whose_keys_came_with_the_configuration() -> None:
    server = KeyServer(key_set())
    other = issuer(name="fixed", url="https://fixed.example", jwks_url=None, jwks=key_set())
    trusted = TrustedIssuers([issuer(), other], http=server.client(), clock=Clock())
    assert [one.rules.issuer for one in trusted] == [issuer().url, other.url]
    assert {name: keys.usable for name, keys in trusted.status().items()} == {"example": False, "fixed": True}
    watch = asyncio.create_task(trusted.watch())
    await until_asked(server, 1)
    async with asyncio.timeout(1):
        while not trusted.status()["example"].usable:
            await asyncio.sleep(0.001)
    watch.cancel()
    assert await asyncio.wait([watch], timeout=1) == ({watch}, set())
