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
from pathlib import Path

import psutil
from bench.requests import Request
from connection import Address
from figures import percentile

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


def turn(
    prepare: Callable[..., Work], *arguments: object, watched: Watched, seconds: float, **load: float
) -> Turn:
    """`prepare(*arguments, **load)` makes the load in a process of its own. Raises TurnFailed."""
    context = multiprocessing.get_context("spawn")
    results, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, partial(prepare, *arguments, **load), dict(watched)), daemon=True)
    process.start()
    theirs.close()
    try:
        if not results.poll(seconds + _PATIENCE):
            raise TurnFailed("no end of the turn")
        answer = results.recv()
    except EOFError:
        raise TurnFailed("the generator died") from None
    finally:
        process.join(1)
        process.kill()
        process.join()
    if isinstance(answer, str):
        raise TurnFailed(answer)
    assert isinstance(answer, Turn)
    return answer


def _child(
    results: "PipeConnection[object, object]",
    prepare: Callable[[], Work],
    watched: Watched,
) -> None:
    try:
        work = prepare()
        gc.collect()
        gc.freeze()
        results.send(_timed(work, watched))
    except Exception as error:  # noqa: BLE001  # whatever it is, the other contestants go on
        results.send(f"{type(error).__name__}: {error}")


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
