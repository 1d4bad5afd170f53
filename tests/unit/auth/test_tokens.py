"""Known-bad tokens (RFC 8725) are refused with one answer, and nothing that a token names is fetched."""

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.utils import der_to_raw_signature
from unit.auth.workshop import (
    AUDIENCE,
    ISSUER,
    JWKS_URL,
    NOW,
    SESSION_SECRET,
    Clock,
    Denials,
    World,
    claims,
    ec_key,
    ed_key,
    header,
    issuer,
    key_set,
    pem_of,
    published,
    rsa_key,
    signed,
    signing_input,
    unsigned,
    world,
)

from gateway.auth import ClaimNames, ExternalIssuer, StaticKeys, TokenVerifier
from gateway.domain import Priority
from gateway.errors import InvalidToken


async def refused(here: World, token: str) -> InvalidToken:
    with pytest.raises(InvalidToken) as caught:
        await here.verifier.verify(token, None)
    assert str(caught.value) == "The token is not valid."
    assert set(here.server.asked) <= {JWKS_URL}
    assert len(here.server.asked) <= 1
    return caught.value


def hmac_signed(secret: bytes, head: dict[str, Any]) -> str:
    text = signing_input(claims(), head)
    signature = hmac.digest(secret, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def test_a_good_token_is_its_subject() -> None:
    principal = await world().verifier.verify(signed(claims()), None)
    assert principal.id == "example:user-1"
    assert principal.tenant == "acme"
    assert principal.scopes == {"infer"}
    assert principal.models is None
    assert principal.tier == "standard"
    assert principal.priority_ceiling is Priority.STANDARD
    assert principal.expires_at == int(NOW) + 600
    assert principal.origins is None


def spoilt(**fields: Any) -> str:
    return signed(claims(**fields))


def raw_claim(name: str, literal: str) -> str:
    """A number as Python would not write it."""
    text = json.dumps({**claims(), name: "HERE"}).replace('"HERE"', literal)
    return signed(text.encode())


def other_head(**fields: Any) -> str:
    return signed(claims(), header(**fields))


def attackers(**fields: Any) -> str:
    return signed(claims(), header(**fields), rsa_key("attacker"))


ATTACKERS_JWK = published(rsa_key("attacker"), "k1")

BAD: dict[str, Callable[[], str]] = {
    "114 alg none": lambda: unsigned(claims(), header(alg="none")),
    "114 alg None": lambda: unsigned(claims(), header(alg="None")),
    "114 alg nOnE": lambda: unsigned(claims(), header(alg="nOnE")),
    "114 alg empty": lambda: unsigned(claims(), header(alg="")),
    "114 alg missing": lambda: unsigned(claims(), header(alg=None)),
    "114 alg a list": lambda: unsigned(claims(), header(alg=["RS256"])),
    "114 alg none under a real signature": lambda: (
        f"{signing_input(claims(), header(alg='none'))}.{signed(claims()).rsplit('.', 1)[1]}"
    ),
    "114 alg RS256 without a signature": lambda: unsigned(claims(), header()),
    "115 HS256 with the RSA public key as PEM": lambda: hmac_signed(pem_of(rsa_key()), header(alg="HS256")),
    "115 HS256 with the published key as JSON": lambda: hmac_signed(
        json.dumps(published(rsa_key(), "k1")).encode(), header(alg="HS256")
    ),
    "115 HS256 with nothing": lambda: hmac_signed(b"", header(alg="HS256")),
    "115 HS256 with this gateway's own session secret": lambda: hmac_signed(
        SESSION_SECRET, header(alg="HS256")
    ),
    "115 RS512, where only RS256 is allowed": lambda: other_head(alg="RS512"),
    "115 PS256, where only RS256 is allowed": lambda: other_head(alg="PS256"),
    "116 kid a path": lambda: attackers(kid="../../dev/null"),
    "116 kid a path under an empty HMAC key": lambda: hmac_signed(
        b"", header(alg="HS256", kid="../../dev/null")
    ),
    "116 kid SQL": lambda: attackers(kid="k1' UNION SELECT 'secret' --"),
    "116 kid 10 kB": lambda: attackers(kid="k" * 10_000),
    "116 kid 5 kB, inside the token's limit": lambda: attackers(kid="k" * 5_000),
    "116 kid empty": lambda: attackers(kid=""),
    "116 kid missing": lambda: other_head(kid=None),
    "116 kid a number": lambda: other_head(kid=1),
    "116 kid an object": lambda: other_head(kid={"$ne": ""}),
    "116 jku": lambda: attackers(jku="https://attacker.example/jwks"),
    "116 jku to this machine": lambda: attackers(jku="http://169.254.169.254/"),
    "116 x5u": lambda: attackers(x5u="https://attacker.example/cert.pem"),
    "116 jwk": lambda: attackers(jwk=ATTACKERS_JWK),
    "116 jwk without kid": lambda: attackers(jwk=ATTACKERS_JWK, kid=None),
    "116 x5c": lambda: attackers(x5c=["MIIB"]),
    "117 crit with an unknown extension": lambda: other_head(crit=["exp-ext"], **{"exp-ext": 1}),
    "117 crit empty": lambda: other_head(crit=[]),
    "117 crit b64": lambda: other_head(crit=["b64"], b64=True),
    "117 b64 false": lambda: other_head(b64=False),
    "118 exp missing": lambda: spoilt(exp=None),
    "118 exp past": lambda: spoilt(exp=int(NOW) - 30),
    "118 exp 1e400": lambda: raw_claim("exp", "1e400"),
    "118 exp -1e400": lambda: raw_claim("exp", "-1e400"),
    "118 exp NaN": lambda: raw_claim("exp", "NaN"),
    "118 exp of 400 digits": lambda: raw_claim("exp", "9" * 400),
    "118 exp of 5,000 digits": lambda: raw_claim("exp", "9" * 5000),
    "118 exp a string": lambda: spoilt(exp=str(int(NOW) + 600)),
    "118 exp true": lambda: spoilt(exp=True),
    "118 exp null": lambda: raw_claim("exp", "null"),
    "118 exp a list": lambda: spoilt(exp=[int(NOW) + 600]),
    "118 iat missing": lambda: spoilt(iat=None),
    "118 iat future": lambda: spoilt(iat=int(NOW) + 31),
    "118 iat a string": lambda: spoilt(iat="now"),
    "118 nbf future": lambda: spoilt(nbf=int(NOW) + 31),
    "118 nbf a string": lambda: spoilt(nbf="now"),
    "118 nbf null": lambda: raw_claim("nbf", "null"),
    "118 lives longer than an hour": lambda: spoilt(iat=int(NOW), exp=int(NOW) + 3601),
    "118 issued long ago, ends soon": lambda: spoilt(iat=int(NOW) - 4000, exp=int(NOW) + 10),
    "119 aud missing": lambda: spoilt(aud=None),
    "119 aud wrong": lambda: spoilt(aud="other"),
    "119 aud a prefix": lambda: spoilt(aud=AUDIENCE[:-1]),
    "119 aud longer": lambda: spoilt(aud=AUDIENCE + "-2"),
    "119 aud in capitals": lambda: spoilt(aud=AUDIENCE.upper()),
    "119 aud a list that holds ours": lambda: spoilt(aud=[AUDIENCE, "other"]),
    "119 aud a list of ours alone": lambda: spoilt(aud=[AUDIENCE]),
    "119 aud an object": lambda: spoilt(aud={AUDIENCE: 1}),
    "119 aud empty": lambda: spoilt(aud=""),
    "119 iss missing": lambda: spoilt(iss=None),
    "119 iss wrong": lambda: spoilt(iss="https://attacker.example"),
    "119 iss a prefix": lambda: spoilt(iss=ISSUER[:-1]),
    "119 iss with a slash behind": lambda: spoilt(iss=ISSUER + "/"),
    "119 iss a list": lambda: spoilt(iss=[ISSUER]),
    "119 iss this gateway's own, under another's key": lambda: spoilt(iss="gateway", aud="gateway"),
    "119 typ wrong": lambda: other_head(typ="gw-session+jwt"),
    "119 typ of another kind of token": lambda: other_head(typ="secevent+jwt"),
    "119 typ missing": lambda: other_head(typ=None),
    "119 typ a number": lambda: other_head(typ=1),
    "sub missing": lambda: spoilt(sub=None),
    "sub empty": lambda: spoilt(sub=""),
    "sub a number": lambda: spoilt(sub=7),
    "sub with a line break": lambda: spoilt(sub="user\n1"),
    "sub too long": lambda: spoilt(sub="u" * 256),
    "jti a number": lambda: spoilt(jti=7),
    "tenant missing": lambda: spoilt(tenant=None),
    "tenant a list": lambda: spoilt(tenant=["acme"]),
    "tenant that is none": lambda: spoilt(tenant="{acme}:x"),
    "signed by somebody else": attackers,
    "longer than 8 kB": lambda: spoilt(pad="x" * 8000),
    "payload changed": lambda: (
        f"{signing_input(claims(tenant='other'), header())}.{signed(claims()).rsplit('.', 1)[1]}"
    ),
    "payload a list": lambda: signed(b"[1]"),
    "payload no JSON": lambda: signed(b"hello"),
    "payload nested without end": lambda: signed(b"[" * 5000),
    "header no JSON": lambda: "aGVsbG8.e30.AAAA",
    "two parts": lambda: "a.b",
    "four parts": lambda: signed(claims()) + ".AAAA",
    "five parts, as an encrypted token has": lambda: "a.b.c.d.e",
    "JSON serialization": lambda: '{"payload":"","signatures":[]}',
    "empty": lambda: "",
    "dots": lambda: "..",
    "a space behind": lambda: signed(claims()) + " ",
    "a newline behind": lambda: signed(claims()) + "\n",
    "not ASCII": lambda: signed(claims()) + "\u00e9",
    "a lone surrogate": lambda: "\udc80.\udc80.\udc80",
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
async def test_a_known_bad_token_is_refused_and_nothing_else_is_fetched(make: Callable[[], str]) -> None:
    await refused(world(), make())


@pytest.mark.parametrize("make", [make for name, make in BAD.items() if name.startswith(("116 j", "116 x"))])
async def test_a_key_in_the_header_is_not_even_looked_at(make: Callable[[], str]) -> None:
    here = world()
    await here.verifier.verify(signed(claims()), None)
    await refused(here, make())
    assert here.server.asked == [JWKS_URL]


async def test_headers_about_keys_do_not_spoil_a_good_token() -> None:
    await world().verifier.verify(other_head(jku="https://attacker.example/", jwk=ATTACKERS_JWK), None)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: spoilt(exp=int(NOW) - 29), id="expired within the leeway"),
        pytest.param(
            lambda: spoilt(iat=int(NOW) + 29, exp=int(NOW) + 60), id="issued by a clock that is ahead"
        ),
        pytest.param(lambda: spoilt(nbf=int(NOW) + 29), id="begins within the leeway"),
        pytest.param(lambda: spoilt(iat=NOW - 0.5, exp=NOW + 0.5), id="times with a fraction"),
        pytest.param(lambda: spoilt(iat=int(NOW), exp=int(NOW) + 3600), id="lives an hour"),
        pytest.param(lambda: other_head(typ="at+jwt"), id="the type of an access token"),
        pytest.param(lambda: other_head(typ="application/AT+JWT"), id="the type written out"),
    ],
)
async def test_what_is_just_good_enough_passes(make: Callable[[], str]) -> None:
    await world().verifier.verify(make(), None)


@pytest.mark.parametrize("algorithm", ["RS384", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
async def test_other_algorithms_work_where_the_issuer_has_them(algorithm: str) -> None:
    curves = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
    key: Any = rsa_key() if algorithm[1] == "S" and algorithm[0] in "RP" else ed_key()
    key = ec_key(curve=curves[algorithm]) if algorithm in curves else key
    trusted = issuer(algorithms=frozenset({algorithm}))
    verifier = verifier_of(trusted, key_set(published(key, "k1")))
    assert await verifier.verify(signed(claims(), header(alg=algorithm), key), None)


def verifier_of(trusted: Any, document: dict[str, Any], denied: Denials | None = None) -> TokenVerifier:
    keys = StaticKeys(document, trusted.algorithms)
    return TokenVerifier([ExternalIssuer(trusted, keys)], clock=Clock(), denied=denied or Denials())


@pytest.mark.parametrize("curve", [ec.SECP384R1, ec.SECP521R1, ec.SECP256K1])
async def test_119_es256_wants_its_own_curve(curve: type[ec.EllipticCurve]) -> None:
    good, other = ec_key(), ec_key(curve=curve)
    trusted = issuer(algorithms=frozenset({"ES256"}))
    verifier = verifier_of(trusted, key_set(published(good, "k1"), published(other, "k2")))
    text = signing_input(claims(), header(alg="ES256", kid="k2"))
    signature = other.sign(text.encode(), ec.ECDSA(SHA256()))
    raw = der_to_raw_signature(signature, other.curve)
    with pytest.raises(InvalidToken):
        await verifier.verify(f"{text}.{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}", None)


async def test_an_rsa_key_that_is_too_short_is_not_trusted() -> None:
    short = rsa_key("short", 1024)
    verifier = verifier_of(issuer(), key_set(published(short, "k1")))
    with pytest.raises(InvalidToken):
        await verifier.verify(signed(claims(), header(), short), None)


async def test_one_issuers_key_does_not_sign_for_another() -> None:
    one, other = issuer(), issuer(name="other", url="https://other.example")
    verifier = TokenVerifier(
        [
            ExternalIssuer(one, StaticKeys(key_set(published(rsa_key(), "k1")), one.algorithms)),
            ExternalIssuer(other, StaticKeys(key_set(published(rsa_key("second"), "k1")), other.algorithms)),
        ],
        clock=Clock(),
        denied=Denials(),
    )
    assert (await verifier.verify(signed(claims(), header()), None)).id == "example:user-1"
    with pytest.raises(InvalidToken):
        await verifier.verify(signed(claims(iss="https://other.example"), header()), None)


async def test_one_login_with_two_audiences_is_two_issuers() -> None:
    web, batch = issuer(name="web", audience="web"), issuer(name="batch", audience="batch")
    verifier = TokenVerifier(
        [ExternalIssuer(each, StaticKeys(key_set(), each.algorithms)) for each in (web, batch)],
        clock=Clock(),
        denied=Denials(),
    )
    for audience in ("web", "batch"):
        assert (await verifier.verify(signed(claims(aud=audience)), None)).id == f"{audience}:user-1"
    with pytest.raises(InvalidToken):
        await verifier.verify(signed(claims(aud="other")), None)


@pytest.mark.parametrize("name", ["gone", "example:user-1"], ids=["by its own id", "by its caller's id"])
async def test_a_token_that_was_ended_is_refused(name: str) -> None:
    denied = Denials(frozenset({name}))
    verifier = verifier_of(issuer(), key_set(), denied)
    await verifier.verify(signed(claims(jti="here", sub="user-2")), None)
    with pytest.raises(InvalidToken):
        await verifier.verify(signed(claims(jti="gone")), None, administers=True)
    with pytest.raises(InvalidToken):
        await verifier.verify(attackers(jti="forged"), None)
    assert denied.asked == [(("here", "example:user-2"), False), (("gone", "example:user-1"), True)]


@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ("infer pin-version", {"infer", "pin-version"}),
        (["infer", "openid", 7], {"infer"}),
        ("infer:pets", {"infer:pets"}),
        ("admin:keys admin:canary", set()),
        ("", set()),
        (None, set()),
        (7, set()),
        ({"infer": True}, set()),
    ],
)
async def test_an_issuer_gives_known_scopes_and_no_more_than_it_may(said: Any, scopes: set[str]) -> None:
    principal = await world().verifier.verify(signed(claims(scope=said)), None)
    assert principal.scopes == scopes


async def test_claims_have_the_names_that_the_configuration_says() -> None:
    trusted = issuer(
        claims=ClaimNames(tenant="org", scopes="permissions", tier="plan", models="models"),
        tiers=frozenset({"gold"}),
        grants=frozenset({"infer:pets", "admin:canary"}),
        priority_ceiling=Priority.INTERACTIVE,
    )
    verifier = verifier_of(trusted, key_set())
    said = claims(
        org="globex",
        permissions=["infer", "infer:pets", "admin:canary"],
        plan="gold",
        models=["pets", "../x"],
    )
    principal = await verifier.verify(signed(said), None)
    assert principal.tenant == "globex"
    assert principal.scopes == {"infer:pets", "admin:canary"}
    assert principal.tier == "gold"
    assert principal.models == frozenset({"pets"})
    assert principal.priority_ceiling is Priority.INTERACTIVE


async def test_a_missing_claim_grants_nothing() -> None:
    trusted = issuer(claims=ClaimNames(models="models"), tiers=frozenset({"gold"}))
    principal = await verifier_of(trusted, key_set()).verify(signed(claims(tier="platinum")), None)
    assert principal.models == frozenset()
    assert principal.tier == "standard"


async def test_a_fixed_tenant_is_not_the_tokens_to_choose() -> None:
    principal = await verifier_of(issuer(tenant="partner"), key_set()).verify(signed(claims()), None)
    assert principal.tenant == "partner"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"algorithms": frozenset({"HS256"})}, "algorithms"),
        ({"algorithms": frozenset({"RS256", "none"})}, "algorithms"),
        ({"algorithms": frozenset()}, "algorithms"),
        ({"jwks_url": None}, "exactly one"),
        ({"jwks": {"keys": []}}, "exactly one"),
        ({"jwks_url": "http://id.example/jwks"}, "https"),
        ({"audience": ""}, "both are needed"),
        ({"url": ""}, "both are needed"),
        ({"url": "gateway"}, "this gateway's own"),
        ({"name": "Not A Name"}, "name"),
        ({"tenant": "a b"}, "tenant"),
        ({"grants": frozenset({"everything"})}, "grants"),
    ],
)
def test_an_issuer_that_cannot_be_is_refused_at_start(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        issuer(**fields)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FUZZ = settings(deadline=None, max_examples=200, database=None, suppress_health_check=[HealthCheck.too_slow])
_NAMES = ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "tenant", "scope", "tier"]


@FUZZ
@given(
    head=st.dictionaries(st.sampled_from(["typ", "kid", "crit", "b64", "jku", "cty"]), _JSON),
    body=st.dictionaries(st.sampled_from(_NAMES), _JSON),
)
async def test_whatever_a_signed_token_says_it_is_a_caller_or_refused(
    head: dict[str, Any], body: dict[str, Any]
) -> None:
    try:
        principal = await _VERIFIER.verify(signed({**claims(), **body}, {**header(), **head}), None)
    except InvalidToken:
        return
    assert principal.id.startswith("example:")


@FUZZ
@given(text=st.text(max_size=200))
async def test_whatever_text_comes_it_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        await _VERIFIER.verify(text, None)


_VERIFIER = verifier_of(issuer(), key_set())
