"""Credentials that must not pass: rows 112 to 122 of the bad-input corpus, over HTTP, with trusted issuers."""

import base64
import concurrent.futures
import hmac
import json
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.utils import der_to_raw_signature
from support.guarded import PAGE, Guarded, another_address, corp_token, forged, said
from support.hostile import assert_problem
from unit.auth.workshop import (
    ec_key,
    header,
    pem_of,
    published,
    rsa_key,
    signed,
    signing_input,
    unsigned,
)

from gateway.auth.keys import parse


@pytest.fixture(autouse=True)
def still_answers(guarded: Guarded) -> Iterator[None]:
    """After whatever the test has sent, good credentials pass as before; no other test's Triton is needed here."""
    yield
    for headers in (key(guarded.keys["infer"]), bearer(corp_token()), bearer(partner_token())):
        assert guarded.ask(headers).status_code == 200


def key(text: str) -> dict[str, str]:
    return {"x-api-key": text}


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def partner_token(head: Mapping[str, Any] | None = None, signer: Any = None, **claims: Any) -> str:
    """A token of the ES256 issuer that is good, but for what is changed."""
    payload = said(**{"iss": "https://partner.example", **claims})
    return signed(
        payload, header(**{"alg": "ES256", "kid": "p1", **(head or {})}), signer or ec_key("partner")
    )


def without_secrets(answer: httpx.Response) -> dict[str, Any]:
    """All that a refusal tells, but the id of its request."""
    return {name: value for name, value in answer.json().items() if name != "request_id"}


CALLS = [
    ("POST", "/v1/classify"),
    ("POST", "/v1/detect"),
    ("GET", "/v1/models"),
    ("POST", "/v1/tokens"),
    ("GET", "/admin/v1/keys"),
    ("DELETE", "/admin/v1/tokens/any"),
]


@pytest.mark.parametrize(("method", "path"), CALLS, ids=map(" ".join, CALLS))
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": ""}, {"authorization": "Basic Z3c6Z3c="}, {"authorization": "Digest x=y"}],
    ids=["no header", "an empty one", "Basic", "Digest"],
)
def test_112_without_credentials_it_is_401_and_says_what_to_send(
    guarded: Guarded, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = guarded.ask(headers, method, path)
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="gateway"'


TWICE: dict[str, Callable[[str, str], list[tuple[str, str]]]] = {
    "key and token": lambda api_key, token: [("x-api-key", api_key), ("authorization", f"Bearer {token}")],
    "one key in both headers": lambda api_key, _: [
        ("x-api-key", api_key),
        ("authorization", f"Bearer {api_key}"),
    ],
    "two X-API-Key": lambda api_key, _: [("x-api-key", api_key), ("x-api-key", "gw_dev_other")],
    "one key twice": lambda api_key, _: [("x-api-key", api_key), ("X-API-KEY", api_key)],
    "two Authorization": lambda _, token: [
        ("authorization", f"Bearer {token}"),
        ("authorization", "Basic Z3c6Z3c="),
    ],
    "one token twice": lambda _, token: [("authorization", f"Bearer {token}")] * 2,
    "an empty X-API-Key before the good one": lambda api_key, _: [("x-api-key", ""), ("x-api-key", api_key)],
}


@pytest.mark.parametrize("headers", TWICE.values(), ids=TWICE.keys())
def test_113_two_credentials_are_ambiguous(
    guarded: Guarded, headers: Callable[[str, str], list[tuple[str, str]]]
) -> None:
    answer = guarded.ask(headers(guarded.keys["infer"], corp_token()))
    assert_problem(answer, 400, "ambiguous_credentials")


@pytest.mark.parametrize("name", ["key", "api_key", "x-api-key", "X-API-Key", "access_token", "token"])
def test_113_a_key_in_the_query_is_no_credential(guarded: Guarded, name: str) -> None:
    answer = guarded.ask({}, path=f"/v1/models?{name}={guarded.keys['infer']}")
    assert_problem(answer, 401, "unauthenticated")
    assert guarded.keys["infer"] not in answer.text


def test_113_nor_does_it_take_the_place_of_the_one_in_the_header(guarded: Guarded) -> None:
    path = f"/v1/models?api_key={guarded.keys['infer']}"
    assert_problem(guarded.ask(key(forged(guarded.keys["infer"])), path=path), 401, "invalid_key")


def under(head: dict[str, Any], sign: Callable[[bytes], bytes], **claims: Any) -> str:
    """A token with a signature that no library would make."""
    text = signing_input(said(**claims), head)
    return f"{text}.{base64.urlsafe_b64encode(sign(text.encode())).rstrip(b'=').decode()}"


def hmac_token(secret: bytes) -> str:
    """What a library that trusts the token's own `alg` would verify with the issuer's public key."""
    return under(header(alg="HS256", kid="c1"), lambda text: hmac.digest(secret, text, "sha256"))


def on_another_curve(curve: type[ec.EllipticCurve]) -> str:
    signer = ec_key("attacker", curve)

    def sign(text: bytes) -> bytes:
        return der_to_raw_signature(signer.sign(text, ec.ECDSA(SHA256())), signer.curve)

    return under(header(alg="ES256", kid="p1"), sign, iss="https://partner.example")


def raw_claim(name: str, literal: str) -> str:
    """A claim as Python would not write it."""
    text = json.dumps(said(**{name: "HERE"})).replace('"HERE"', literal)
    return signed(text.encode(), header(kid="c1"), rsa_key("corp"))


def attackers(head: Mapping[str, Any]) -> str:
    return signed(said(), header(**{"kid": "c1", **head}), rsa_key("attacker"))


def at(offset: float) -> int:
    return int(time.time() + offset)


# Each takes the address of a server that the test watches: what a token's header names there must not be asked for.
BAD: dict[str, Callable[[str], str]] = {
    **{
        f"114 alg {name}": lambda _, name=name: unsigned(said(), header(alg=name, kid="c1"))  # type: ignore[misc]
        for name in ("none", "None", "nOnE", "NONE", "")
    },
    "114 alg none under the signature of a good token": lambda _: (
        unsigned(said(), header(alg="none", kid="c1")) + corp_token().rsplit(".", 1)[1]
    ),
    "114 alg missing": lambda _: unsigned(said(), header(alg=None, kid="c1")),
    "114 no signature": lambda _: unsigned(said(), header(kid="c1")),
    "115 HS256 under the public key as PEM": lambda _: hmac_token(pem_of(rsa_key("corp"))),
    "115 HS256 under the public key as JWK": lambda _: hmac_token(
        json.dumps(published(rsa_key("corp"), "c1")).encode()
    ),
    "115 HS256 under nothing": lambda _: hmac_token(b""),
    "115 another RSA algorithm than the issuer's": lambda _: corp_token({"alg": "RS512"}),
    "115 PSS in place of PKCS 1": lambda _: corp_token({"alg": "PS256"}),
    "116 kid ../../dev/null": lambda _: attackers({"kid": "../../dev/null"}),
    "116 kid SQL": lambda _: attackers({"kid": "c1' UNION SELECT 'x' --"}),
    "116 kid of 5 kB": lambda _: attackers({"kid": "k" * 5_000}),
    "116 kid of 10 kB": lambda _: attackers({"kid": "k" * 10_000}),
    "116 kid missing": lambda _: corp_token({"kid": None}),
    "116 kid of the other issuer": lambda _: corp_token({"kid": "p1"}),
    "116 jku": lambda url: attackers({"jku": f"{url}/attacker/jku"}),
    "116 x5u": lambda url: attackers({"x5u": f"{url}/attacker/x5u"}),
    "116 jwk": lambda _: attackers({"jwk": published(rsa_key("attacker"), "c1")}),
    "116 x5c": lambda _: attackers({"x5c": ["MIIB"]}),
    "116 an unknown kid with a jku": lambda url: attackers({"kid": "new", "jku": f"{url}/attacker/jku"}),
    "117 crit with an unknown extension": lambda _: corp_token({"crit": ["exp-ext"], "exp-ext": 1}),
    "117 crit with b64": lambda _: corp_token({"crit": ["b64"], "b64": True}),
    "117 crit empty": lambda _: corp_token({"crit": []}),
    "117 b64 false": lambda _: corp_token({"b64": False}),
    "118 exp missing": lambda _: corp_token(exp=None),
    "118 exp past": lambda _: corp_token(iat=at(-600), exp=at(-60)),
    "118 exp 1e400": lambda _: raw_claim("exp", "1e400"),
    "118 exp of 400 digits": lambda _: raw_claim("exp", "9" * 400),
    "118 exp a string": lambda _: corp_token(exp=str(at(600))),
    "118 exp null": lambda _: raw_claim("exp", "null"),
    "118 nbf future": lambda _: corp_token(nbf=at(90)),
    "118 iat future": lambda _: corp_token(iat=at(90)),
    "118 iat missing": lambda _: corp_token(iat=None),
    "118 two hours of life": lambda _: corp_token(exp=at(7200)),
    "119 aud wrong": lambda _: corp_token(aud="other"),
    "119 aud a prefix": lambda _: corp_token(aud="gatewa"),
    "119 aud longer": lambda _: corp_token(aud="gateway-2"),
    "119 aud a list that holds it": lambda _: corp_token(aud=["other", "gateway"]),
    "119 aud missing": lambda _: corp_token(aud=None),
    "119 iss unknown": lambda _: corp_token(iss="https://evil.example"),
    "119 iss a prefix": lambda _: corp_token(iss="https://corp.exampl"),
    "119 iss longer": lambda _: corp_token(iss="https://corp.example/"),
    "119 iss a list": lambda _: corp_token(iss=["https://corp.example"]),
    "119 iss the other issuer": lambda _: corp_token(iss="https://partner.example"),
    "119 iss this gateway": lambda _: corp_token(iss="gateway", aud="gateway"),
    "119 the other issuer's signature": lambda _: partner_token(iss="https://corp.example"),
    "119 typ of a page's token": lambda _: corp_token({"typ": "gw-session+jwt"}),
    "119 typ of another token": lambda _: corp_token({"typ": "secevent+jwt"}),
    "119 typ missing": lambda _: corp_token({"typ": None}),
    "119 ES256 by another key": lambda _: partner_token(signer=ec_key("attacker")),
    "119 ES256 on secp256k1": lambda _: on_another_curve(ec.SECP256K1),
    "119 ES256 on P-384": lambda _: on_another_curve(ec.SECP384R1),
    "119 RS256 where ES256 is meant": lambda _: signed(
        said(iss="https://partner.example"), header(kid="p1"), rsa_key("corp")
    ),
    "the payload of another": lambda _: ".".join(
        [corp_token(sub="admin").rsplit(".", 1)[0], corp_token().rsplit(".", 1)[1]]
    ),
    "no token at all": lambda _: "hello",
    "nothing but dots": lambda _: "..",
    "five parts": lambda _: "a.b.c.d.e",
    "12 kB": lambda _: corp_token(pad="x" * 8_000),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_114_to_119_a_known_bad_token_gets_the_one_answer_and_nothing_is_fetched(
    guarded: Guarded, make: Callable[[str], str]
) -> None:
    answer = guarded.ask(bearer(make(guarded.publisher.url)))
    assert_problem(answer, 401, "invalid_token")
    assert without_secrets(answer) == {
        "type": "/problems/invalid_token",
        "title": "Invalid token",
        "status": 401,
        "detail": "The token is not valid.",
        "instance": "/v1/models",
        "code": "invalid_token",
    }
    assert set(guarded.publisher.asked) == {"/corp", "/partner"}


def test_good_tokens_pass_whatever_else_their_header_names(guarded: Guarded) -> None:
    url = guarded.publisher.url
    head = {"jku": f"{url}/attacker/jku", "x5u": f"{url}/attacker/x5u"}
    assert guarded.ask(bearer(corp_token(head))).status_code == 200
    assert guarded.ask(bearer(partner_token({"typ": "at+jwt", "jku": url}))).status_code == 200
    assert set(guarded.publisher.asked) == {"/corp", "/partner"}


def no_good_keys(keys: Mapping[str, str]) -> dict[str, str]:
    """Row 120, and its neighbours: each as it stands in X-API-Key."""
    good = keys["infer"]
    other = good[:-1] + ("a" if good[-1] != "a" else "b")
    return {
        "revoked": keys["revoked"],
        "expired": keys["expired"],
        "right id, wrong secret": forged(good),
        "unknown id": forged(good, key_id="00000000"),
        "wrong checksum": other,
        "cut short": good[:-1],
        "longer": good + "a",
        "another environment": good.replace("gw_dev_", "gw_prod_"),
        "in capitals": good.upper(),
        "in quotes": f'"{good}"',
        "with its scheme": f"Bearer {good}",
        "a newline, encoded": good + "%0A",
        "twice in one line": f"{good}, {good}",
        "a no-break space behind": good + "\u00a0",
        "empty": "",
        "8 kB": good + "a" * 8_000,
    }


def test_120_every_key_that_is_none_gets_the_one_answer(guarded: Guarded) -> None:
    seen = {}
    for name, text in no_good_keys(guarded.keys).items():
        answer = guarded.ask({b"x-api-key": text.encode("latin-1")})
        assert_problem(answer, 401, "invalid_key")
        seen[name] = (without_secrets(answer), answer.headers["www-authenticate"])
    assert len({repr(answer) for answer in seen.values()}) == 1, seen


def raw(guarded: Guarded, line: bytes) -> bytes:
    """The status line for a request with exactly these bytes as a header."""
    with socket.create_connection(
        ("127.0.0.1", guarded.port), timeout=5, source_address=(another_address(), 0)
    ) as connection:
        connection.sendall(
            b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n" + line + b"\r\n\r\n"
        )
        return connection.makefile("rb").readline().strip()


@pytest.mark.parametrize(
    "tail", [b" ", b"  \t ", b"\x00", b"\x0b", b"\n", b"\r", b"\n\t", b"\r\n folded", b"\t.", b" ."]
)
def test_120_bytes_behind_a_good_key_do_not_pass(guarded: Guarded, tail: bytes) -> None:
    good = guarded.keys["infer"].encode()
    assert raw(guarded, b"x-api-key: " + good) == b"HTTP/1.1 200 OK"
    assert raw(guarded, b"x-api-key: " + good + tail) in (
        b"HTTP/1.1 400 Bad Request",
        b"HTTP/1.1 401 Unauthorized",
    )


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("infer", "GET", "/admin/v1/keys"),
        ("infer", "POST", "/admin/v1/keys"),
        ("infer", "DELETE", "/admin/v1/tokens/any"),
        ("admin:keys", "POST", "/v1/detect"),
        ("admin:keys", "GET", "/v1/models"),
        ("pin-version", "POST", "/v1/detect"),
    ],
)
def test_121_a_good_key_without_the_scope_is_forbidden(
    guarded: Guarded, scope: str, method: str, path: str
) -> None:
    assert_problem(guarded.ask(key(guarded.keys[scope]), method, path), 403, "forbidden")


def test_121_a_token_has_only_the_scopes_that_its_issuer_may_give(guarded: Guarded) -> None:
    greedy = corp_token(scope="infer pin-version admin:models admin:keys")
    assert guarded.ask(bearer(greedy), path="/admin/v1/keys").status_code == 200
    partners = partner_token(scope="infer admin:keys")
    assert_problem(guarded.ask(bearer(partners), path="/admin/v1/keys"), 403, "forbidden")


NO_ORIGINS = [b"http://[", b"http://[::1", b"http://a]b/", "http://a\u2100b/".encode(), b"//", b"http:", b":"]


@pytest.mark.parametrize("text", NO_ORIGINS)
def test_where_a_request_says_it_comes_from_may_be_any_text(guarded: Guarded, text: bytes) -> None:
    """Nothing of it is the origin of a page, the console or a stream."""
    page = {b"authorization": f"Bearer {guarded.page_token(guarded.keys['infer'])['token']}".encode()}
    good = {b"x-api-key": guarded.keys["infer"].encode()}
    assert guarded.ask({**good, b"referer": text}).status_code == 200
    assert_problem(guarded.ask({b"referer": text}), 401, "unauthenticated")
    for name in (b"referer", b"origin"):
        assert_problem(guarded.ask({**page, name: text}), 401, "invalid_token")
    assert_problem(guarded.ask({b"x-console": b"1", b"origin": text}), 403, "forbidden")


def test_a_host_may_name_a_port_that_there_is_not(guarded: Guarded) -> None:
    headers = {"x-api-key": guarded.keys["admin:keys"], "host": "a:99999999"}
    assert guarded.ask(headers, "POST", "/console/session").status_code == 201


def test_122_of_a_thousand_bad_keys_from_one_address_twenty_are_looked_at(guarded: Guarded) -> None:
    address, good = another_address(), key(guarded.keys["infer"])
    with guarded.client(address) as client:
        answers = [client.get("/v1/models", headers=key(forged(good["x-api-key"]))) for _ in range(1000)]
        assert [answer.status_code for answer in answers] == [401] * 20 + [429] * 980
        assert_problem(answers[-1], 429, "rate_limited")
        assert 0 < int(answers[-1].headers["retry-after"]) <= 60
        assert_problem(client.get("/v1/models", headers=bearer("a.b.c")), 429, "rate_limited")
        assert client.get("/v1/models", headers=good).status_code == 200
    other = guarded.ask(key(forged(good["x-api-key"])))
    assert_problem(other, 401, "invalid_key")
    assert guarded.ask(good).status_code == 200


def test_122_an_address_is_the_connections_not_a_headers(guarded: Guarded) -> None:
    address, wrong = another_address(), forged(guarded.keys["infer"])
    names = ("x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip")
    with guarded.client(address) as client:
        statuses = [
            client.get(
                "/v1/models", headers={**key(wrong), **dict.fromkeys(names, f"10.0.0.{number}")}
            ).status_code
            for number in range(30)
        ]
    assert statuses == [401] * 20 + [429] * 10


def test_an_unknown_id_takes_as_long_as_a_wrong_secret(guarded: Guarded) -> None:
    """P24: the medians are within 10 % of each other. The two kinds take turns, and in turn begin."""
    good = guarded.keys["infer"]
    taken: dict[str, list[float]] = {"00000000": [], parse(good).id: []}
    for _ in range(60):
        with guarded.client(another_address()) as client:
            client.get("/livez")  # connects
            turns = [[*taken], [*taken][::-1]] * 5
            for key_id, text in [(key_id, forged(good, key_id=key_id)) for turn in turns for key_id in turn]:
                began = time.perf_counter()
                answer = client.get("/v1/models", headers=key(text))
                taken[key_id].append(time.perf_counter() - began)
                assert answer.status_code == 401
    unknown, wrong = (statistics.median(times) for times in taken.values())
    assert 0.9 < wrong / unknown < 1.1


def end(guarded: Guarded, name: str, by: str = "", query: str = "") -> httpx.Response:
    """Puts a token on the deny-list."""
    return guarded.ask(key(by or guarded.keys["admin:keys"]), "DELETE", f"/admin/v1/tokens/{name}{query}")


def test_a_token_that_is_ended_is_refused_within_two_seconds_and_the_others_pass(guarded: Guarded) -> None:
    stolen, other = corp_token(jti="stolen-1"), corp_token(jti="mine-1")
    assert guarded.ask(bearer(stolen)).status_code == 200
    began = time.monotonic()
    assert end(guarded, "stolen-1").status_code == 204
    while guarded.ask(bearer(stolen)).status_code != 401:
        assert time.monotonic() - began < 2
    assert_problem(guarded.ask(bearer(stolen)), 401, "invalid_token")
    assert guarded.ask(bearer(other)).status_code == 200


def test_a_pages_token_is_ended_by_the_id_that_came_with_it(guarded: Guarded) -> None:
    made = guarded.page_token(guarded.keys["infer"])
    headers = {**bearer(made["token"]), "origin": PAGE}
    assert guarded.ask(headers).status_code == 200
    assert end(guarded, made["id"]).status_code == 204
    assert_problem(guarded.ask(headers), 401, "invalid_token")


def test_every_token_of_a_subject_is_ended_and_its_time_is_as_asked(guarded: Guarded) -> None:
    tokens = [corp_token(sub="mallory", jti=f"m-{number}") for number in range(3)]
    assert end(guarded, "corp:mallory", query="?seconds=2").status_code == 204
    for token in tokens:
        assert_problem(guarded.ask(bearer(token)), 401, "invalid_token")
    end_of_patience = time.monotonic() + 10
    while [guarded.ask(bearer(token)).status_code for token in tokens] != [200] * 3:
        assert time.monotonic() < end_of_patience
        time.sleep(0.2)


@pytest.mark.parametrize(
    "query", ["?seconds=0", "?seconds=soon", "?seconds=1e9", "?seconds=nan", "?minutes=1"]
)
def test_a_time_that_cannot_be_is_named(guarded: Guarded, query: str) -> None:
    answer = end(guarded, "any", query=query)
    assert_problem(answer, 422, "validation_failed")
    assert answer.json()["errors"][0]["pointer"].startswith("?")


def test_who_hammers_with_bad_tokens_does_not_make_the_issuer_be_asked_more(guarded: Guarded) -> None:
    before = len(guarded.publisher.asked)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: guarded.ask(bearer(attackers({"kid": f"made-up-{n}"}))), range(40)))
    assert {answer.status_code for answer in answers} == {401}
    assert len(guarded.publisher.asked) - before <= 2
