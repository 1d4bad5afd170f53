"""`gateway serve` with a sampler inside: SIGUSR1 begins, SIGUSR2 ends and writes to the file of BENCH_PROFILE.

A timer of the main thread's CPU time interrupts it, and a sample counts for the innermost frame that belongs to a
stage; what the standard library does counts for whoever called it. Extensions have no frames: their time is their
caller's. That of the event loop itself (waking up, reading, writing) falls to the first frame that it calls afterwards.
"""

import ctypes
import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

import psutil

from gateway.cli import main

FILE = "BENCH_PROFILE"
_INTERVAL = 0.001  # seconds of CPU; the kernel's own tick may be coarser
# CLOCK_THREAD_CPUTIME_ID. The clock of setitimer is that of all threads: it would wake an idle one for others' time.
_THREAD_CPU = 3
_POOL = "gateway-pool"

HTTP = "HTTP: uvicorn, httptools, the guard"
FRAMEWORK = "Litestar: route, handler, response"
CONTEXT = "request's context, metrics, log line, spans"
CALLER = "who calls"
LIMITS = "limits, and Redis"
CODEC = "body, tensors and pictures: reading, parsing, writing"
PLANE = "data plane: version, turn, outcome"
UPSTREAM = "the call to Triton: messages and grpc.aio's Python"
LOOP = "none of these"
DECODING = "decoding threads"
OTHERS = "gRPC's own threads"
STAGES = (HTTP, FRAMEWORK, CONTEXT, CALLER, LIMITS, CODEC, PLANE, UPSTREAM, LOOP)

# The first line with a piece of the file's path decides.
_PLACES = (
    (HTTP, ("/uvicorn/", "/httptools/", "gateway/http/")),
    (FRAMEWORK, ("/litestar/",)),
    (CONTEXT, ("gateway/api/middleware", "gateway/api/context", "gateway/telemetry/", "/structlog/")),
    (CONTEXT, ("/prometheus_client/", "/opentelemetry/")),
    (CALLER, ("gateway/auth/", "gateway/api/access")),
    (LIMITS, ("gateway/ratelimit/", "gateway/store/", "/redis/")),
    (CODEC, ("gateway/api/", "gateway/translate/", "gateway/pool", "gateway/datatypes", "/pydantic/")),
    (
        PLANE,
        ("gateway/dataplane", "gateway/canary/", "gateway/admission/", "gateway/catalog/", "gateway/pri"),
    ),
    (UPSTREAM, ("gateway/upstream/", "/grpc/", "/tritonclient/", "/google/")),
)


class _Event(ctypes.Structure):
    """POSIX's sigevent; notify 0 sends the signal to the process, whose main thread takes it."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_byte * 48),
    )


class CpuTimer:
    """Sends `number` for each interval of CPU time that the thread which made it has used. Raises OSError."""

    def __init__(self, number: int) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._id = ctypes.c_void_p()
        event = _Event(signal=number, notify=0)
        self._check(self._library.timer_create(_THREAD_CPU, ctypes.byref(event), ctypes.byref(self._id)))

    def every(self, seconds: float) -> None:
        """From now on; 0 for no more."""
        nanoseconds = int(seconds * 1e9)
        times = (ctypes.c_long * 4)(*divmod(nanoseconds, 10**9), *divmod(nanoseconds, 10**9))
        self._check(self._library.timer_settime(self._id, 0, ctypes.byref(times), None))

    def _check(self, failed: int) -> None:
        if failed:
            raise OSError(ctypes.get_errno(), "no timer of a thread's CPU time")


class Sampler:
    """Counts samples by stage, and knows what each kind of thread used meanwhile."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stages: dict[str, str | None] = {}
        self._seen: Counter[str] = Counter()
        self._before: dict[str, float] = {}
        self._timer = CpuTimer(signal.SIGPROF)

    def begin(self, *_: object) -> None:
        self._seen.clear()
        self._before = _threads()
        self._timer.every(_INTERVAL)

    def end(self, *_: object) -> None:
        self._timer.every(0)
        used = {kind: seconds - self._before[kind] for kind, seconds in _threads().items()}
        written = self._file.with_suffix(".new")
        written.write_text(json.dumps({"samples": dict(self._seen), "seconds": used}))
        written.rename(self._file)

    def sample(self, _: int, frame: FrameType | None) -> None:
        while frame is not None:
            file = frame.f_code.co_filename
            if file not in self._stages:
                self._stages[file] = stage_of(file)
            if stage := self._stages[file]:
                self._seen[stage] += 1
                return
            frame = frame.f_back
        self._seen[LOOP] += 1


def stage_of(file: str) -> str | None:
    """The stage that a source file belongs to; None for what counts for its caller."""
    if file.endswith("uvicorn/server.py") or "gateway/cli" in file:
        return LOOP  # the outermost frames: nothing of a request is on the stack
    return next((stage for stage, pieces in _PLACES if any(piece in file for piece in pieces)), None)


def _threads() -> dict[str, float]:
    """Seconds of CPU so far: of the main thread, of those that decode, and of those that Python did not start."""
    python = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = {"main": 0.0, "decoding": 0.0, "others": 0.0}
    for thread in psutil.Process().threads():
        name = python.get(thread.id, "")
        kind = "main" if thread.id == os.getpid() else "decoding" if name.startswith(_POOL) else "others"
        found[kind] += thread.user_time + thread.system_time
    return found


if __name__ == "__main__":
    sampler = Sampler(Path(os.environ[FILE]))
    signal.signal(signal.SIGUSR1, sampler.begin)
    signal.signal(signal.SIGUSR2, sampler.end)
    signal.signal(signal.SIGPROF, sampler.sample)
    main(["serve"])
