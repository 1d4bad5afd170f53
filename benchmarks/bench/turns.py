"""One turn of one contestant: load for some seconds, and what every process used of the CPU meanwhile.

The generator is a process of its own, which reads /proc when its load begins and when it ends, so that starting it
counts for nobody.
"""

import gc
import math
import multiprocessing
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection as PipeConnection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import psutil
from connection import Address
from figures import percentile

from bench.requests import Request

_PATIENCE = 60.0  # seconds on top of the turn's own


class TurnFailed(Exception):
    """The contestant did not do its work; the message says what came instead."""


@dataclass(frozen=True)
class Turn:
    """`cpu` are seconds by the name of the process; `client` among them is the generator, or the client itself.

    Latencies are in seconds.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    cpu: Mapping[str, float]

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def each(self, *names: str) -> float:
        """Microseconds of CPU a request, of these processes or of all."""
        return sum(self.cpu[name] for name in names or self.cpu) / self.requests * 1e6


Watched = Mapping[str, int]
"""The root of each process tree, by name."""

Work = Callable[[], tuple[list[float], float]]
"""Does the load; answers the latencies, in seconds, and how long it took."""


def cpu(watched: Watched) -> dict[str, float]:
    """Seconds of CPU that each tree used so far: utime and stime of /proc/<pid>/stat, in steps of 10 ms."""
    return {name: sum(map(_used, _tree(pid))) for name, pid in watched.items()}


def _tree(pid: int) -> Iterable[psutil.Process]:
    root = psutil.Process(pid)
    return root, *root.children(recursive=True)


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class _Refused(str):
    """Why a turn came to nothing; the generator is fit for the next one."""


class Generator:
    """A process that makes the load, turn after turn; another takes its place where a turn does not end."""

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
        self._pipe: PipeConnection[object, object] | None = None

    def turn(
        self,
        prepare: Callable[..., Work],
        *arguments: object,
        watched: Watched,
        seconds: float,
        **load: float,
    ) -> Turn:
        """The load of `prepare(*arguments, **load)`. Raises TurnFailed."""
        pipe = self._pipe or self._start()
        try:
            pipe.send((partial(prepare, *arguments, **load), dict(watched)))
            answer = pipe.recv() if pipe.poll(seconds + _PATIENCE) else None
        except (EOFError, OSError) as error:
            answer = f"the generator died: {error}"
        if not isinstance(answer, Turn | _Refused):
            self.close()
        if isinstance(answer, Turn):
            return answer
        raise TurnFailed(str(answer or "no end of the turn"))

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None

    def _start(self) -> "PipeConnection[object, object]":
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_generator, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        return self._pipe


def _generator(jobs: "PipeConnection[object, Any]") -> None:
    """What the generator's process does until it is ended."""
    while True:
        prepare, watched = jobs.recv()
        gc.collect()
        try:
            jobs.send(_timed(prepare(), watched))
        except Exception as error:  # noqa: BLE001  # whatever it is, the other contestants go on
            jobs.send(_Refused(f"{type(error).__name__}: {error}"))


def _timed(work: Work, watched: Watched) -> Turn:
    before, own = cpu(watched), time.process_time()
    latencies, seconds = work()
    used = {"client": time.process_time() - own}
    used |= {name: after - before[name] for name, after in cpu(watched).items()}
    return Turn(len(latencies), seconds, percentile(latencies, 0.5), percentile(latencies, 0.99), used)


def wrk(address: Address, request: Request, in_flight: int, seconds: float, watched: Watched) -> Turn:
    """Saturation by wrk, one thread. Raises TurnFailed for answers that are no success."""
    with tempfile.TemporaryDirectory() as folder:
        script = _lua(Path(folder), request)
        command = ["wrk", "-t1", f"-c{in_flight}", f"-d{math.ceil(seconds)}", "--latency", "-s", str(script)]
        before = cpu(watched)
        process = subprocess.Popen(
            [*command, f"http://{address.host}:{address.port}{request.path}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        after = cpu(watched)
    used = {"client": usage.ru_utime + usage.ru_stime, **{name: after[name] - before[name] for name in after}}
    return _read(output, used)


def _lua(folder: Path, request: Request) -> Path:
    """wrk's script: the body from a file, and figures in the last line, which are easier to read than its report."""
    body, script = folder / "body", folder / "request.lua"
    body.write_bytes(request.body)
    lines = [f'wrk.method = "{request.method}"', f'wrk.body = io.open("{body}", "rb"):read("*a")']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers.items()]
    lines += [
        "done = function(summary, latency)",
        "  local e = summary.errors",
        "  local bad = e.status + e.connect + e.read + e.write + e.timeout",
        "  print(string.format('figures %d %d %d %d %d', summary.requests, bad, summary.duration,",
        "    latency:percentile(50), latency:percentile(99)))",
        "end",
    ]
    script.write_text("\n".join(lines))
    return script


def _read(output: str, used: Mapping[str, float]) -> Turn:
    found = [line.split()[1:] for line in output.splitlines() if line.startswith("figures ")]
    if not found:
        raise TurnFailed(f"wrk said: {output.strip()[-300:]}")
    requests, bad, *microseconds = map(int, found[0])
    if bad or not requests:
        raise TurnFailed(f"{bad} of {requests} requests failed")
    seconds, p50, p99 = (value / 1e6 for value in microseconds)
    return Turn(requests, seconds, p50, p99, used)
