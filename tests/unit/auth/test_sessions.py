"""Tokens for pages: narrower than their key, bound to their origins, and gone with it."""

from dataclasses import replace
from typing import Any

import jwt
import pytest
from unit.auth.workshop import NOW, SESSION_SECRET, World, api_key, claims, grant, header, signed, world

from gateway.auth import ApiKey, SessionToken, SessionTokens
from gateway.auth.record import secret_id
from gateway.domain import Principal, Priority, Quota
from gateway.errors import Forbidden, InvalidToken, ValidationFailed

SHOP = "https://shop.example"


async def with_key(**fields: Any) -> tuple[World, ApiKey]:
    here = world()
    _, record = api_key(**fields)
    await here.add(record)
    return here, record


def minted(here: World, record: ApiKey, **wishes: Any) -> SessionToken:
    return here.sessions.mint(record.principal(secret_id(record.hash)), **{"origins": [SHOP], **wishes})


async def entered(here: World, token: SessionToken, origin: str | None = SHOP) -> Principal:
    return await here.authenticator.authenticate(
        authorization=f"Bearer {token.text}", x_api_key=None, origin=origin, peer="192.0.2.1"
    )


async def test_a_page_gets_the_keys_principal_narrowed() -> None:
    here, record = await with_key(
        scopes=frozenset({"infer", "pin-version", "admin:keys"}), quota=Quota(5, 1.0, 5), tier="gold"
    )
    token = minted(here, record, models=["pets"], ttl=300)
    principal = await entered(here, token)
    assert principal == Principal(
        id=record.id,
        tenant="acme",
        scopes=frozenset({"infer"}),
        models=frozenset({"pets"}),
        tier="gold",
        priority_ceiling=Priority.STANDARD,
        quota=Quota(5, 1.0, 5),
        origins=frozenset({SHOP}),
        expires_at=int(NOW) + 300,
        secret_id=secret_id(record.hash),
    )
    assert token.expires_at == int(NOW) + 300


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "http://shop.example",
        "https://shop.example:444",
        "https://shop.example/",
        "https://shop.example.attacker.example",
        "https://SHOP.example",
        "https://a.shop.example",
    ],
)
async def test_another_page_cannot_use_it(origin: str | None) -> None:
    here, record = await with_key()
    with pytest.raises(InvalidToken):
        await entered(here, minted(here, record), origin)


async def test_every_origin_named_may_use_it() -> None:
    here, record = await with_key()
    origins = [
        SHOP,
        "http://localhost:5173",
        "http://[::1]:8080",
        "http://a.example:443",
        "https://a.example:65535",
    ]
    token = minted(here, record, origins=origins)
    for origin in origins:
        assert (await entered(here, token, origin)).id == record.id


async def test_it_ends_after_its_time() -> None:
    here, record = await with_key()
    token = minted(here, record, ttl=60)
    here.wall.now += 89
    await entered(here, token)
    here.wall.now += 1
    with pytest.raises(InvalidToken):
        await entered(here, token)


async def test_it_does_not_outlive_its_key() -> None:
    here, record = await with_key(expires_at=NOW + 100)
    token = minted(here, record)
    assert token.expires_at == NOW + 100
    here.wall.now += 100
    with pytest.raises(InvalidToken):
        await entered(here, token)


async def test_a_revoked_key_takes_its_tokens_along() -> None:
    here, record = await with_key()
    token = minted(here, record)
    await here.add(record.revoked(NOW))
    with pytest.raises(InvalidToken):
        await entered(here, token)


async def test_a_token_is_over_when_the_secret_is_that_made_it() -> None:
    here, record = await with_key()
    token = minted(here, record)
    rotated = record.rotated("b" * 64, NOW, 60)
    await here.add(rotated)
    here.wall.now += 59
    assert (await entered(here, token)).id == record.id
    here.wall.now += 1
    with pytest.raises(InvalidToken):
        await entered(here, token)
    assert (await entered(here, minted(here, rotated))).id == record.id


async def test_what_the_previous_secret_makes_ends_with_it() -> None:
    here, record = await with_key(expires_at=NOW + 300)
    for overlap, lasts in ((60, 60), (600, 300)):
        rotated = record.rotated("b" * 64, NOW, overlap)
        await here.add(rotated)
        token = here.sessions.mint(rotated.principal(secret_id(record.hash)), origins=[SHOP])
        assert token.expires_at == NOW + lasts
        assert (await entered(here, token)).expires_at == NOW + lasts


async def test_a_second_rotation_ends_what_the_oldest_secret_made() -> None:
    here, record = await with_key()
    token = minted(here, record)
    await here.add(record.rotated("b" * 64, NOW, 600).rotated("c" * 64, NOW, 600))
    with pytest.raises(InvalidToken):
        await entered(here, token)


async def test_within_the_second_of_a_rotation_the_secret_decides() -> None:
    """Both were made in the same second, by clocks that differ: the newer one before the older one."""
    here, record = await with_key()
    rotated = record.rotated("b" * 64, NOW, 0)
    newer = minted(here, rotated)
    here.wall.now += 0.5
    older = minted(here, record)
    await here.add(rotated)
    assert (await entered(here, newer)).id == record.id
    with pytest.raises(InvalidToken):
        await entered(here, older)


async def test_a_key_that_lost_rights_takes_them_from_its_tokens() -> None:
    here, record = await with_key(
        scopes=frozenset({"infer", "pin-version"}), models=frozenset({"pets", "cars"})
    )
    token = minted(here, record, scopes=["infer", "pin-version"], models=["pets", "cars"])
    await here.add(
        replace(record, grant=grant(scopes=frozenset({"infer"}), models=frozenset({"cars"})), revision=2)
    )
    principal = await entered(here, token)
    assert principal.scopes == {"infer"}
    assert principal.models == frozenset({"cars"})


async def test_without_wishes_it_may_infer_what_the_key_may_and_nothing_more() -> None:
    here, record = await with_key(scopes=frozenset({"infer:pets", "pin-version", "admin:models"}))
    token = minted(here, record)
    assert token.scopes == {"infer:pets"}
    assert (await entered(here, token)).models is None


@pytest.mark.parametrize("scopes", [["admin:canary"], ["infer", "admin:keys"], []])
async def test_what_the_key_lacks_cannot_be_asked_for(scopes: list[str]) -> None:
    here, record = await with_key()
    with pytest.raises(Forbidden):
        minted(here, record, scopes=scopes)


@pytest.mark.parametrize(
    "scope",
    ["infer:pets admin:keys", "infer:pets\tadmin:keys", "infer:", "infer:../pets", "admin:*", "x", ""],
)
async def test_what_is_no_scope_cannot_be_asked_for(scope: str) -> None:
    here, record = await with_key(scopes=frozenset({"infer", "admin:keys"}))
    with pytest.raises(ValidationFailed) as refused:
        minted(here, record, scopes=["infer", scope])
    assert refused.value.errors[0].pointer == "/scopes"


async def test_a_token_that_names_the_scope_of_keys_does_not_have_it() -> None:
    here, record = await with_key(scopes=frozenset({"infer", "admin:keys"}))
    own: dict[str, Any] = {"iss": "gateway", "aud": "gateway", "sub": record.id, "exp": int(NOW) + 60}
    body = {
        **claims(**own),
        "secret_id": secret_id(record.hash),
        "origins": [SHOP],
        "scope": "infer admin:keys",
    }
    text = signed(body, header(alg="HS256", typ="gw-session+jwt", kid="session"), SESSION_SECRET)
    assert (await entered(here, SessionToken("", 0, frozenset(), text))).scopes == {"infer"}


async def test_one_model_is_part_of_all() -> None:
    here, record = await with_key()
    assert minted(here, record, scopes=["infer:pets"]).scopes == {"infer:pets"}


async def test_a_page_never_manages_keys() -> None:
    here, record = await with_key(scopes=frozenset({"admin:keys", "admin:canary"}))
    assert minted(here, record, scopes=["admin:canary"]).scopes == {"admin:canary"}
    with pytest.raises(Forbidden):
        minted(here, record, scopes=["admin:keys"])


@pytest.mark.parametrize("models", [["cars"], ["pets", "cars"], []])
async def test_models_beyond_the_keys_cannot_be_asked_for(models: list[str]) -> None:
    here, record = await with_key(models=frozenset({"pets"}))
    with pytest.raises(Forbidden):
        minted(here, record, models=models)


async def test_a_token_does_not_make_tokens() -> None:
    here, record = await with_key()
    principal = await entered(here, minted(here, record))
    with pytest.raises(Forbidden):
        here.sessions.mint(principal, origins=[SHOP])


async def test_somebody_elses_token_does_not_make_tokens() -> None:
    here = world()
    principal = await here.verifier.verify(signed(claims()), None)
    with pytest.raises(Forbidden):
        here.sessions.mint(principal, origins=[SHOP])


@pytest.mark.parametrize("ttl", [0, -1, 901, float("inf"), float("nan")])
async def test_fifteen_minutes_are_the_most(ttl: float) -> None:
    here, record = await with_key()
    with pytest.raises(ValidationFailed) as refused:
        minted(here, record, ttl=ttl)
    assert refused.value.errors[0].pointer == "/ttl"


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "",
        "shop.example",
        "https://*.shop.example",
        "https://shop.example/",
        "https://shop.example/page",
        "https://Shop.example",
        "https://user@shop.example",
        "ftp://shop.example",
        "https://shop.example\n",
        "https://",
        "https://shop.example:",
        "https://shop.example:99999",
        "https://shop.example:65536",
        "https://shop.example:0",
        "https://shop.example:08443",
        "https://shop.example:443",
        "http://shop.example:80",
        "http://[::1]:80",
    ],
)
async def test_what_no_browser_sends_is_no_origin(origin: str) -> None:
    here, record = await with_key()
    with pytest.raises(ValidationFailed) as refused:
        minted(here, record, origins=[SHOP, origin])
    assert refused.value.errors[0].pointer == "/origins"


@pytest.mark.parametrize("origins", [[], [f"https://s{number}.example" for number in range(17)]])
async def test_some_origins_and_not_too_many(origins: list[str]) -> None:
    here, record = await with_key()
    with pytest.raises(ValidationFailed):
        minted(here, record, origins=origins)


async def test_no_token_is_made_that_would_be_too_long_to_be_taken() -> None:
    here, record = await with_key()
    names = [f"{number:064}" for number in range(256)]
    for known in (1, 80):
        await entered(here, minted(here, record, models=names[:known]))
    with pytest.raises(ValidationFailed, match="at most 8192 bytes"):
        minted(here, record, models=names)


FORGERIES: dict[str, tuple[dict[str, Any], dict[str, Any], bytes]] = {
    "another secret": ({}, {}, b"x" * 32),
    "another type": ({}, {"typ": "JWT"}, SESSION_SECRET),
    "another key id": ({}, {"kid": "other"}, SESSION_SECRET),
    "another algorithm": ({}, {"alg": "HS512"}, SESSION_SECRET),
    "a life that is too long": ({"exp": int(NOW) + 3600}, {}, SESSION_SECRET),
    "another audience": ({"aud": "other"}, {}, SESSION_SECRET),
    "another secret of the key": ({"secret_id": "b" * 16}, {}, SESSION_SECRET),
}


@pytest.mark.parametrize(("said", "head", "secret"), FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_token_made_elsewhere_is_refused(
    said: dict[str, Any], head: dict[str, Any], secret: bytes
) -> None:
    here, record = await with_key()
    own: dict[str, Any] = {"iss": "gateway", "aud": "gateway", "sub": record.id, "exp": int(NOW) + 60}
    body = {**claims(**own), "secret_id": secret_id(record.hash), "origins": [SHOP], "scope": "infer", **said}
    token = signed(
        body, header(**{"alg": "HS256", "typ": "gw-session+jwt", "kid": "session", **head}), secret
    )
    with pytest.raises(InvalidToken):
        await entered(here, SessionToken("", 0, frozenset(), token))


async def test_the_token_itself_shows_no_secret() -> None:
    here, record = await with_key()
    said = jwt.decode(minted(here, record).text, options={"verify_signature": False})
    assert set(said) == {"iss", "aud", "sub", "jti", "iat", "exp", "scope", "origins", "secret_id"}
    assert said["secret_id"] == record.hash[:16]
    assert said["sub"] == record.id
    assert said["jti"]
    assert said["exp"] - said["iat"] == 900


def test_a_short_secret_is_refused_without_being_shown() -> None:
    here = world()
    with pytest.raises(ValueError, match="it needs 32") as refused:
        SessionTokens(secret=b"hunter2", ring=here.ring, clock=here.wall)
    assert "hunter2" not in str(refused.value)


async def test_a_token_of_an_older_gateway_goes_by_the_older_secret() -> None:
    here, record = await with_key()
    own: dict[str, Any] = {"iss": "gateway", "aud": "gateway", "sub": record.id, "exp": int(NOW) + 60}
    body = {**claims(**own), "origins": [SHOP], "scope": "infer"}
    text = signed(body, header(alg="HS256", typ="gw-session+jwt", kid="session"), SESSION_SECRET)
    token = SessionToken("", 0, frozenset(), text)
    assert (await entered(here, token)).id == record.id
    await here.add(record.rotated("b" * 64, NOW, 600))
    assert (await entered(here, token)).id == record.id
    await here.add(record.rotated("b" * 64, NOW, 0))
    with pytest.raises(InvalidToken):
        await entered(here, token)
