"""The lease of the one evaluator in a real Redis: never two, and never none for long."""

import asyncio
import time
from collections.abc import Iterator

import pytest
import structlog.testing
from stack import free_addresses
from support.redis_server import Server, in_background, serving, until

from gateway.canary.lease import KEY, Lease
from gateway.store import StoreAway, connect

PROMISED = 4.0  # seconds until another takes over; a second later it has judged


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(free_addresses()) as started:
        yield started


async def test_one_of_many_holds_it_and_keeps_it(server: Server) -> None:
    async with connect(server.url, timeout=1.0) as client:
        leases = [Lease(client, clock=time.monotonic, length=0.6, interval=0.2) for _ in range(3)]
        async with (
            in_background(leases[0].run()),
            in_background(leases[1].run()),
            in_background(leases[2].run()),
        ):
            await until(lambda: any(lease.held for lease in leases))
            (holder,) = (lease for lease in leases if lease.held)
            for _ in range(150):
                await asyncio.sleep(0.01)
                assert [lease for lease in leases if lease.held] == [holder]


async def test_another_takes_over_within_four_seconds_after_its_holder_stopped_without_a_word(
    server: Server,
) -> None:
    async with connect(server.url, timeout=1.0) as client:
        dead, other = (Lease(client, clock=time.monotonic) for _ in range(2))
        assert await dead.renew()
        async with in_background(other.run()):
            await asyncio.sleep(1.5)
            assert not other.held
            assert await dead.renew(), "kept up to here, and now it dies"
            began = time.monotonic()
            while not other.held:
                both = dead.held and other.held
                assert not both
                assert time.monotonic() - began < PROMISED
                await asyncio.sleep(0.005)
            assert not dead.held


async def test_a_clean_stop_lets_go_at_once(server: Server) -> None:
    async with connect(server.url, timeout=1.0) as client:
        first, other = (Lease(client, clock=time.monotonic) for _ in range(2))
        with structlog.testing.capture_logs() as lines:
            async with in_background(first.run()):
                await until(lambda: first.held)
            assert not first.held
            assert server.admin().exists(KEY) == 0
            async with in_background(other.run()):
                assert await until(lambda: other.held) < 0.5
        assert [line["event"] for line in lines] == ["canary_lease_taken", "canary_lease_ended"] * 2


async def test_nobody_lets_go_of_what_another_holds(server: Server) -> None:
    async with connect(server.url, timeout=1.0) as client:
        first, other = (Lease(client, clock=time.monotonic) for _ in range(2))
        assert await first.renew()
        assert not await other.renew()
        await other.release()
        assert await first.renew()
        assert not await other.renew()


async def test_a_worker_that_can_ask_its_models_takes_over_from_one_that_cannot_and_keeps_it(
    server: Server,
) -> None:
    async with connect(server.url, timeout=1.0) as client:
        fit = True
        first = Lease(client, clock=time.monotonic, able=lambda: fit)
        other = Lease(client, clock=time.monotonic)
        assert await first.renew()
        assert not await other.renew()
        fit = False
        assert await first.renew(), "somebody has to take back what is bad"
        assert await other.renew()
        assert not await first.renew()
        assert not first.held
        fit = True
        assert not await first.renew()
        assert await other.renew()


async def test_of_workers_that_cannot_ask_their_models_one_stands_in_until_one_can(server: Server) -> None:
    async with connect(server.url, timeout=1.0) as client:
        first, second = (Lease(client, clock=time.monotonic, able=lambda: False) for _ in range(2))
        able = Lease(client, clock=time.monotonic)
        async with in_background(first.run()):
            await until(lambda: first.held)
            assert not await second.renew()
            assert await first.renew()
        assert server.admin().exists(KEY) == 0, "a clean stop lets go of it too"
        assert await second.renew()
        async with in_background(able.run()):
            await until(lambda: able.held)
            assert not await second.renew()


async def test_a_holder_that_cannot_ask_does_not_believe_in_it_longer_than_redis_does(server: Server) -> None:
    async with connect(server.url, timeout=0.3) as client:
        lease = Lease(client, clock=time.monotonic, length=1.0, interval=0.2)
        with structlog.testing.capture_logs() as lines:
            async with in_background(lease.run()):
                await until(lambda: lease.held)
                with server.frozen():
                    await until(lambda: not lease.held, within=1.3)
                    with pytest.raises(StoreAway):
                        await lease.renew()
                    await until(lambda: lines[-1]["event"] == "canary_lease_ended")
                await until(lambda: lease.held)


async def test_it_is_taken_again_where_redis_forgot_it(server: Server) -> None:
    async with connect(server.url, timeout=1.0) as client:
        lease = Lease(client, clock=time.monotonic, length=1.0, interval=0.1)
        async with in_background(lease.run()):
            await until(lambda: lease.held)
            server.admin().flushall()
            server.admin().script_flush()
            await until(lambda: server.admin().exists(KEY) == 1)
            assert lease.held
