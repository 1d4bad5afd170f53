"""From headers to a caller: who passes, which answer the others get, and that it tells them nothing."""

import random
import statistics
import time
import traceback

import pytest
import structlog.testing
from unit.auth.workshop import (
    HASHER,
    NOW,
    PEPPER,
    SESSION_SECRET,
    World,
    api_key,
    claims,
    header,
    rsa_key,
    signed,
    world,
)

from gateway.auth import IssuedKey, require_inference, require_scope
from gateway.auth import keys as key_text
from gateway.auth.keys import generate, new_id
from gateway.auth.record import secret_id
from gateway.domain import Principal
from gateway.errors import (
    AmbiguousCredentials,
    Forbidden,
    GatewayError,
    InvalidKey,
    InvalidToken,
    Overloaded,
    RateLimited,
    Unauthenticated,
)


async def ask(
    here: World, authorization: str | None = None, key: str | None = None, peer: str = "192.0.2.1"
) -> Principal:
    return await here.authenticator.authenticate(authorization=authorization, x_api_key=key, peer=peer)


@pytest.mark.parametrize(
    ("scheme", "as_header"),
    [
        pytest.param("Bearer ", False, id="Bearer"),
        pytest.param("bearer ", False, id="the scheme in lower case"),
        pytest.param("Bearer  ", False, id="two spaces"),
        pytest.param("", True, id="X-API-Key"),
    ],
)
async def test_a_key_passes_either_way(scheme: str, as_header: bool) -> None:
    here = world()
    text, record = api_key()
    await here.add(record)
    principal = await (ask(here, key=text) if as_header else ask(here, scheme + text))
    assert principal == record.principal(secret_id(record.hash))


async def test_a_token_passes_as_bearer_only() -> None:
    here = world()
    await here.add()
    token = signed(claims())
    assert (await ask(here, f"Bearer  {token}")).id == "example:user-1"
    with pytest.raises(InvalidKey):
        await ask(here, key=token)


@pytest.mark.parametrize("authorization", [None, "", "Basic dXNlcjpwYXNz", "Bearer", "gw_live_x", "Digest x"])
async def test_112_no_credential_at_all(authorization: str | None) -> None:
    expected = InvalidToken if authorization == "Bearer" else Unauthenticated
    with pytest.raises(expected):
        await ask(world(), authorization)


async def test_113_two_credentials_are_ambiguous_even_when_both_are_good_or_the_same() -> None:
    here = world()
    text, record = api_key()
    await here.add(record)
    for authorization in (f"Bearer {signed(claims())}", f"Bearer {text}", "Basic x", ""):
        with pytest.raises(AmbiguousCredentials):
            await ask(here, authorization, text)


async def test_120_every_wrong_key_gets_the_same_answer() -> None:
    here = world(failures=1000)
    text, record = api_key()
    revoked_text, revoked = api_key()
    expired_text, expired = api_key(expires_at=NOW)
    rotated_text, rotated = api_key()
    await here.add(record, revoked.revoked(NOW), expired, rotated.rotated("b" * 64, NOW - 60, 60))
    wrong = {
        "revoked": revoked_text,
        "expired": expired_text,
        "rotated away": rotated_text,
        "right id, wrong secret": generate("test", record.id),
        "another environment": generate("live", record.id),
        "unknown id": generate("test", new_id()),
        "bad checksum": text[:-1] + ("A" if text[-1] != "A" else "B"),
        "trailing space": text + " ",
        "trailing newline": text + "\n",
        "trailing tab": text + "\t",
        "half": text[:20],
        "twice": text + text,
        "the hash": record.hash,
        "empty": "",
    }
    answers = set()
    for key in wrong.values():
        with pytest.raises(InvalidKey) as refused:
            await ask(here, key=key)
        answers.add((type(refused.value), str(refused.value), refused.value.retry_after))
    assert len(answers) == 1
    for name in ("trailing space", "trailing newline", "unknown id"):
        with pytest.raises(InvalidKey):
            await ask(here, f"Bearer {wrong[name]}")


async def test_121_a_caller_without_a_scope_is_forbidden() -> None:
    here = world()
    text, record = api_key(scopes=frozenset({"pin-version"}))
    await here.add(record)
    principal = await ask(here, key=text)
    with pytest.raises(Forbidden):
        require_inference(principal)
    with pytest.raises(Forbidden):
        require_scope(principal, "admin:keys")


async def test_122_a_thousand_bad_keys_from_one_peer_are_throttled_after_twenty() -> None:
    here = world()
    text, record = api_key()
    await here.add(record)
    outcomes: list[type[GatewayError]] = []
    for _ in range(1000):
        with pytest.raises((InvalidKey, RateLimited)) as refused:
            await ask(here, key=generate("test", new_id()))
        outcomes.append(type(refused.value))
    assert outcomes == [InvalidKey] * 20 + [RateLimited] * 980
    assert refused.value.retry_after == 60
    with pytest.raises(InvalidKey):
        await ask(here, key="gw_x", peer="192.0.2.2")
    assert await ask(here, key=text, peer="192.0.2.2")
    assert await ask(here, key=text), "a good key passes from a throttled address too"
    here.monotonic.now += 60
    with pytest.raises(InvalidKey):
        await ask(here, key="gw_x")


async def test_bad_tokens_count_and_missing_credentials_do_not() -> None:
    here = world(failures=3)
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await ask(here)
    for _ in range(3):
        with pytest.raises(InvalidToken):
            await ask(here, "Bearer x")
    with pytest.raises(RateLimited):
        await ask(here, "Bearer x")
    with pytest.raises(Unauthenticated):
        await ask(here)


async def test_without_a_trusted_copy_of_the_keys_the_fault_is_ours_and_nobodys_failure() -> None:
    here = world(failures=1)
    text, _ = api_key()
    for _ in range(5):
        with pytest.raises(Overloaded) as refused:
            await ask(here, key=text)
        assert refused.value.retry_after == 1


async def test_a_rotated_key_passes_with_both_secrets_during_the_overlap() -> None:
    here = world()
    text, record = api_key()
    new = generate("test", record.id)
    await here.add(record.rotated(HASHER.digest(new), NOW, 60))
    assert (await ask(here, key=text)).expires_at == NOW + 60
    assert (await ask(here, key=new)).expires_at is None
    here.wall.now += 60
    assert await ask(here, key=new)
    with pytest.raises(InvalidKey):
        await ask(here, key=text)


async def test_no_secret_shows_in_anything_that_could_be_printed() -> None:
    here = world()
    text, record = api_key(scopes=frozenset({"infer"}))
    bad = generate("test", record.id)
    forged = signed(claims(), header(), rsa_key("attacker"))
    with structlog.testing.capture_logs() as lines:
        await here.add(record)
        page = here.sessions.mint(record.principal(secret_id(record.hash)), origins=["https://shop.example"])
        here.shelf.empty()
        await here.ring.refresh()
        told: list[object] = []
        for authorization, key in ((None, bad), (f"Bearer {forged}", None), (f"Bearer {page.text}", None)):
            with pytest.raises(GatewayError) as refused:
                await ask(here, authorization, key)
            told += [
                str(refused.value),
                refused.value.internal,
                "".join(traceback.format_exception(refused.value)),
            ]
    told += [lines, page, record, IssuedKey(record, text), key_text.parse(text), HASHER, here.ring.status()]
    told += [here.sessions, here.authenticator, here.ring, here.verifier, vars(vars(here.ring)["_freshness"])]
    shown = "\n".join(map(repr, told)) + "\n".join(map(str, told))
    for secret in (text, bad, forged, page.text, record.hash, PEPPER.decode(), SESSION_SECRET.decode()):
        assert secret not in shown
        assert secret[-38:] not in shown


async def test_an_unknown_id_takes_as_long_as_a_wrong_secret() -> None:
    here = world(failures=10**9)
    records = [api_key()[1] for _ in range(200)]
    await here.add(*records)
    wrong_secret = [generate("test", record.id) for record in records]
    unknown_id = [generate("test", new_id()) for _ in records]

    async def once(key: str) -> int:
        began = time.perf_counter_ns()
        try:
            await here.authenticator.authenticate(authorization=None, x_api_key=key, peer="192.0.2.1")
        except InvalidKey:
            return time.perf_counter_ns() - began
        raise AssertionError("a wrong key passed")

    ratios = []
    for _ in range(5):  # a busy machine may spoil a round; a real difference would show in all
        taken: dict[str, list[int]] = {"wrong": [], "unknown": []}
        for _ in range(20):
            pairs = [("wrong", key) for key in wrong_secret] + [("unknown", key) for key in unknown_id]
            random.shuffle(pairs)
            for kind, key in pairs:
                taken[kind].append(await once(key))
        wrong, unknown = statistics.median(taken["wrong"]), statistics.median(taken["unknown"])
        ratios.append(wrong / unknown)
        if 0.9 <= ratios[-1] <= 1.1:
            return
    raise AssertionError(f"p50 of a wrong secret over p50 of an unknown id: {ratios}")
