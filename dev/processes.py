"""A real stack for a while: Triton, Redis and the gateway as children on free ports, for tests and measurements."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from stack import (
    ADMINISTRATION,
    ROOT,
    RUN,
    Addresses,
    Part,
    StackError,
    create_key,
    free_addresses,
    gateway,
    redis,
    triton,
)

READY_SECONDS = 90


@dataclass(frozen=True)
class Process:
    """A running part; `log` holds all that it printed."""

    popen: "subprocess.Popen[bytes]"
    log: Path

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """Sends the signal and waits; kills what does not end. Answers the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(5)


@dataclass(frozen=True)
class RunningStack:
    """Where the parts answer, and their processes."""

    at: Addresses
    triton: Process
    redis: Process
    gateway: Process
    key: str
    admin_key: str

    @property
    def url(self) -> str:
        return self.at.gateway_url

    def client(self) -> httpx.Client:
        """HTTP to the gateway, with a key whose quota nobody exhausts by hand."""
        headers = {"x-api-key": self.key}
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, headers=headers)


def workers_of(gateway: Process) -> list[psutil.Process]:
    """The processes that answer requests; the one that was started where it has no children."""
    parent = psutil.Process(gateway.popen.pid)
    return [child for child in parent.children(recursive=True) if _answers(child)] or [parent]


def _answers(child: psutil.Process) -> bool:
    try:
        return "resource_tracker" not in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # also one that has ended and that its parent has not looked at yet
        return False


@contextmanager
def running(part: Part) -> Iterator[Process]:
    """The part as a process, stopped at the end of the block, and when this process is told to end."""
    _unwind_when_told_to_end()
    folder = RUN / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{part.name}-{time.time_ns()}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            part.command,
            env={**os.environ, **part.environment},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    process = Process(popen, log)
    try:
        yield process
    finally:
        process.stop()


def _unwind_when_told_to_end() -> None:
    """SIGTERM ends this process as Ctrl-C does. Left alone it would end nothing but this process."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def running_stack(
    repository: Path | None = None, triton_traces: str | None = None, /, **settings: object
) -> Iterator[RunningStack]:
    """All three parts, ready; `settings` are the gateway's. `triton_traces` is where Triton sends its own spans."""
    at = free_addresses()
    with (
        running(redis(at)) as redis_process,
        running_triton(triton(at, repository, traces=triton_traces), at) as triton_process,
        running(gateway(at, **settings)) as gateway_process,
    ):
        wait_ready(f"{at.gateway_url}/readyz", gateway_process, triton_process)
        yield RunningStack(
            at,
            triton_process,
            redis_process,
            gateway_process,
            key=create_key(at, "tests", "infer", "pin-version"),
            admin_key=create_key(at, "operators", *ADMINISTRATION),
        )


@contextmanager
def running_triton(part: Part, at: Addresses) -> Iterator[Process]:
    """A Triton that has begun to listen, or ended a second time.

    It is started once more for two faults of Triton 2.51 itself, and no other end is forgiven: a busy machine can
    starve it of a lock that it shares with its models' processes (`boost::interprocess::lock_exception`), and about one
    time in forty it dies as it takes down a model that failed to load (SIGSEGV in
    `TritonBackendThread::StopBackendThread`).
    """
    with running(part) as first:
        if _listens_or_ended(first, at) or not _of_its_own_fault(first):
            yield first
            return
    with running(part) as second:
        yield second


def _listens_or_ended(process: Process, at: Addresses) -> bool:
    """Whether it listens, once it does or has ended or the time is up."""
    end = time.monotonic() + READY_SECONDS
    while process.popen.poll() is None and time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            contextlib.closing(socket.create_connection((at.triton_address, at.triton_grpc_port), timeout=1)),
        ):
            return True
        time.sleep(0.05)
    return False


def _of_its_own_fault(triton: Process) -> bool:
    log = triton.log.read_text()
    taken_down = triton.popen.returncode == -signal.SIGSEGV and "failed to load" in log
    return taken_down or "lock_exception" in log


def wait_ready(url: str, *needed: Process) -> None:
    """Returns once `url` answers 200. Raises StackError with the logs where that does not happen."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        for process in needed:
            if process.popen.poll() is not None:
                code = process.popen.returncode
                raise StackError(f"a part ended early, with {code}:\n{process.log.read_text()[-4000:]}")
        try:
            if httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    logs = "\n".join(process.log.read_text()[-2000:] for process in needed)
    raise StackError(f"{url} was not ready after {READY_SECONDS} s:\n{logs}")


def wait_listening(host: str, port: int, seconds: float = 10) -> None:
    """Returns once somebody accepts connections there. Raises StackError where nobody does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            contextlib.closing(socket.create_connection((host, port), timeout=1)),
        ):
            return
        time.sleep(0.02)
    raise StackError(f"nobody listens on {host} port {port} after {seconds:.0f} s")
