"""Redis servers of a test's own, which it may kill, freeze or start again empty, and clients of them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis as blocking
from processes import Process, running
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from stack import Addresses, Part, free_addresses, redis


@dataclass
class Server:
    """A Redis that the test may kill; the next one starts empty at the same place."""

    at: Addresses
    process: Process

    @property
    def url(self) -> str:
        return f"redis://{self.at.redis_address}:{self.at.redis_port}/0"

    def admin(self) -> Any:
        return blocking.Redis(self.at.redis_address, port=self.at.redis_port, decode_responses=True)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It accepts what is sent, and reads it only afterwards."""
        self.process.popen.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.popen.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def serving(at: Addresses, *flags: str) -> Iterator[Server]:
    part = redis(at)
    with running(Part(part.name, [*part.command, *flags], part.environment)) as process:
        _wait(at)
        yield Server(at, process)


def cluster_addresses() -> Addresses:
    """For a node of a cluster, which also listens 10,000 ports above its own."""
    while (at := free_addresses()).redis_port > 55_000:
        pass
    return at


@contextlib.contextmanager
def cluster(nodes: int = 3) -> Iterator[list[Server]]:
    """A Redis Cluster of masters, the slots dealt out among them."""
    with contextlib.ExitStack() as started:
        servers = [started.enter_context(_node()) for _ in range(nodes)]
        share = 16_384 // nodes
        for place, server in enumerate(servers):
            last = 16_384 if place == nodes - 1 else (place + 1) * share
            server.admin().execute_command("CLUSTER", "ADDSLOTS", *range(place * share, last))
            servers[0].admin().execute_command(
                "CLUSTER", "MEET", server.at.redis_address, server.at.redis_port
            )
        for server in servers:
            _wait_for_cluster(server, nodes)
        yield servers


@contextlib.asynccontextmanager
async def connected(at: Addresses, **options: object) -> AsyncIterator[Redis]:
    client = Redis(
        host=at.redis_address,
        port=at.redis_port,
        socket_timeout=1.0,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 1),
        **options,  # type: ignore[arg-type]  # tests name them
    )
    async with client:
        yield client


@contextlib.asynccontextmanager
async def in_background(work: Any) -> AsyncIterator["asyncio.Task[None]"]:
    """The coroutine as a task for the length of the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], bool], within: float = 2.0) -> float:
    """How many seconds it took; fails after `within`."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > within:
            raise AssertionError(f"not within {within} s")
        await asyncio.sleep(0.002)
    return time.monotonic() - began


def _wait(at: Addresses) -> None:
    with blocking.Redis(at.redis_address, port=at.redis_port) as client:
        for _ in range(200):
            with contextlib.suppress(blocking.exceptions.ConnectionError):
                if client.ping():
                    return
            time.sleep(0.05)
    raise AssertionError("redis-server did not come up")


@contextlib.contextmanager
def _node() -> Iterator[Server]:
    at = cluster_addresses()
    flags = (
        "--cluster-enabled",
        "yes",
        "--cluster-config-file",
        f"nodes-{at.redis_port}-{time.time_ns()}.conf",
    )
    with serving(at, *flags) as server:
        yield server


def _wait_for_cluster(server: Server, nodes: int) -> None:
    for _ in range(400):
        found = server.admin().execute_command("CLUSTER INFO")
        if (found["cluster_state"], found["cluster_known_nodes"]) == ("ok", str(nodes)):
            return
        time.sleep(0.05)
    raise AssertionError("the cluster did not come up")
