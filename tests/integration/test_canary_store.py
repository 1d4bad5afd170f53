"""Routes in a real Redis: compare-and-set, the log, and copies that follow whatever happens to Redis."""

import asyncio
import contextlib
import importlib.resources
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
import structlog.testing
from redis.asyncio import Redis
from stack import Addresses, free_addresses
from support.redis_server import Server, cluster, connected, in_background, serving, until

from gateway.canary.counts import CountsReader, Recorder
from gateway.canary.lease import Lease
from gateway.canary.store import MARKS, ROUTES, Cause, LostRace, RouteStore, Stored
from gateway.canary.table import Live, RouteTable
from gateway.errors import ValidationFailed
from gateway.store import StoreAway, connect

PROMISED = 2.0  # seconds until a change holds everywhere
RIGHTS = (
    "resetkeys ~gw:* resetchannels &gw:* -@all "
    "+evalsha +script|load +time +get +set +del +pexpire +hget +hmget +hgetall +hset +hsetnx +hincrby "
    "+xadd +xrange +xrevrange +publish +subscribe +unsubscribe"
)


def by(actor: str, action: str = "put", reason: str = "a test") -> Cause:
    return Cause(actor, action, reason)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(free_addresses()) as started:
        yield started


@contextlib.asynccontextmanager
async def store_at(at: Addresses) -> AsyncIterator[RouteStore]:
    async with connect(f"redis://{at.redis_address}:{at.redis_port}/0", timeout=1.0) as client:
        yield RouteStore(client)


@dataclass
class Worker:
    """A table as a worker runs it; `heard` is what its hook was told, and when."""

    table: RouteTable[str]
    heard: list[tuple[float, str, Live[str] | None]] = field(default_factory=list)

    def generation(self, model: str) -> int:
        live = self.table.route(model)
        return 0 if live is None else live.generation


@contextlib.asynccontextmanager
async def worker(at: Addresses) -> AsyncIterator[Worker]:
    async with store_at(at) as store:
        heard: list[tuple[float, str, Live[str] | None]] = []
        table = RouteTable(
            store,
            readable,
            clock=time.monotonic,
            on_change=lambda model, live: heard.append((time.monotonic(), model, live)),
        )
        async with in_background(table.watch()):
            await until(lambda: table.status().fresh)
            yield Worker(table, heard)


def readable(document: str) -> str:
    if document.startswith("broken"):
        raise ValueError("not a route")
    return document.upper()


async def test_a_route_is_put_read_changed_and_deleted(server: Server) -> None:
    async with store_at(server.at) as store:
        assert await store.get("pets") == Stored(None, 0)
        assert await store.before("pets") is None
        assert await store.put("pets", "one", 0, by("ann")) == 1
        assert await store.put("pets", "two\n ü", 1, by("ben")) == 2
        assert await store.get("pets") == Stored("two\n ü", 2)
        assert await store.before("pets") == Stored("one", 1)
        assert await store.put("signs", "other", 0, by("ann")) == 1
        assert (await store.read()).routes == {"pets": Stored("two\n ü", 2), "signs": Stored("other", 1)}
        assert await store.put("pets", None, 2, by("ann")) == 3
        assert await store.get("pets") == Stored(None, 3)


async def test_a_deleted_route_leaves_its_generation_so_that_an_old_one_never_fits_again(
    server: Server,
) -> None:
    async with store_at(server.at) as store:
        await store.put("pets", "one", 0, by("ann"))
        await store.put("pets", None, 1, by("ann"))
        for stale in (0, 1):
            with pytest.raises(LostRace) as lost:
                await store.put("pets", "again", stale, by("ben"))
            assert lost.value.current == 2
        assert await store.put("pets", "again", 2, by("ben")) == 3


async def test_of_writers_at_the_same_moment_exactly_one_wins(server: Server) -> None:
    async with store_at(server.at) as one, store_at(server.at) as other:
        for generation in range(50):
            outcomes = await asyncio.gather(
                *(
                    store.put("pets", f"{name} {generation}", generation, by(name))
                    for store, name in ((one, "ann"), (other, "ben"), (one, "cleo"))
                ),
                return_exceptions=True,
            )
            lost = [outcome for outcome in outcomes if isinstance(outcome, LostRace)]
            assert len(lost) == 2
            assert {race.current for race in lost} == {generation + 1}
            winner = outcomes.index(generation + 1)
            standing = (await one.get("pets")).document
            assert standing == f"{('ann', 'ben', 'cleo')[winner]} {generation}"
        log = await one.events("pets", limit=1000)
        assert [event.generation for event in log] == list(range(50, 0, -1))
        assert all(event.after is not None and event.after.startswith(event.cause.actor) for event in log)


async def test_the_log_says_who_changed_what_when_and_why(server: Server) -> None:
    async with store_at(server.at) as store:
        await store.put("pets", "one", 0, by("ann", "put", "let us try"))
        await store.put("signs", "other", 0, by("ben"))
        await store.put("pets", None, 1, by("guard", "rollback", "errors: 12 % against 1 %"))
        last, first = await store.events("pets")
        assert (first.generation, first.before, first.after) == (1, None, "one")
        assert first.cause == Cause("ann", "put", "let us try")
        assert (last.generation, last.before, last.after) == (2, "one", None)
        assert last.cause == Cause("guard", "rollback", "errors: 12 % against 1 %")
        assert abs(last.at - time.time()) < 5
        assert [event.model for event in await store.events()] == ["pets", "signs", "pets"]


async def test_the_log_is_read_in_pages_and_followed_from_any_entry(server: Server) -> None:
    async with store_at(server.at) as store:
        for generation in range(300):
            await store.put("busy", "x", generation, by("ann"))
            if generation in (10, 290):
                await store.put("rare", "y", generation // 290, by("ben"))
        everything = await store.events(limit=1000)
        assert len(everything) == 302
        assert [event.generation for event in await store.events("rare")] == [2, 1], "older than one page"
        pages, before = [], None
        while page := await store.events(limit=77, before=before):
            pages += page
            before = page[-1].id
        assert pages == everything
        since = await store.events(after=everything[5].id)
        assert since == everything[4::-1]
        assert await store.events(after=everything[0].id) == []
        assert await store.events("rare", after=everything[-1].id) == (await store.events("rare"))[::-1]
        for wrong in ("", "+", "1-2-3", "(1-1", "9" * 30):
            with pytest.raises(ValidationFailed):
                await store.events(after=wrong)


async def test_a_name_that_no_model_can_have_is_refused(server: Server) -> None:
    async with store_at(server.at) as store:
        await store.put("pets", "one", 0, by("ann"))
        for name in ("", ":epoch", ":version"):
            assert await store.get(name) == Stored()
            with pytest.raises(ValidationFailed):
                await store.put(name, "x", 0, by("ann"))
        assert (await store.position()).version == 1


async def test_a_lost_script_is_loaded_again(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as copy:
        for generation in range(3):
            server.admin().script_flush()
            await store.put("pets", "one", generation, by("ann"))
            await until(lambda g=generation: copy.generation("pets") == g + 1)  # type: ignore[misc]


async def test_a_change_holds_on_every_worker_at_once(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as one, worker(server.at) as other:
        taken = []
        for generation in range(1, 31):
            document = None if generation % 5 == 0 else f"weight {generation}"
            await store.put("pets", document, generation - 1, by("ann"))
            expected = None if document is None else Live(document.upper(), generation)
            both = (one.table, other.table)
            taken.append(await until(lambda b=both, e=expected: all(t.route("pets") == e for t in b)))  # type: ignore[misc]
        assert max(taken) < 0.5
        assert [live for _, _, live in one.heard] == [live for _, _, live in other.heard]
        assert len(one.heard) == 30


async def test_a_hundred_changes_hold_within_two_seconds_while_subscribers_are_cut_off_at_random(
    server: Server,
) -> None:
    admin, draw = server.admin(), random.Random(15)
    written: list[tuple[float, int]] = []
    async with store_at(server.at) as store, worker(server.at) as one, worker(server.at) as other:
        cuts = 0
        for generation in range(100):
            if draw.random() < 0.4:
                cuts += admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await store.put("pets", str(generation), generation, by("ann"))
            written.append((time.monotonic(), generation + 1))
            await asyncio.sleep(draw.uniform(0, 0.2))
        await until(lambda: one.generation("pets") == other.generation("pets") == 100)
        late = [
            min(when for when, _, live in copy.heard if live and live.generation >= generation) - moment
            for moment, generation in written
            for copy in (one, other)
        ]
    assert cuts > 10
    assert max(late) <= PROMISED, f"{max(late):.2f} s"


async def test_hints_come_back_after_their_connection_was_cut(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as copy:
        server.admin().execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(1.2)
        for generation in range(3):
            await store.put("pets", "one", generation, by("ann"))
            assert await until(lambda g=generation: copy.generation("pets") == g + 1) < 0.3  # type: ignore[misc]


@pytest.mark.parametrize("way", ["FLUSHALL", "restart"])
async def test_an_emptied_store_changes_nothing_and_is_filled_again(way: str) -> None:
    at = free_addresses()
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(serving(at))
        async with store_at(at) as store, worker(at) as one, worker(at) as other:
            await store.put("signs", "stable", 0, by("ann"))
            await store.put("gone", "canary", 0, by("ann"))
            await store.put("gone", None, 1, by("ann"))
            for generation in range(7):
                await store.put("pets", f"weight {generation}", generation, by("ann"))
            before = await store.read()
            for copy in (one, other):
                await until(lambda c=copy: c.generation("pets") == 7)  # type: ignore[misc]  # and all before it
                copy.heard.clear()
            routes = dict(one.table.routes())
            with structlog.testing.capture_logs() as lines:
                if way == "FLUSHALL":
                    server.admin().flushall()
                else:
                    server.process.stop(signal.SIGKILL)
                    await until(lambda: not one.table.status().fresh, within=3)
                    assert one.table.routes() == routes
                    servers.enter_context(serving(at))
                admin = server.admin()
                await until(lambda: admin.hlen("gw:{routes}") == 5, within=10)
                await until(lambda: one.table.status().fresh and other.table.status().fresh, within=10)
            alarms = [line for line in lines if line["event"] == "routes_store_lost"]
            assert alarms
            assert alarms[0]["log_level"] == "error"
            after = await store.read()
            assert after.routes == before.routes
            assert after.position.epoch != before.position.epoch
            for copy in (one, other):
                assert copy.table.routes() == routes
                assert copy.heard == []
            assert {event.cause.action for event in await store.events()} == {"restore"}
            with pytest.raises(LostRace):
                await store.put("pets", "weight 0", 0, by("somebody who thinks it is new"))
            assert await store.put("pets", "weight 8", 7, by("ann")) == 8
            await until(lambda: one.generation("pets") == other.generation("pets") == 8)


@pytest.mark.parametrize("changes", [1, 2])
async def test_a_replica_that_takes_over_without_the_last_change_undoes_nothing(
    server: Server, changes: int
) -> None:
    async with store_at(server.at) as store:
        table = RouteTable(store, readable, clock=time.monotonic)
        await store.put("pets", "half", 0, by("ann"))
        await store.put("signs", "one", 0, by("ann"))
        take_over = server.copied(ROUTES, MARKS)
        await store.put("pets", "back", 1, by("guard", "rollback"))
        await table.refresh()
        take_over()
        for generation in range(changes):
            await store.put("signs", "two", 1 + generation, by("ann"))
        with structlog.testing.capture_logs() as lines:
            await table.refresh()
        assert "routes_store_lost" in [line["event"] for line in lines]
        assert table.routes() == {"pets": Live("BACK", 2), "signs": Live("TWO", 1 + changes)}
        assert await store.get("pets") == Stored("back", 2)


async def test_the_marks_of_the_last_changes_are_kept_and_no_more(server: Server) -> None:
    async with store_at(server.at) as store:
        for generation in range(50):
            await store.put("pets", "one", generation, by("ann"))
        position = await store.position()
        assert sorted(position.marks) == list(range(19, 51))
        assert len(set(position.marks.values())) == 32
        assert (await store.read()).position == position


async def test_a_frozen_redis_is_an_outage_and_no_more(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as copy:
        await store.put("pets", "one", 0, by("ann"))
        await until(lambda: copy.generation("pets") == 1)
        with server.frozen():
            with pytest.raises(StoreAway):
                await store.get("pets")
            await until(lambda: not copy.table.status().fresh, within=5)
            assert copy.generation("pets") == 1
        await until(lambda: copy.table.status().fresh, within=4)


async def test_a_document_that_cannot_be_read_keeps_the_last_good_one_and_is_told_once(
    server: Server,
) -> None:
    async with store_at(server.at) as store, worker(server.at) as copy:
        await store.put("pets", "good", 0, by("ann"))
        await until(lambda: copy.generation("pets") == 1)
        with structlog.testing.capture_logs() as lines:
            await store.put("pets", "broken one", 1, by("ann"))
            await until(lambda: copy.table.status().unreadable == {"pets"})
            for generation in range(3):
                await store.put("signs", "good", generation, by("ann"))
                await until(lambda g=generation: copy.generation("signs") == g + 1)  # type: ignore[misc]
        assert [line["event"] for line in lines] == ["route_unreadable"]
        assert copy.table.route("pets") == Live("GOOD", 1)
        await store.put("pets", "better", 2, by("ann"))
        await until(lambda: copy.table.route("pets") == Live("BETTER", 3))
        assert copy.table.status().unreadable == frozenset()


async def test_something_else_in_the_place_of_the_routes_is_an_outage(server: Server) -> None:
    async with store_at(server.at) as store, worker(server.at) as copy:
        await store.put("pets", "one", 0, by("ann"))
        await until(lambda: copy.generation("pets") == 1)
        admin = server.admin()
        for spoil in (
            lambda: admin.hset("gw:{routes}", ":version", "many"),
            lambda: (admin.delete("gw:{routes}"), admin.set("gw:{routes}", "text")),
        ):
            spoil()
            await until(lambda: not copy.table.status().fresh, within=3)
            with pytest.raises(StoreAway):
                await store.put("pets", "two", 1, by("ann"))
            assert copy.generation("pets") == 1
        admin.delete("gw:{routes}")
        await until(lambda: copy.table.status().fresh, within=3)
        assert await store.get("pets") == Stored("one", 1)


async def test_a_user_with_these_rights_and_no_others_is_enough(server: Server) -> None:
    server.admin().execute_command("ACL", "SETUSER", "gateway", "on", ">word", *RIGHTS.split())
    async with connected(server.at, username="gateway", password="word") as client:
        await everything_works(client)


async def test_it_works_on_a_redis_cluster() -> None:
    with cluster() as nodes:
        first = nodes[0].at
        async with connect(
            f"redis+cluster://{first.redis_address}:{first.redis_port}", timeout=1.0
        ) as client:
            await everything_works(client)


async def everything_works(client: Redis) -> None:
    store = RouteStore(client)
    recorder = Recorder(client, clock=time.monotonic)
    lease = Lease(client, clock=time.monotonic)
    table = RouteTable(store, str, clock=time.monotonic)
    async with in_background(table.watch()):
        await until(lambda: table.status().fresh)
        await asyncio.sleep(0.3)  # the subscription
        for generation in range(3):
            await store.put("pets", f"weight {generation}", generation, by("ann"))
            expected = Live(f"weight {generation}", generation + 1)
            assert await until(lambda e=expected: table.route("pets") == e) < 0.5  # type: ignore[misc]
    assert await store.before("pets") == Stored("weight 1", 2)
    assert len(await store.events(after="0-1")) == len(await store.events()) == 3
    assert await store.restore({"lost": Stored("found", 9), "pets": Stored("old", 1)}, "a test") == 1
    assert await store.get("lost") == Stored("found", 9)
    recorder.record("pets", "2", "canary", ok=True, seconds=0.02)
    recorder.record("signs", "1", ok=False, seconds=0.02)
    await recorder.flush()
    for model in ("pets", "signs"):
        (bucket,) = (await CountsReader(client).read(model, 60)).buckets
        assert [tally.requests for tally in bucket.tallies.values()] == [1]
    assert await lease.renew()
    assert await lease.renew()
    await lease.release()


@pytest.mark.parametrize("name", ["put", "restore", "count", "sum", "hold", "let_go"])
def test_the_scripts_travel_with_the_package(name: str) -> None:
    assert importlib.resources.files("gateway.canary").joinpath(f"{name}.lua").is_file()
