"""Three real Tritons behind one gateway, 100 requests a second, and one of them added, killed, frozen, restarted.

Each request has numbers of its own and has to get exactly these back. The Tritons listen on addresses of loopback that
stand behind one name, which the gateway looks up where the test says.
"""

import asyncio
import contextlib
import itertools
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from exposition import Exposition
from processes import Process, running_triton
from stack import Addresses, Part, free_port, triton
from support.repositories import add_model
from support.serving import served, until_ready

HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
RATE = 100  # requests a second
RIGHT, WRONG = "right", "wrong"


@dataclass
class Trio:
    """Tritons with one repository and one gRPC port, each on a host of its own. `restart` blocks until it listens."""

    repository: Path
    grpc_port: int
    _stacks: dict[str, contextlib.ExitStack] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)

    def start(self, host: str) -> None:
        at = Addresses(
            triton_address=host,
            triton_grpc_port=self.grpc_port,
            triton_http_port=free_port(),
            triton_metrics_port=free_port(),
        )
        part: Part = triton(at, self.repository)
        stack = self._stacks[host] = contextlib.ExitStack()
        self.processes[host] = stack.enter_context(running_triton(part, at))

    def end(self, host: str, how: signal.Signals = signal.SIGTERM) -> None:
        self.processes[host].stop(how)
        self._stacks.pop(host).close()

    def restart(self, host: str) -> None:
        self.end(host)
        self.start(host)

    def close(self) -> None:
        for host in list(self._stacks):
            self.end(host, signal.SIGKILL)


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    folder = tmp_path_factory.mktemp("replicated")
    with (add_model(folder, "echo", ["1"]) / "config.pbtxt").open("a") as config:
        config.write('parameters { key: "gateway.max_in_flight" value { string_value: "64" } }\n')
    tritons = Trio(folder, free_port())
    try:
        for host in HOSTS:
            tritons.start(host)
        yield tritons
    finally:
        tritons.close()


@dataclass
class Name:
    """What the Tritons' name stands for at the moment."""

    hosts: Sequence[str] = HOSTS

    async def __call__(self, _: str, __: int) -> Sequence[str]:
        return self.hosts


@pytest.fixture
async def name() -> Name:
    return Name()


@pytest.fixture
async def gateway(
    trio: Trio, name: Name, redis: Addresses, caller_key: str
) -> AsyncIterator[httpx.AsyncClient]:
    url = f"dns:///tritons:{trio.grpc_port}"
    async with served(
        redis, caller_key, url, resolve=name, catalog_interval=0.5, waiting_room=1000
    ) as client:
        await until_ready(client, 60)
        yield client


@dataclass
class Traffic:
    """What became of each request: right, wrong, or the status of a problem."""

    client: httpx.AsyncClient
    seconds: float
    ended: list[str] = field(default_factory=list)
    _under_way: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.ended)

    async def run(self) -> None:
        """Sends by a fixed schedule, however long answers take; cancel it to stop."""
        begun = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, begun + number / RATE - time.monotonic()))
            task = asyncio.create_task(self._ask(number))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def rest(self) -> None:
        await asyncio.gather(*self._under_way)

    async def _ask(self, number: int) -> None:
        data = [number, number * 7919 % 1_000_003]
        tensor = {"name": "INT32", "datatype": "INT32", "shape": [1, 2], "data": data}
        answer = await self.client.post(
            "/v2/models/echo/infer",
            json={"inputs": [tensor], "outputs": [{"name": "out_INT32"}]},
            headers={"x-request-timeout": str(round(1000 * self.seconds))},
        )
        if answer.status_code != 200:
            assert answer.json()["error"]
            self.ended.append(str(answer.status_code))
            return
        (output,) = answer.json()["outputs"]
        self.ended.append(RIGHT if output["data"] == data else WRONG)


@contextlib.asynccontextmanager
async def traffic(client: httpx.AsyncClient, seconds: float = 20) -> AsyncIterator[Traffic]:
    """Requests with this deadline for the length of the block, all of them answered at its end."""
    load = Traffic(client, seconds)
    sending = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await load.rest()


async def metrics(client: httpx.AsyncClient) -> Exposition:
    return Exposition((await client.get("/metrics")).text)


async def calls(client: httpx.AsyncClient, trio: Trio) -> dict[str, float]:
    """Calls answered so far by each host."""
    found = await metrics(client)
    return {
        host: found.total("gateway_endpoint_calls_total", endpoint=f"{host}:{trio.grpc_port}", outcome="ok")
        for host in HOSTS
    }


async def until(client: httpx.AsyncClient, true: Callable[[Exposition], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not true(await metrics(client)):
            await asyncio.sleep(0.25)


async def until_called(client: httpx.AsyncClient, trio: Trio, host: str, before: Mapping[str, float]) -> None:
    async with asyncio.timeout(30):
        while (await calls(client, trio))[host] == before[host]:
            await asyncio.sleep(0.25)


def answering(number: int) -> Callable[[Exposition], bool]:
    return lambda found: found.total("gateway_endpoints_answering") == number


async def test_one_that_is_added_gets_its_share_and_all_get_the_same(
    gateway: httpx.AsyncClient, trio: Trio, name: Name
) -> None:
    name.hosts = HOSTS[:2]
    await until(gateway, answering(2))
    before_added = await calls(gateway, trio)
    async with traffic(gateway) as load:
        await asyncio.sleep(1)
        name.hosts = HOSTS
        await until(gateway, answering(3))
        await until_called(gateway, trio, HOSTS[2], before_added)
    before = await calls(gateway, trio)
    async with traffic(gateway) as even:
        await asyncio.sleep(10)
    taken = {host: count - before[host] for host, count in (await calls(gateway, trio)).items()}
    assert set(load.counts + even.counts) == {RIGHT}, load.counts + even.counts
    fair = sum(taken.values()) / len(HOSTS)
    assert fair > 200
    assert all(abs(count - fair) <= 0.2 * fair for count in taken.values()), taken
    print(f"\neven: {taken}, of which every answer was right")  # noqa: T201  # a figure to keep, shown by pytest -s


async def test_a_rolling_restart_loses_nothing(gateway: httpx.AsyncClient, trio: Trio) -> None:
    await until(gateway, answering(3))
    async with traffic(gateway) as load:
        await asyncio.sleep(0.5)
        for host in HOSTS:
            await asyncio.to_thread(trio.restart, host)
            await until(gateway, answering(3))
    print(f"\nrolling restart of three: {dict(load.counts)}")  # noqa: T201  # a figure to keep, shown by pytest -s
    assert set(load.counts) == {RIGHT}, load.counts


async def test_of_one_that_is_killed_only_what_was_in_it_can_fail(
    gateway: httpx.AsyncClient, trio: Trio
) -> None:
    await until(gateway, answering(3))
    async with traffic(gateway) as load:
        await asyncio.sleep(1)
        await asyncio.to_thread(trio.end, HOSTS[0], signal.SIGKILL)
        await until(gateway, answering(2))
        await asyncio.sleep(2)
        await asyncio.to_thread(trio.start, HOSTS[0])
        await until(gateway, answering(3))
        back = await calls(gateway, trio)
        await until_called(gateway, trio, HOSTS[0], back)
    print(f"\nkilled and back: {dict(load.counts)}")  # noqa: T201  # a figure to keep, shown by pytest -s
    assert set(load.counts) <= {RIGHT, "503"}, load.counts
    assert load.counts["503"] <= 5


async def test_of_one_that_is_frozen_what_hangs_ends_at_its_deadline(
    gateway: httpx.AsyncClient, trio: Trio
) -> None:
    await until(gateway, answering(3))
    process = trio.processes[HOSTS[1]].popen
    async with traffic(gateway, seconds=3) as load:
        await asyncio.sleep(1)
        process.send_signal(signal.SIGSTOP)
        try:
            await until(gateway, answering(2))
            await asyncio.sleep(2)
        finally:
            process.send_signal(signal.SIGCONT)
        await until(gateway, answering(3))
        await asyncio.sleep(1)
    print(f"\nfrozen and back: {dict(load.counts)}")  # noqa: T201  # a figure to keep, shown by pytest -s
    assert set(load.counts) <= {RIGHT, "504"}, load.counts
    assert load.counts["504"] <= 10
