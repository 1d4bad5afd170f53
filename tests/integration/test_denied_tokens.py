"""Ended tokens in a real Redis: what is written is read, by every worker, and is forgotten when its time is over."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from processes import running, wait_listening
from redis.asyncio import Redis
from stack import ROOT, Addresses, free_addresses, store_environment
from stack import redis as redis_part
from support.guarded import corp_token, guarded

from gateway.auth import DeniedTokens, DenyList
from gateway.auth.tokens import LEEWAY
from gateway.errors import ValidationFailed
from gateway.store import Area, Audit, StoreAway, connect

PROMISED = 2.0  # seconds until an ended token is refused everywhere


@pytest.fixture
async def client(redis: Addresses) -> AsyncIterator[Redis]:
    async with connect(store_environment(redis)["GATEWAY_REDIS_URL"], timeout=1.0) as connected:
        await connected.delete("gw:denied")
        yield connected


@contextlib.asynccontextmanager
async def worker(client: Redis) -> AsyncIterator[DenyList]:
    copy = DenyList(DeniedTokens(client), clock=time.monotonic, wall=time.time)
    watch = asyncio.create_task(copy.watch())
    try:
        await until_fresh(copy)
        yield copy
    finally:
        watch.cancel()
        await asyncio.wait([watch])


async def until_fresh(copy: DenyList) -> None:
    async with asyncio.timeout(PROMISED):
        while not copy.fresh:
            await asyncio.sleep(0.01)


async def until_denied(name: str, *copies: DenyList) -> float:
    began = time.monotonic()
    async with asyncio.timeout(PROMISED):
        while not all(copy.denies(name) for copy in copies):
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_longer_time_wins_and_what_is_over_is_swept(client: Redis) -> None:
    store, now = DeniedTokens(client), time.time()
    await store.deny({"long": now + 100, "over": now - LEEWAY - 2, "just over": now - 1})
    await store.deny({"long": now + 50, "ümlaut|x": now + 5.5})
    found = await store.read(now)
    assert set(found) == {"long", "ümlaut|x"}
    assert 100 <= found["long"] - now < 101
    assert "just over" in await store.read(now - 5)  # by the clock of a worker that is behind
    assert await client.zcard("gw:denied") == 3
    assert await store.read(now + 60) == {"long": found["long"]}


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 1025])
async def test_a_name_that_no_token_has_is_refused(client: Redis, name: str) -> None:
    with pytest.raises(ValidationFailed):
        await DeniedTokens(client).end(name, time.time() + 1)
    assert await client.zcard("gw:denied") == 0


async def test_every_worker_knows_within_two_seconds_and_tells_a_list_that_was_emptied(client: Redis) -> None:
    async with worker(client) as one, worker(client) as other:
        await DeniedTokens(client).end("gone", time.time() + 60)
        assert await until_denied("gone", one, other) < PROMISED
        await client.delete("gw:denied")
        async with asyncio.timeout(PROMISED):
            while not await client.zcard("gw:denied"):
                await asyncio.sleep(0.01)
        assert one.denies("gone")
        assert other.denies("gone")


async def test_something_else_in_its_place_is_an_outage(client: Redis) -> None:
    await client.set("gw:denied", "surprise")
    with pytest.raises(StoreAway):
        await DeniedTokens(client).read(0)
    with pytest.raises(StoreAway):
        await DeniedTokens(client).end("gone", time.time() + 60)


async def revoked(redis: Addresses, *words: str) -> tuple[int | None, str, str]:
    """Exit code, output and errors of `gateway tokens revoke`."""
    done = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", "-m", "gateway", "tokens", "revoke", *words],
        env={**os.environ, **store_environment(redis)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    printed, errors = await done.communicate()
    return done.returncode, printed.decode(), errors.decode()


async def test_the_command_line_ends_a_token_and_notes_that_it_did(redis: Addresses, client: Redis) -> None:
    name = "corp:https://id.example/7"
    async with worker(client) as copy:
        assert await revoked(redis, name) == (0, f"{name} is ended\n", "")
        await until_denied(name, copy)
    (note,) = await Audit(client).notes(lambda note: note.area is Area.KEYS, limit=1)
    assert (note.actor, note.action, note.subject) == ("command line", "end", name)


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "soon"])
async def test_a_time_that_is_none_is_refused_in_a_sentence(
    redis: Addresses, client: Redis, seconds: str
) -> None:
    status, printed, errors = await revoked(redis, "gone", "--seconds", seconds)
    assert (status, printed) == (2, "")
    assert f"Invalid value for '--seconds': {seconds}" in errors.replace(repr(seconds), seconds)
    assert await client.zcard("gw:denied") == 0


def test_while_redis_is_away_tokens_pass_on_the_copy_and_the_administration_is_closed(tmp_path: Path) -> None:
    at = free_addresses()
    admin = {"authorization": f"Bearer {corp_token(scope='infer admin:keys')}"}
    with running(redis_part(at)) as store:
        wait_listening(at.redis_address, at.redis_port)
        with guarded(at, tmp_path) as gateway:
            assert gateway.ask(admin, path="/admin/v1/keys").status_code == 200
            stolen = {"authorization": f"Bearer {corp_token(jti='stolen')}"}
            gateway.ask({"x-api-key": gateway.keys["admin:keys"]}, "DELETE", "/admin/v1/tokens/stolen")
            store.stop()
            end = time.monotonic() + 3
            while gateway.ask(path="/readyz").json()["parts"]["denied_tokens_fresh"]:
                assert time.monotonic() < end
            assert gateway.ask(admin).status_code == 200
            assert gateway.ask(stolen).status_code == 401
            closed = gateway.ask(admin, path="/admin/v1/keys")
            assert (closed.status_code, closed.json()["code"]) == (503, "overloaded")
            assert int(closed.headers["retry-after"]) >= 1
