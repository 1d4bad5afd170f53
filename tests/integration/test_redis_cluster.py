"""Two gateways on a Redis Cluster of three masters, by the address that docs/configuration.md describes."""

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from stack import ADMINISTRATION, create_key, free_addresses
from support.everything import (
    PASSWORD,
    documented_line,
    documented_rights_of_clusters,
    everything,
    two_versions,
)
from support.fake_triton import serving
from support.redis_group import (
    ROUTE,
    Traffic,
    made_key,
    put_route,
    two_gateways,
    until_degraded,
    until_shared,
    until_status,
    until_version,
)
from support.redis_server import Server, cluster, in_background, replica_in_cluster
from support.serving import served, until_ready
from unit.ratelimit.callers import caller, tier

from gateway.auth.store import KEYS
from gateway.domain import Principal, Quota
from gateway.ratelimit import RateLimiter, RedisStore
from gateway.ratelimit.plan import plan
from gateway.store import Documents, connect

PROMISED = 2.0  # seconds until a change holds everywhere
NODE_TIMEOUT = ("--cluster-node-timeout", "1000")
CALM = 2.0  # seconds
BOUNDS = tier(key=Quota(10, 600, 10), daily=100, in_flight=100)
ME = caller()


@dataclass(frozen=True)
class Group:
    """The masters, of which `keeper` has the keys, and its replica."""

    masters: list[Server]
    keeper: Server

    def url(self, credentials: str = "") -> str:
        places = ",".join(f"{node.at.redis_address}:{node.at.redis_port}" for node in self.masters)
        return f"redis+cluster://{credentials}{places}/"


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """For all tests that leave every node alive."""
    with three_masters() as found:
        yield found


@contextlib.contextmanager
def three_masters() -> Iterator[Group]:
    with cluster(3, *NODE_TIMEOUT) as masters:
        yield Group(masters, masters[min(key_slot(KEYS.encode()) // (16_384 // 3), 2)])


async def test_the_documented_user_is_enough_on_a_cluster_too(group: Group) -> None:
    line, more = documented_line(), documented_rights_of_clusters()
    for node in group.masters:
        node.admin().execute_command(*line)
        node.admin().execute_command("ACL", "SETUSER", line[2], *more)
    key = await asyncio.to_thread(
        create_key, free_addresses(), "operators", *ADMINISTRATION, redis_url=group.url()
    )
    url = group.url(f"{line[2]}:{PASSWORD}@")
    fake = two_versions()
    async with serving(fake) as triton, served(free_addresses(), key, triton, redis_url=url) as gateway:
        await until_ready(gateway)
        for node in group.masters:
            node.admin().execute_command("CONFIG", "RESETSTAT")
            node.admin().execute_command("SCRIPT", "FLUSH")
        await everything(gateway, fake)
    assert all(node.admin().execute_command("ACL", "LOG") == [] for node in group.masters)
    asked = [node.admin().info("commandstats")["cmdstat_evalsha"]["calls"] for node in group.masters]
    assert min(asked) > 0, "everything went to some of the nodes"


async def test_changes_hold_on_every_gateway_and_a_bound_is_a_bound(group: Group) -> None:
    async with two_gateways(group.url()) as (first, second):
        key_id, shop = await made_key(first, "shop", limit=10, period=600, burst=10)
        await until_status(second, shop, 200)
        await until_status(first, shop, 429)
        await put_route(first, 10_000)
        assert await until_version(second, "2") < PROMISED
        assert (await second.post(f"{ROUTE}/rollback")).status_code == 200
        assert await until_version(first, "1") < PROMISED
        assert (await first.delete(f"/admin/v1/keys/{key_id}")).status_code == 204
        assert await until_status(second, shop, 401) < PROMISED


async def test_a_failover_costs_no_request_no_key_and_no_route() -> None:
    with three_masters() as group, replica_in_cluster(group.keeper, *NODE_TIMEOUT):
        async with two_gateways(group.url()) as (first, second):
            _, shop = await made_key(first, "shop")
            await until_status(second, shop, 200)
            await put_route(first, 10_000)
            await until_version(second, "2")
            traffic = Traffic()
            async with in_background(traffic.run(second, shop)):
                group.keeper.process.stop(signal.SIGKILL)
                await until_degraded(second)
                await until_shared(second)
            assert set(traffic.statuses) == {200}, traffic.statuses
            assert await until_version(second, "2") < PROMISED
            await until_shared(first)
            _, late = await made_key(first, "late")
            assert await until_status(second, late, 200) < PROMISED


async def test_the_bounds_of_two_processes_are_one_and_every_tenant_has_a_slot_of_its_own(
    group: Group,
) -> None:
    async with limiters(group.url()) as (both, redis):
        tenants = [caller(tenant=f"tenant {place}") for place in range(9)]
        for tenant in tenants:
            assert await allowed(both, redis, tenant, of=30) == 10
    kept = [node.admin().dbsize() for node in group.masters]
    assert min(kept) > 0, f"the tenants are not spread: {kept}"


async def test_a_slot_that_moves_takes_its_bounds_along(group: Group) -> None:
    """While it is between two nodes its tenants' limits are local: a script is not run on half of its keys."""
    slot = key_slot(plan(ME, BOUNDS).flight_key.encode())
    async with limiters(group.url()) as (both, redis):
        assert await allowed(both, redis, ME, of=4) == 4
        finish = begin_move(group, slot)
        decisions = [await limiter.charge(ME, BOUNDS, 1) for limiter in both]
        assert [decision.degraded for decision in decisions] == [True, True]
        finish()
        assert await allowed(both, redis, ME, of=30) == 6


async def test_what_has_moved_already_is_found_while_its_slot_still_moves(group: Group) -> None:
    """Over one of several free connections: the permission to ask holds for the next command on the same one."""
    async with connect(group.url(), timeout=CALM) as redis:
        documents = Documents(redis, key="gw:moves", channel="gw:moves")
        await redis.hset("gw:moves", "one", "two")
        await asyncio.gather(*(documents.get("one") for _ in range(5)))
        finish = begin_move(group, key_slot(b"gw:moves"))
        for _ in range(3):
            assert await documents.get("one") == "two"
            assert (await documents.read()).documents == {"one": "two"}
        finish()
        assert await documents.get("one") == "two"


@contextlib.asynccontextmanager
async def limiters(url: str) -> AsyncIterator[tuple[list[RateLimiter], Redis]]:
    """As two processes have them, and a client of one, with patience, so that a busy machine decides nothing."""
    async with contextlib.AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(connect(url, timeout=CALM)) for _ in range(2)]
        stores = [RedisStore(client, lease=60, timeout=CALM) for client in clients]
        both = [await opened.enter_async_context(RateLimiter(store, shares=2)) for store in stores]
        yield both, clients[0]


async def allowed(both: list[RateLimiter], redis: Redis, who: Principal, *, of: int) -> int:
    """How many of so many charges at once are let through, all of them decided by the store."""
    charges = [both[place % 2].acquire(who, BOUNDS, 1) for place in range(of)]
    decisions = await asyncio.gather(*charges)
    for limiter, decision in zip(itertools.cycle(both), decisions, strict=False):
        limiter.release(decision)
    async with asyncio.timeout(10):
        while await redis.exists(plan(who, BOUNDS).flight_key):  # until all places are given back
            await asyncio.sleep(0.02)
    assert not any(decision.degraded for decision in decisions)
    return sum(decision.allowed for decision in decisions)


def begin_move(group: Group, slot: int) -> Callable[[], None]:
    """The steps of `redis-cli --cluster reshard` up to where half of the keys have moved; the answer does the rest."""
    source = next(node for node in group.masters if command(node, "COUNTKEYSINSLOT", slot))
    target = next(node for node in group.masters if node is not source)
    old, new = (command(node, "MYID") for node in (source, target))
    command(target, "SETSLOT", slot, "IMPORTING", old)
    command(source, "SETSLOT", slot, "MIGRATING", new)
    first, *others = command(source, "GETKEYSINSLOT", slot, 100)
    migrate(source, target, [first])

    def finish() -> None:
        if others:
            migrate(source, target, others)
        for node in (target, *(node for node in group.masters if node is not target)):
            command(node, "SETSLOT", slot, "NODE", new)

    return finish


def command(node: Server, *words: object) -> Any:
    return node.admin().execute_command("CLUSTER", *words)


def migrate(source: Server, target: Server, keys: list[str]) -> None:
    where = (target.at.redis_address, target.at.redis_port)
    source.admin().execute_command("MIGRATE", *where, "", 0, 1000, "KEYS", *keys)
