"""Sessions of the console: as much as their key, as long as their key, and nothing but sessions of the console."""

from dataclasses import replace
from typing import Any

import pytest
from unit.auth.workshop import NOW, World, api_key, world

from gateway.auth import ApiKey
from gateway.auth.console import LIFETIME
from gateway.auth.denylist import OUTLIVES_ALL
from gateway.auth.record import secret_id
from gateway.auth.tokens import LEEWAY
from gateway.domain import Principal
from gateway.errors import AmbiguousCredentials, Forbidden, InvalidToken

SCOPES = frozenset({"infer", "admin:canary"})


async def signed_in(**fields: Any) -> tuple[World, ApiKey, str]:
    here = world()
    _, record = api_key(scopes=SCOPES, **fields)
    await here.add(record)
    return here, record, here.consoles.begin(record.principal(secret_id(record.hash))).text


async def entered(here: World, session: str, **others: Any) -> Principal:
    credentials = {"authorization": None, "x_api_key": None, "session": session, **others}
    return await here.authenticator.authenticate(**credentials, administers=True)


async def test_a_session_may_do_what_its_key_may_and_make_no_tokens() -> None:
    here, record, session = await signed_in()
    principal = await entered(here, session)
    assert (principal.id, principal.scopes) == (record.id, SCOPES)
    assert principal.expires_at == int(NOW) + LIFETIME
    with pytest.raises(Forbidden):
        here.sessions.mint(principal, origins=["https://shop.example"])
    with pytest.raises(Forbidden):
        here.consoles.begin(principal)


async def test_it_follows_its_key_at_once() -> None:
    here, record, session = await signed_in()
    narrower = replace(record.grant, scopes=frozenset({"admin:models"}))
    await here.add(replace(record, grant=narrower, revision=record.revision + 1))
    assert (await entered(here, session)).scopes == {"admin:models"}


async def test_it_is_over_when_its_key_is_revoked() -> None:
    here, record, session = await signed_in()
    await here.add(replace(record, revoked_at=NOW, revision=record.revision + 1))
    with pytest.raises(InvalidToken):
        await entered(here, session)


async def test_it_is_over_when_the_secret_is_that_signed_in() -> None:
    here, record, session = await signed_in()
    rotated = record.rotated("b" * 64, NOW, 60)
    await here.add(rotated)
    again = here.consoles.begin(rotated.principal(secret_id(rotated.hash)))
    late = here.consoles.begin(rotated.principal(secret_id(record.hash)))
    assert (again.expires_at, late.expires_at) == (int(NOW) + LIFETIME, NOW + 60)
    assert await entered(here, session)
    assert await entered(here, late.text)
    here.wall.now += 60
    assert await entered(here, again.text)
    for ended in (session, late.text):
        with pytest.raises(InvalidToken):
            await entered(here, ended)


async def test_it_is_over_after_its_lifetime() -> None:
    here, _, session = await signed_in()
    here.wall.now = NOW + LIFETIME + LEEWAY + 1
    with pytest.raises(InvalidToken):
        await entered(here, session)


async def test_it_ends_no_later_than_its_key() -> None:
    here, record, _ = await signed_in(expires_at=NOW + 60)
    assert here.consoles.begin(record.principal(secret_id(record.hash))).expires_at == int(NOW + 60)


async def test_it_is_over_when_it_is_signed_out() -> None:
    here, _, session = await signed_in()
    here.denials.names = frozenset({str((await entered(here, session)).session)})
    with pytest.raises(InvalidToken):
        await entered(here, session)


async def test_it_does_not_come_back_when_it_is_ended_no_longer() -> None:
    """Made by a clock that goes ahead, and ended by one that is right."""
    here, record, _ = await signed_in()
    here.wall.now = NOW + LEEWAY
    session = here.consoles.begin(record.principal(secret_id(record.hash))).text
    here.wall.now = NOW + OUTLIVES_ALL
    with pytest.raises(InvalidToken):
        await entered(here, session)


async def test_neither_it_nor_a_pages_token_passes_for_the_other() -> None:
    here, record, session = await signed_in()
    page = here.sessions.mint(record.principal(secret_id(record.hash)), origins=["https://shop.example"]).text
    with pytest.raises(InvalidToken):
        await entered(here, page)
    with pytest.raises(InvalidToken):
        await here.authenticator.authenticate(authorization=f"Bearer {session}", x_api_key=None)


async def test_beside_another_credential_it_is_ambiguous() -> None:
    here, _, session = await signed_in()
    with pytest.raises(AmbiguousCredentials):
        await entered(here, session, x_api_key="gw_…")
