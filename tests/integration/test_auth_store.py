"""API keys in a real Redis: every worker's copy follows, and a Redis that is away, cut off or empty is survived."""

import asyncio
import contextlib
import importlib.resources
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog.testing
from stack import Addresses, free_addresses
from support.redis_server import Server, connected, serving, until

from gateway.auth import (
    Grant,
    IssuedKey,
    KeyHasher,
    KeyIsRevoked,
    KeyRing,
    KeyStore,
    KeyStoreAway,
    UnknownKey,
    UnreadableKey,
)
from gateway.auth.record import accepts
from gateway.auth.store import KEYS, Change
from gateway.domain import Priority, Quota
from gateway.errors import Overloaded, ValidationFailed
from gateway.store import marks_of

HASHER = KeyHasher(b"a pepper that only these tests use")
GRANT = Grant("acme", frozenset({"infer"}), "standard", Priority.STANDARD)
PROMISED = 2.0  # seconds until a change holds everywhere


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(free_addresses()) as started:
        yield started


@contextlib.asynccontextmanager
async def store_at(at: Addresses, **options: object) -> AsyncIterator[KeyStore]:
    async with connected(at, **options) as client:
        yield KeyStore(client, hasher=HASHER, environment="test", clock=time.time)


@contextlib.asynccontextmanager
async def worker(at: Addresses, grace: float = 3600) -> AsyncIterator[KeyRing]:
    """A ring as a worker runs it, on connections of its own."""
    async with store_at(at) as store:
        ring = KeyRing(store, clock=time.monotonic, grace=grace)
        watch = asyncio.create_task(ring.watch())
        try:
            await until(lambda: ring.status().fresh)
            yield ring
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch


def passes(ring: KeyRing, issued: IssuedKey) -> bool:
    return accepts(ring.find(issued.record.id), HASHER.digest(issued.secret), time.time())


async def test_a_key_is_made_read_listed_rotated_and_revoked(server: Server) -> None:
    async with store_at(server.at) as store:
        issued = await store.create(
            Grant(
                "acme",
                frozenset({"infer"}),
                "gold",
                Priority.INTERACTIVE,
                frozenset({"pets"}),
                Quota(5, 1.0, 5),
            )
        )
        other = await store.create(GRANT)
        key_id = issued.record.id
        assert issued.secret.startswith(f"gw_test_{key_id}_")
        assert await store.get(key_id) == issued.record
        assert (await store.listing()).records == [issued.record, other.record]
        rotated = await store.rotate(key_id, overlap=60)
        assert rotated.record.id == key_id
        assert rotated.secret != issued.secret
        assert accepts(rotated.record, HASHER.digest(issued.secret), time.time())
        revoked = await store.revoke(key_id)
        assert revoked.revoked_at is not None
        assert await store.revoke(key_id) == revoked
        with pytest.raises(KeyIsRevoked):
            await store.rotate(key_id, overlap=60)
        assert [record.revoked_at is None for record in (await store.listing()).records] == [False, True]


async def test_what_does_not_exist_cannot_be_changed(server: Server) -> None:
    async with store_at(server.at) as store:
        await store.create(GRANT)
        for key_id in ("nobody00", ":epoch", ":version", ""):
            for change in (store.get(key_id), store.revoke(key_id), store.rotate(key_id, overlap=0)):
                with pytest.raises((UnknownKey, ValueError)):
                    await change


async def test_a_key_that_cannot_be_read_any_more_is_told_and_can_be_revoked(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as ring:
        issued, other = await store.create(GRANT), await store.create(GRANT)
        key_id = issued.record.id
        await until(lambda: passes(ring, issued))
        admin = server.admin()
        admin.hset(KEYS, key_id, admin.hget(KEYS, key_id)[:40])
        for change in (store.get(key_id), store.rotate(key_id, overlap=0)):
            with pytest.raises(UnreadableKey, match=key_id):
                await change
        listed = await store.listing()
        assert (listed.records, listed.unreadable) == ([other.record], [key_id])
        assert passes(ring, issued)
        revoked = await store.revoke(key_id)
        assert await store.revoke(key_id) == revoked == await store.get(key_id)
        assert await until(lambda: not passes(ring, issued)) < PROMISED
        assert (await store.listing()).unreadable == []


async def test_a_wish_that_cannot_be_changes_nothing(server: Server) -> None:
    async with store_at(server.at) as store:
        issued = await store.create(GRANT)
        with pytest.raises(ValidationFailed):
            await store.create(Grant("", frozenset(), "standard", Priority.STANDARD))
        for overlap in (-1.0, float("nan"), 1e9):
            with pytest.raises(ValidationFailed):
                await store.rotate(issued.record.id, overlap=overlap)
        assert (await store.position()).version == 1


async def test_the_store_holds_no_secret(server: Server) -> None:
    async with store_at(server.at) as store:
        issued = await store.create(GRANT)
        rotated = await store.rotate(issued.record.id, overlap=60)
    everything = json.dumps(server.admin().hgetall("gw:keys"))
    assert issued.record.hash in everything
    for secret in (issued.secret, rotated.secret):
        assert secret not in everything
        assert secret[-38:-6] not in everything


async def test_writers_at_the_same_moment_lose_nothing(server: Server) -> None:
    async with store_at(server.at) as one, store_at(server.at) as other:
        made = await asyncio.gather(*(store.create(GRANT) for store in (one, other) for _ in range(10)))
        assert len((await one.listing()).records) == 20
        assert (await one.position()).version == 20
        key_id = made[0].record.id
        outcomes = await asyncio.gather(
            one.revoke(key_id),
            *(store.rotate(key_id, overlap=60) for store in (one, other, one)),
            return_exceptions=True,
        )
        assert all(isinstance(o, KeyIsRevoked) or not isinstance(o, BaseException) for o in outcomes)
        assert (await other.get(key_id)).revoked_at is not None


@pytest.mark.parametrize("decode", [False, True], ids=["bytes", "text"])
async def test_it_does_not_matter_how_the_client_answers(server: Server, decode: bool) -> None:
    async with store_at(server.at, decode_responses=decode) as store:
        issued = await store.create(GRANT)
        assert (await store.rotate(issued.record.id, overlap=1)).record == await store.get(issued.record.id)


async def test_a_user_with_these_rights_and_no_others_is_enough(server: Server) -> None:
    rights = "+evalsha +script|load +time +hget +hmget +hgetall +hset +hsetnx +hincrby +publish +subscribe"
    server.admin().execute_command(
        "ACL", "SETUSER", "keys", "on", ">word", "resetchannels", "~gw:*", "&gw:*", *rights.split()
    )
    async with store_at(server.at, username="keys", password="word") as store:
        ring = KeyRing(store, clock=time.monotonic)
        watch = asyncio.create_task(ring.watch())
        issued = await store.create(GRANT)
        assert await until(lambda: ring.status().fresh and passes(ring, issued)) < 0.9
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def test_a_change_holds_on_every_worker_at_once(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as one, worker(server.at) as other:
        taken = []
        for _ in range(20):
            issued = await store.create(GRANT)
            await until(lambda i=issued: passes(one, i) and passes(other, i))  # type: ignore[misc]
            rotated = await store.rotate(issued.record.id, overlap=0)
            await until(lambda r=rotated: passes(one, r) and passes(other, r))  # type: ignore[misc]
            assert not passes(other, issued)
            await store.revoke(issued.record.id)
            taken.append(await until(lambda r=rotated: not passes(one, r) and not passes(other, r)))  # type: ignore[misc]
        assert max(taken) < 0.5


async def test_a_revocation_holds_within_two_seconds_without_pub_sub(server: Server) -> None:
    admin = server.admin()
    async with store_at(server.at) as store, worker(server.at) as one, worker(server.at) as other:
        taken = []
        for _ in range(5):
            issued = await store.create(GRANT)
            await until(lambda i=issued: passes(one, i) and passes(other, i))  # type: ignore[misc]
            admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            began = time.monotonic()
            await store.revoke(issued.record.id)
            while passes(one, issued) or passes(other, issued):
                admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                await asyncio.sleep(0.01)
                assert time.monotonic() - began <= PROMISED
            taken.append(time.monotonic() - began)


async def test_hints_come_back_after_their_connection_was_cut(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as ring:
        server.admin().execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(1.2)
        for _ in range(3):
            issued = await store.create(GRANT)
            assert await until(lambda i=issued: passes(ring, i)) < 0.3  # type: ignore[misc]


async def test_an_outage_is_survived_for_the_grace_and_ends_by_itself() -> None:
    at = free_addresses()
    with serving(at) as server:
        async with store_at(at) as store, worker(at, grace=3) as ring:
            issued = await store.create(GRANT)
            await until(lambda: passes(ring, issued))
            server.process.stop(signal.SIGKILL)
            await until(lambda: not ring.status().fresh, within=3)
            assert passes(ring, issued)
            with pytest.raises(KeyStoreAway):
                await store.revoke(issued.record.id)
            await until(lambda: not ring.status().usable, within=5)
            with pytest.raises(Overloaded):
                ring.find(issued.record.id)
            with serving(at):
                await until(lambda: ring.status().usable and ring.status().fresh, within=3)
                assert passes(ring, issued), "the new Redis was empty, so the key was written back"


async def test_a_frozen_redis_is_an_outage_and_no_more(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as ring:
        issued = await store.create(GRANT)
        await until(lambda: passes(ring, issued))
        server.process.popen.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: not ring.status().fresh, within=5)
            assert passes(ring, issued)
        finally:
            server.process.popen.send_signal(signal.SIGCONT)
        await until(lambda: ring.status().fresh, within=3)


async def test_a_replica_that_takes_over_without_a_revocation_does_not_undo_it(server: Server) -> None:
    async with store_at(server.at) as store:
        ring = KeyRing(store, clock=time.monotonic)
        issued = await store.create(GRANT)
        take_over = server.copied(KEYS, marks_of(KEYS))
        await store.revoke(issued.record.id)
        await ring.refresh()
        take_over()
        await store.create(GRANT)
        await ring.refresh()
        assert (await store.get(issued.record.id)).revoked_at is not None
        assert ring.status().keys == 2


async def test_what_was_given_up_is_not_done_afterwards(server: Server) -> None:
    async with store_at(server.at) as store:
        issued = await store.create(GRANT)
        with server.frozen():
            for change in (
                store.create(GRANT),
                store.rotate(issued.record.id, overlap=0),
                store.write([Change("late0000", None, "{}")], until=round(time.time() * 1000)),
            ):
                with pytest.raises(KeyStoreAway):
                    await change
        other = await store.create(GRANT)  # what was sent before this, Redis has read
        assert (await store.listing()).records == [issued.record, other.record]
        assert (await store.position()).version == 2


@pytest.mark.parametrize("way", ["FLUSHALL", "restart"])
async def test_an_emptied_store_is_filled_again_and_revocations_still_hold(way: str) -> None:
    at = free_addresses()
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(serving(at))
        async with store_at(at) as store, worker(at) as one, worker(at) as other:
            kept, revoked = await store.create(GRANT), await store.create(GRANT)
            await store.revoke(revoked.record.id)
            await until(lambda: all(passes(r, kept) and r.find(revoked.record.id) for r in (one, other)))
            await until(lambda: not passes(one, revoked) and not passes(other, revoked))
            with structlog.testing.capture_logs() as lines:
                if way == "FLUSHALL":
                    server.admin().flushall()
                else:
                    server.process.stop(signal.SIGKILL)
                    servers.enter_context(serving(at))
                admin = server.admin()
                await until(lambda: admin.hlen("gw:keys") == 4, within=4)
                await until(lambda: one.status().fresh and other.status().fresh, within=4)
            assert any(line["event"] == "keys_store_lost" and line["log_level"] == "error" for line in lines)
            new = await store.create(GRANT)
            async with worker(at) as newcomer:
                for ring in (one, other, newcomer):
                    await until(lambda r=ring: passes(r, kept) and passes(r, new))  # type: ignore[misc]
                    assert not passes(ring, revoked)
            await store.revoke(kept.record.id)
            await until(lambda: not passes(one, kept) and not passes(other, kept))


async def test_a_lost_script_is_loaded_again(server: Server) -> None:
    async with store_at(server.at) as store:
        await store.create(GRANT)
        server.admin().script_flush()
        await store.create(GRANT)


async def test_something_else_in_the_place_of_the_keys_is_an_outage(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as ring:
        issued = await store.create(GRANT)
        await until(lambda: passes(ring, issued))
        admin = server.admin()
        for spoil in (
            lambda: admin.hset("gw:keys", ":version", "many"),
            lambda: (admin.delete("gw:keys"), admin.set("gw:keys", "text")),
        ):
            spoil()
            await until(lambda: not ring.status().fresh, within=3)
            assert passes(ring, issued)
        admin.delete("gw:keys")
        await until(lambda: ring.status().fresh and admin.hlen("gw:keys") == 3, within=3)
        assert passes(ring, issued)


@pytest.mark.parametrize(
    ("package", "name"), [("gateway.store", "read"), ("gateway.auth", "write"), ("gateway.store", "clock")]
)
def test_the_scripts_travel_with_the_packages(package: str, name: str) -> None:
    assert importlib.resources.files(package).joinpath(f"{name}.lua").is_file()


async def test_a_worker_stops_when_it_is_told_also_while_it_connects_again(server: Server) -> None:
    admin = server.admin()
    for turn in range(30):
        async with store_at(server.at) as store:
            ring = KeyRing(store, clock=time.monotonic)
            watch = asyncio.create_task(ring.watch())
            await until(lambda r=ring: r.status().fresh)  # type: ignore[misc]
            for _ in range(3):
                admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                await asyncio.sleep(0.001 * (turn % 7))
            watch.cancel()
            done, _ = await asyncio.wait([watch], timeout=3)
            assert done
