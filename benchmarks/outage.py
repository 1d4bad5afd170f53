"""Redis frozen, and Redis killed, under load: what a request loses, and what the quotas still hold."""

import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from connection import http_request
from figures import Figures, between, ms, table
from load import Load, Open, RunningLoad, Sample
from processes import running, wait_listening
from stack import redis
from testbed import WORKERS, Testbed

RATE = 200  # requests a second of a caller with quota to spare
LIMIT = 20  # a second and as burst, of a caller who asks for four times that
SECONDS = 15.0  # before, during and after the outage, each
WARM_UP = 2.0

_OPENED = "rate limits are local: the store does not answer"
_CLOSED = "rate limits are shared again"


@dataclass(frozen=True)
class Fault:
    """A way to lose Redis, and the way back."""

    name: str
    begin: Callable[[Testbed], None]
    mend: Callable[[Testbed, ExitStack], None]


@dataclass(frozen=True)
class Outage:
    """What happened, in seconds from the begin of the load; a worker each in `opened` and `closed`."""

    samples: Sequence[Sample]
    began: float
    ended: float
    opened: Sequence[float]
    closed: Sequence[float]

    def of(self, begin: float, end: float) -> Figures:
        return between(self.samples, begin, end, "roomy")

    @property
    def open_at(self) -> float:
        """When the last worker stopped asking."""
        return max(self.opened)

    @property
    def shared_again(self) -> float:
        """Seconds from Redis's return until the last worker asks it again."""
        return max(self.closed) - self.ended

    @property
    def overspent(self) -> float:
        """What the caller at its limit got while Redis was away, as a multiple of its quota."""
        spent = between(self.samples, self.began, self.ended, "limited").good
        return spent / (LIMIT + LIMIT * (self.ended - self.began))


def freeze_and_kill(bed: Testbed) -> None:
    """SIGSTOP and SIGCONT, then SIGKILL and a new, empty Redis at the same place."""
    row = table(
        f"Redis away for {SECONDS:.0f} s at {RATE} requests a second",
        (
            "fault",
            "5xx (goal 0)",
            "p99 before",
            "added to p99 until both breakers open (goal 60 ms)",
            "open after",
            "added to p99 while open (goal 2 ms)",
            "shared again after",
            "spent of a quota meanwhile (goal 2)",
        ),
    )
    for fault in _FAULTS:
        found = _suffer(bed, fault)
        before = found.of(WARM_UP, found.began)
        opening = found.of(found.began, found.open_at)
        while_open = found.of(found.open_at, found.ended)
        base = before.latency(0.99)
        row(
            fault.name,
            found.of(0, math.inf).server_errors,
            ms(base),
            f"{ms(opening.latency(0.99) - base)} of {len(opening.samples)} requests",
            ms(found.open_at - found.began),
            ms(while_open.latency(0.99) - base),
            f"{found.shared_again:.1f} s",
            f"{found.overspent:.2f}",
        )


def _suffer(bed: Testbed, fault: Fault) -> Outage:
    """The fault, in the middle of a load that goes on."""
    _, roomy = bed.key("roomy")
    _, limited = bed.key("limited", rate_limit={"limit": LIMIT, "period": 1, "burst": LIMIT})
    streams = [
        Open("roomy", http_request("GET", "/v1/models", key=roomy), RATE),
        Open("limited", http_request("GET", "/v1/models", key=limited), 4 * LIMIT),
    ]
    with ExitStack() as stack, RunningLoad(Load(bed.address, streams, 3 * SECONDS)) as load:
        wall = time.time() - time.monotonic() + load.begins  # the log's clock when the load begins
        load.wait_until(SECONDS)
        began = time.monotonic() - load.begins
        fault.begin(bed)
        load.wait_until(2 * SECONDS)
        fault.mend(bed, stack)
        ended = time.monotonic() - load.begins
        samples = load.samples()
    lines = bed.log(wall)
    opened = _times(lines, _OPENED, wall, began)
    closed = _times(lines, _CLOSED, wall, ended)
    return Outage(samples, began, ended, opened, closed)


def _times(lines: Sequence[Mapping[str, Any]], event: str, wall: float, since: float) -> list[float]:
    """When each worker said it first. Raises RuntimeError where one did not."""
    times = sorted(line["at"] - wall for line in lines if line["event"] == event)
    found = [at for at in times if at >= since][:WORKERS]
    if len(found) < WORKERS:
        raise RuntimeError(f"{len(found)} of {WORKERS} workers said: {event}")
    return found


def _freeze(bed: Testbed) -> None:
    bed.stack.redis.popen.send_signal(signal.SIGSTOP)


def _thaw(bed: Testbed, _: ExitStack) -> None:
    bed.stack.redis.popen.send_signal(signal.SIGCONT)


def _kill(bed: Testbed) -> None:
    bed.stack.redis.stop(signal.SIGKILL)


def _replace(bed: Testbed, stack: ExitStack) -> None:
    """A new, empty Redis, for as long as `stack` lasts."""
    at = bed.stack.at
    stack.enter_context(running(redis(at)))
    wait_listening(at.redis_address, at.redis_port)


_FAULTS = (Fault("SIGSTOP", _freeze, _thaw), Fault("SIGKILL", _kill, _replace))
