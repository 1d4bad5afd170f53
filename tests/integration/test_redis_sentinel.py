"""Two gateways on a primary that three sentinels watch, and what a failover costs: nothing."""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stack import free_addresses
from support.everything import PASSWORD, documented_line
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
from support.redis_server import Server, in_background, replica, sentinels, serving, wait_until

from gateway.store.connection import connect

NAME = "mymaster"
PROMISED = 2.0  # seconds until a change holds everywhere
SENTINELS_PASSWORD = "the-word-of-the-sentinels"


@dataclass(frozen=True)
class Watched:
    primary: Server
    replica: Server
    sentinels: list[Server]

    def url(self) -> str:
        """As the documented user, at Redis and at the sentinels."""
        places = ",".join(f"{one.at.redis_address}:{one.at.redis_port}" for one in self.sentinels)
        theirs = f"sentinel_username=gateway&sentinel_password={SENTINELS_PASSWORD}"
        return f"redis+sentinel://gateway:{PASSWORD}@{places}/{NAME}?{theirs}"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with serving(free_addresses()) as primary, replica(primary) as second:
        for server in (primary, second):
            server.admin().execute_command(*documented_line())
        with sentinels(primary, NAME, tmp_path) as watching:
            for sentinel in watching:
                allow_the_gateway(sentinel)
            yield Watched(primary, second, watching)


def allow_the_gateway(sentinel: Server) -> None:
    """What docs/access.md gives it at a sentinel."""
    rights = ["resetkeys", "resetchannels", "-@all", "+sentinel|masters"]
    with sentinel.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "gateway", "on", f">{SENTINELS_PASSWORD}", *rights)


async def test_a_failover_costs_no_request_no_key_and_no_route(watched: Watched) -> None:
    async with two_gateways(watched.url()) as (first, second):
        key_id, shop = await made_key(first, "shop")
        await until_status(second, shop, 200)
        await put_route(first, 10_000)
        assert await until_version(second, "2") < PROMISED
        traffic = Traffic()
        async with in_background(traffic.run(second, shop)):
            watched.primary.process.stop(signal.SIGKILL)
            await until_degraded(second)
            await until_shared(second)
        assert set(traffic.statuses) == {200}, traffic.statuses
        assert role(watched.replica) == "master"
        assert await until_version(second, "2") < PROMISED
        assert (await second.post(f"{ROUTE}/rollback")).status_code == 200
        assert await until_version(first, "1") < PROMISED
        _, bounded = await made_key(first, "late", limit=3, period=600, burst=3)
        await until_status(second, bounded, 200)
        await until_status(first, bounded, 429)
        assert (await first.delete(f"/admin/v1/keys/{key_id}")).status_code == 204
        assert await until_status(second, shop, 401) < PROMISED
    assert refusals(watched) == []


async def test_what_was_written_to_the_old_primary_in_a_planned_failover_is_not_lost(
    watched: Watched,
) -> None:
    """It takes writes until the sentinels tell it, some seconds after the replica was promoted, and then drops them."""
    async with two_gateways(watched.url()) as (first, second):
        _, shop = await made_key(first, "shop")
        await until_status(second, shop, 200)
        traffic = Traffic()
        async with in_background(traffic.run(second, shop)):
            await asyncio.to_thread(promote, watched)
            _, meanwhile = await made_key(first, "meanwhile")
            await asyncio.to_thread(wait_until, lambda: role(watched.primary) == "slave", "it was not told")
            await until_shared(second)
        assert set(traffic.statuses) == {200}, traffic.statuses
        await until_shared(first)
        for gateway in (first, second):
            assert await until_status(gateway, meanwhile, 200) < PROMISED
        kept = lambda: watched.replica.admin().hlen("gw:keys") == 3 + 2  # epoch and version  # noqa: E731
        await asyncio.to_thread(wait_until, kept, "a key was not written again")


async def test_a_sentinel_that_many_miss_at_once_is_asked_again_when_it_is_back(watched: Watched) -> None:
    first, *others = watched.sentinels
    async with connect(watched.url(), timeout=0.5) as client:
        with first.frozen():
            await asyncio.gather(*(client.time() for _ in range(8)))
        await client.connection_pool.disconnect()
        for other in others:
            other.process.stop(signal.SIGKILL)
        assert await client.time()


def promote(watched: Watched) -> None:
    with watched.sentinels[0].admin() as admin:
        admin.execute_command("SENTINEL", "FAILOVER", NAME)
    wait_until(lambda: role(watched.replica) == "master", "nothing failed over")


def role(server: Server) -> str:
    found: str = server.admin().info("replication")["role"]
    return found


def refusals(watched: Watched) -> list[object]:
    """What the users of the gateway were not allowed to do, at Redis and at the sentinels."""
    found: list[object] = list(watched.replica.admin().execute_command("ACL", "LOG"))
    for sentinel in watched.sentinels:
        with sentinel.admin() as admin:
            found += admin.execute_command("ACL", "LOG")
    return found
