"""`make soak`: mixed traffic for a long time, with a fault now and then, and what of the gateway grows meanwhile.

MINUTES=30 unless it is said otherwise; a run of less than twenty says nothing about slopes, and does not judge them.

Connections to Redis are counted apart from other descriptors: a pool keeps as many as it ever needed at once, and gives
back at a freeze those that waited in vain. So they rise and fall by steps; all else stays where it is.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from descriptors import kinds as descriptor_kinds
from figures import table
from processes import Process, RunningStack, running_stack, workers_of
from stack import ROOT

RATE = 20.0  # requests a second
EVERY = 60.0  # seconds from one fault to the next
FROZEN = 2.0  # seconds
SAMPLED = 2.0  # seconds between two samples
WARM_UP = 0.5  # of the time does not count: caches and pools fill
JUDGED = 20.0  # minutes from which on a slope says something: half of them see five freezes of Redis
SHARED_MEMORY = Path("/dev/shm")
REDIS, CALLERS = "connections to Redis", "connections of callers"
ALLOWED = {
    "resident MB": 1.0,
    REDIS: 1.0,
    CALLERS: 0.5,
    "other descriptors": 0.2,
    "threads": 0.2,
    "regions of this Triton in /dev/shm": 0.2,
}  # a minute
LEFT = 4  # descriptors that may be there more after than before: a channel to Triton that is being made anew
_PATIENCE = 20.0
_LEAVES_AFTER = 0.01  # seconds


class Sample(NamedTuple):
    """All workers together, `at` minutes from the begin."""

    at: float
    resident: float
    redis: int
    callers: int
    others: int
    threads: int
    shared: int
    kinds: Counter[str]

    @property
    def watched(self) -> Sequence[float]:
        """In the order of ALLOWED."""
        return self[1:-1]


@dataclass
class Soak:
    """What was seen."""

    samples: list[Sample] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    before: Sample | None = None
    after: Sample | None = None

    def slopes(self) -> dict[str, float]:
        """What is gained in a minute, by least squares, of each thing that is watched."""
        last = self.samples[-1].at if self.samples else 0.0
        warm = [sample for sample in self.samples if sample.at >= WARM_UP * last]
        minutes = [sample.at for sample in warm]
        columns = np.array([sample.watched for sample in warm], np.float64).T
        return {
            name: float(np.polyfit(minutes, column, 1)[0])
            for name, column in zip(ALLOWED, columns, strict=True)
        }


@dataclass(frozen=True)
class Kind:
    """One kind of request; `leaves` says that its caller does not wait for the answer."""

    name: str
    path: str
    content: bytes
    media_type: str
    leaves: bool = False


def kinds() -> Sequence[Kind]:
    digit = (ROOT / "clients" / "samples" / "digit.png").read_bytes()
    scene = (ROOT / "clients" / "samples" / "scene.jpg").read_bytes()
    tensor = b'{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,1,32,32],"data":[%s]}]}' % b",".join(
        [b"7"] * 1024
    )
    return [
        Kind("classify", "/v1/classify", digit, "image/png"),
        Kind("detect", "/v1/detect", scene, "image/jpeg"),
        Kind("tensors", "/v2/models/digits_classifier/infer", tensor, "application/json"),
        Kind("a broken picture", "/v1/classify", digit[: len(digit) // 2], "image/png"),
        Kind("no JSON", "/v1/classify", b"[" * 50_000, "application/json"),
        Kind("a caller who leaves", "/v1/detect", scene, "image/jpeg", leaves=True),
    ]


async def soak(stack: RunningStack, minutes: float, every: float = EVERY) -> Soak:
    """The whole run on a stack that is ready."""
    found = Soak(before=sample(stack, 0.0))
    began, end = time.monotonic(), time.monotonic() + 60 * minutes
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(call_until(stack, end, found))
        tasks.create_task(sample_until(stack, began, end, found))
        tasks.create_task(break_until(stack, end, every, found))
    await settle(stack, found)
    return found


async def call_until(stack: RunningStack, end: float, found: Soak) -> None:
    """An open loop, the kinds by turns."""
    asked, began, number = kinds(), time.monotonic(), 0
    async with clients(stack) as client, asyncio.TaskGroup() as calls:
        while (due := began + number / RATE) < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            calls.create_task(call(client, asked[number % len(asked)], found))
            number += 1


@asynccontextmanager
async def clients(stack: RunningStack) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=200, keepalive_expiry=2)
    headers = {"x-api-key": stack.key}
    async with httpx.AsyncClient(
        base_url=stack.url, headers=headers, timeout=_PATIENCE, trust_env=False, limits=limits
    ) as client:
        yield client


async def call(client: httpx.AsyncClient, kind: Kind, found: Soak) -> None:
    timeout = _LEAVES_AFTER if kind.leaves else _PATIENCE
    headers = {"content-type": kind.media_type, "x-request-timeout": "2000"}
    try:
        reply = await client.post(kind.path, content=kind.content, headers=headers, timeout=timeout)
    except httpx.HTTPError as error:
        found.outcomes[f"{kind.name}: {'left' if kind.leaves else type(error).__name__}"] += 1
        return
    code = (
        "" if reply.status_code == httpx.codes.OK else reply.json().get("code", "")
    )  # /v2 says it otherwise
    found.outcomes[f"{kind.name}: {reply.status_code} {code}".strip()] += 1


async def sample_until(stack: RunningStack, began: float, end: float, found: Soak) -> None:
    while time.monotonic() < end:
        found.samples.append(sample(stack, (time.monotonic() - began) / 60))
        await asyncio.sleep(SAMPLED)


async def break_until(stack: RunningStack, end: float, every: float, found: Soak) -> None:
    """Redis and Triton are frozen by turns; the last time early enough to be over in the end."""
    parts = [("Redis frozen", stack.redis), ("Triton frozen", stack.triton)]
    while time.monotonic() + every + FROZEN < end:
        await asyncio.sleep(every)
        name, process = parts[found.faults.total() % len(parts)]
        await freeze(process)
        found.faults[name] += 1


async def freeze(process: Process) -> None:
    process.popen.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN)
    finally:
        process.popen.send_signal(signal.SIGCONT)


async def settle(stack: RunningStack, found: Soak, within: float = 8.0) -> None:
    """Callers are gone; what was taken for them is given back within some seconds, or never."""
    assert found.before is not None
    end = time.monotonic() + within
    while True:
        found.after = sample(stack, 0.0)
        if left_behind(found) == 0 or time.monotonic() > end:
            return
        await asyncio.sleep(0.5)


def left_behind(found: Soak) -> int:
    """Descriptors, but for Redis's, that are there after the last caller and were not before the first one."""
    assert found.before is not None
    assert found.after is not None
    grown = found.after.callers + found.after.others - found.before.callers - found.before.others
    return max(0, grown)


def sample(stack: RunningStack, at: float) -> Sample:
    workers = workers_of(stack.gateway)
    ports = {stack.at.gateway_port: CALLERS, stack.at.redis_port: REDIS, stack.at.triton_grpc_port: "Triton"}
    open_now = sum((descriptor_kinds(worker, ports) for worker in workers), Counter())
    return Sample(
        at,
        sum(worker.memory_info().rss for worker in workers) / 2**20,
        open_now[REDIS],
        open_now[CALLERS],
        open_now.total() - open_now[REDIS] - open_now[CALLERS],
        sum(worker.num_threads() for worker in workers),
        sum(
            1 for _ in SHARED_MEMORY.glob(f"triton-*-{stack.triton.popen.pid}-*")
        ),  # as its launcher names them
        open_now,
    )


def judged(found: Soak, slopes: Mapping[str, float], minutes: float) -> Sequence[str]:
    """What grows, as far as so short a time can tell; what is left behind shows in the shortest."""
    growing = [name for name, allowed in ALLOWED.items() if minutes >= JUDGED and slopes[name] > allowed]
    return [*growing, "what is left behind"] if left_behind(found) > LEFT else growing


def say_kinds(found: Soak, say: Callable[[str], None]) -> None:
    """The descriptors by kind, before, half-way and after."""
    assert found.before is not None
    assert found.after is not None
    moments = (found.before, found.samples[len(found.samples) // 2], found.after)
    row = table("Descriptors by kind", ("kind", "before", "half-way", "after"), say=say)
    for kind in sorted(set().union(*(moment.kinds for moment in moments))):
        row(kind, *(moment.kinds[kind] for moment in moments))


def report(found: Soak, minutes: float, say: Callable[[str], None] = print) -> bool:
    """Prints what was found; answers whether nothing grew, as far as so short a time can tell."""
    assert found.before is not None
    assert found.after is not None
    say(f"{minutes:g} minutes, {found.outcomes.total()} requests; {dict(found.faults)}")
    for outcome, count in sorted(found.outcomes.items()):
        say(f"  {count:6} {outcome}")
    slopes = found.slopes()
    row = table(
        "What grew, all workers together", ("of", "before", "most", "after", "a minute", "allowed"), say=say
    )
    for place, (name, allowed) in enumerate(ALLOWED.items()):
        amounts = [
            found.before.watched[place],
            max(each.watched[place] for each in found.samples),
            found.after.watched[place],
        ]
        row(name, *(f"{amount:.0f}" for amount in amounts), f"{slopes[name]:+.2f}", allowed)
    growing = judged(found, slopes, minutes)
    if growing:
        say(f"\nGrows: {', '.join(growing)}.")
        say_kinds(found, say)
    elif minutes < JUDGED:
        say(f"\nNothing is left behind. Too short to judge slopes: {JUDGED:g} minutes are the least.")
    else:
        say("\nNothing grows.")
    return not growing


def main() -> None:
    options = argparse.ArgumentParser(description="Mixed traffic and faults for a long time.")
    options.add_argument("minutes", type=float, nargs="?", default=30.0)
    minutes = options.parse_args().minutes
    with contextlib.suppress(KeyboardInterrupt), running_stack(workers=2) as stack:
        sys.exit(0 if report(asyncio.run(soak(stack, minutes)), minutes) else 1)


if __name__ == "__main__":
    main()
