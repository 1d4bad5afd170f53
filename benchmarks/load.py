"""Load on a gateway from a process of its own: an open loop with a fixed schedule of arrivals, and a closed loop.

In the open loop requests are sent when they are due, however many are still unanswered, and latency counts from when
a request was due: a slow server cannot slow down those who measure it.
"""

import asyncio
import gc
import math
import multiprocessing
import random
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

import uvloop
from connection import Address, Connections

_START_SECONDS = 2.5  # for the new process to import, connect and wait for its turn
_FIRST_CONNECTIONS = 16  # more are opened where these are all in use
_MOST_CONNECTIONS = 1000


class Sample(NamedTuple):
    """One request: when it was due (seconds from the begin of the load), how long until its answer, its status."""

    stream: str
    due: float
    latency: float
    status: int


@dataclass(frozen=True)
class Open:
    """`rate` requests a second on average, in an open loop between `begin` and `end` (seconds; None: all the time).

    Arrivals are random and independent, as those of many callers are, but the same in every run.
    """

    name: str
    request: bytes
    rate: float
    begin: float = 0.0
    end: float | None = None


@dataclass(frozen=True)
class Closed:
    """So many clients, each of which sends its next request when it has the answer to the last."""

    name: str
    request: bytes
    clients: int


@dataclass(frozen=True)
class Load:
    """`seconds` of all the streams together. A request that has no answer after `patience` seconds counts as lost."""

    address: Address
    streams: Sequence[Open | Closed]
    seconds: float
    seed: int = 1
    patience: float = 15.0


def schedule(load: Load) -> list[tuple[float, Open]]:
    """When each request of the open streams is due."""
    due: list[tuple[float, int, Open]] = []
    for number, stream in enumerate(load.streams):
        if isinstance(stream, Open):
            times = arrivals(stream, load.seconds, random.Random(f"{load.seed} {stream.name}"))
            due.extend((at, number, stream) for at in times)
    return [(at, stream) for at, _, stream in sorted(due, key=lambda entry: entry[:2])]


def arrivals(stream: Open, seconds: float, source: random.Random) -> list[float]:
    end = seconds if stream.end is None else min(stream.end, seconds)
    times = []
    at = stream.begin
    while (at := at + source.expovariate(stream.rate)) < end:
        times.append(at)
    return times


class RunningLoad:
    """`with RunningLoad(load) as running: …; samples = running.samples()`. It begins at `begins`, a monotonic time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._executor = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._samples: Future[list[Sample]]
        self.begins = math.inf

    def __enter__(self) -> Self:
        self.begins = time.monotonic() + _START_SECONDS
        self._samples = self._executor.submit(generate, self._load, self.begins)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()

    def wait_until(self, seconds: float) -> None:
        """Sleeps until so many seconds after the begin of the load."""
        time.sleep(max(0.0, self.begins + seconds - time.monotonic()))

    def samples(self) -> list[Sample]:
        """Waits for the end of the load. In the order of the answers."""
        return self._samples.result()


def measure(load: Load) -> list[Sample]:
    """Runs the load to its end."""
    with RunningLoad(load) as running:
        return running.samples()


def generate(load: Load, begins: float) -> list[Sample]:
    """What the generator's process does."""
    gc.disable()  # a collection is a pause that would be taken for the server's
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_generate(load, begins))


async def _generate(load: Load, begins: float) -> list[Sample]:
    connections = Connections(load.address, most=_MOST_CONNECTIONS, patience=load.patience)
    closed = [stream for stream in load.streams if isinstance(stream, Closed)]
    await connections.open(max(_FIRST_CONNECTIONS, sum(stream.clients for stream in closed)))
    if time.monotonic() > begins:
        raise RuntimeError("the generator was not ready in time: the machine is too busy to measure on")
    await asyncio.sleep(begins - time.monotonic())
    run = _Run(load, begins, connections)
    for stream in closed:
        for _ in range(stream.clients):
            run.again(stream)
    await run.follow(schedule(load))
    await run.finish()
    connections.close()
    return run.samples


class _Run:
    """The samples of one load, and how many are still to come."""

    def __init__(self, load: Load, begins: float, connections: Connections) -> None:
        self.samples: list[Sample] = []
        self._load = load
        self._begins = begins
        self._connections = connections
        self._open = 0
        self._settled = asyncio.Event()
        self._settled.set()

    async def follow(self, due: Sequence[tuple[float, Open]]) -> None:
        for at, stream in due:
            if (early := self._begins + at - time.monotonic()) > 0:
                await asyncio.sleep(early)
            self._ask(stream, at)

    async def finish(self) -> None:
        """Returns when the time is over and every answer is there."""
        await asyncio.sleep(max(0.0, self._begins + self._load.seconds - time.monotonic()))
        await self._settled.wait()

    def again(self, stream: Closed) -> None:
        now = time.monotonic() - self._begins
        if now < self._load.seconds:
            self._ask(stream, now)

    def _ask(self, stream: Open | Closed, due: float) -> None:
        self._open += 1
        self._settled.clear()

        def answered(status: int) -> None:
            self._open -= 1
            self.samples.append(Sample(stream.name, due, time.monotonic() - self._begins - due, status))
            if isinstance(stream, Closed):
                self.again(stream)
            if not self._open:
                self._settled.set()

        self._connections.ask(stream.request, answered)
