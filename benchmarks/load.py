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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as PipeConnection
from types import TracebackType
from typing import NamedTuple, Self

import uvloop
from connection import Address, Connections

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
    """`with RunningLoad(load) as running: …; samples = running.samples()`. `begins` is on the monotonic clock."""

    def __init__(self, load: Load) -> None:
        context = multiprocessing.get_context("spawn")
        self._results, self._theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_generator, args=(load, self._theirs))
        self.begins = math.inf

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()  # so that the end of the process is the end of the pipe
        self.begins = self._results.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.terminate()
        self._process.join()
        self._results.close()

    def wait_until(self, seconds: float) -> None:
        """Sleeps until so many seconds after the begin of the load."""
        time.sleep(max(0.0, self.begins + seconds - time.monotonic()))

    def samples(self) -> list[Sample]:
        """Waits for the end of the load. In the order of the answers. Raises EOFError where the process failed."""
        samples: list[Sample] = self._results.recv()
        return samples


def measure(load: Load) -> list[Sample]:
    """Runs the load to its end."""
    with RunningLoad(load) as running:
        return running.samples()


def _generator(load: Load, results: "PipeConnection[object, object]") -> None:
    """What the generator's process does: sends the time of the begin, and in the end the samples."""
    gc.disable()  # a collection is a pause that would be taken for the server's
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        results.send(runner.run(generate(load, results.send)))


async def generate(load: Load, begun: Callable[[float], None]) -> list[Sample]:
    """The whole load. `begun` hears when it begins: as soon as the first connections are open."""
    connections = Connections(load.address, most=_MOST_CONNECTIONS, patience=load.patience)
    closed = [stream for stream in load.streams if isinstance(stream, Closed)]
    await connections.open(max(_FIRST_CONNECTIONS, sum(stream.clients for stream in closed)))
    begins = time.monotonic()
    begun(begins)
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
