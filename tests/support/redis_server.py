"""Redis servers of a test's own, which it may kill, freeze or start again empty, and clients of them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
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

    def copied(self, *keys: str) -> Callable[[], None]:
        """What a replica has now of these keys; the answer makes it all that there is, as when it takes over."""
        admin = blocking.Redis(self.at.redis_address, port=self.at.redis_port)
        kept = {key: admin.dump(key) for key in keys}

        def take_over() -> None:
            for key, value in kept.items():
                admin.delete(key) if value is None else admin.restore(key, 0, value, replace=True)

        return take_over

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
def cluster(nodes: int = 3, *flags: str) -> Iterator[list[Server]]:
    """A Redis Cluster of masters, the slots dealt out among them in their order."""
    with contextlib.ExitStack() as started:
        servers = [started.enter_context(_node(*flags)) for _ in range(nodes)]
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


@contextlib.contextmanager
def replica_in_cluster(of: Server, *flags: str) -> Iterator[Server]:
    """One more node, which takes the place of that master when the others miss it."""
    with _node(*flags) as server:
        admin = server.admin()
        admin.execute_command("CLUSTER", "MEET", of.at.redis_address, of.at.redis_port)
        name = of.admin().execute_command("CLUSTER", "MYID")
        wait_until(lambda: name in admin.execute_command("CLUSTER", "NODES"), "the replica met nobody")
        wait_until(lambda: _replicates(admin, name), "the replica did not become one")
        wait_until(lambda: admin.info("replication")["master_link_status"] == "up", "the replica has no copy")
        yield server


@contextlib.contextmanager
def replica(of: Server) -> Iterator[Server]:
    """Of one server, without a cluster; it has a copy."""
    with serving(free_addresses(), "--replicaof", of.at.redis_address, str(of.at.redis_port)) as server:
        admin = server.admin()
        wait_until(lambda: admin.info("replication")["master_link_status"] == "up", "the replica has no copy")
        yield server


@contextlib.contextmanager
def sentinels(primary: Server, name: str, folder: Path, count: int = 3) -> Iterator[list[Server]]:
    """Sentinels that all know each other and a replica of the primary. They take it for dead after half a second."""
    with contextlib.ExitStack() as started:
        servers = [started.enter_context(_sentinel(primary, name, folder)) for _ in range(count)]
        for server in servers:
            with server.admin() as admin:
                wait_until(lambda a=admin: _knows_all(a, name, count), "the sentinels did not meet")
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


def wait_until(true: Callable[[], bool], otherwise: str, within: float = 20.0) -> None:
    """Asks every 50 ms; a server that is not there yet counts as no."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        with contextlib.suppress(blocking.exceptions.RedisError):
            if true():
                return
        time.sleep(0.05)
    raise AssertionError(otherwise)


def _replicates(admin: Any, master: str) -> bool:
    return bool(admin.execute_command("CLUSTER", "REPLICATE", master))


@contextlib.contextmanager
def _sentinel(primary: Server, name: str, folder: Path) -> Iterator[Server]:
    at = free_addresses()
    place = f"{primary.at.redis_address} {primary.at.redis_port}"
    lines = [
        f"sentinel monitor {name} {place} 2",
        f"sentinel down-after-milliseconds {name} 500",
        f"sentinel failover-timeout {name} 3000",
    ]
    config = folder / f"sentinel-{at.redis_port}.conf"
    config.write_text("\n".join(lines) + "\n")
    part = redis(at)
    options = [word for word in part.command[1:] if word not in ("--save", "")]
    command = [part.command[0], str(config), "--sentinel", *options]
    with running(Part("sentinel", command, part.environment)) as process:
        _wait(at)
        yield Server(at, process)


def _knows_all(admin: Any, name: str, count: int) -> bool:
    state = admin.sentinel_master(name)
    return (state["num-other-sentinels"], state["num-slaves"]) == (count - 1, 1)


def _wait(at: Addresses) -> None:
    with blocking.Redis(at.redis_address, port=at.redis_port) as client:
        for _ in range(200):
            with contextlib.suppress(blocking.exceptions.ConnectionError):
                if client.ping():
                    return
            time.sleep(0.05)
    raise AssertionError("redis-server did not come up")


@contextlib.contextmanager
def _node(*flags: str) -> Iterator[Server]:
    at = cluster_addresses()
    config_file = f"nodes-{at.redis_port}-{time.time_ns()}.conf"
    with serving(at, "--cluster-enabled", "yes", "--cluster-config-file", config_file, *flags) as server:
        yield server


def _wait_for_cluster(server: Server, nodes: int) -> None:
    for _ in range(400):
        found = server.admin().execute_command("CLUSTER INFO")
        if (found["cluster_state"], found["cluster_known_nodes"]) == ("ok", str(nodes)):
            return
        time.sleep(0.05)
    raise AssertionError("the cluster did not come up")
