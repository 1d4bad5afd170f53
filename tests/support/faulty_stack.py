"""A real stack whose Triton and Redis a test may kill, freeze and start again at the same places."""

import contextlib
import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from exposition import Exposition
from processes import (
    Process,
    RunningStack,
    running,
    running_stack,
    running_triton,
    wait_listening,
    workers_of,
)
from stack import ROOT, redis, triton
from support.callers import Ask, answers, until
from testbed import roomy_access
from traffic import golden


@dataclass
class FaultyStack:
    """`triton` and `redis` are those that run now; `later` stops what was started again."""

    parts: RunningStack
    repository: Path
    triton: Process
    redis: Process
    later: contextlib.ExitStack

    @property
    def url(self) -> str:
        return self.parts.url

    @property
    def key(self) -> str:
        return self.parts.key

    async def start_triton(self) -> float:
        """After the end of the one before. Answers when it was ready, on the monotonic clock."""
        at = self.parts.at
        self.triton = self.later.enter_context(running_triton(triton(at, self.repository), at))
        return await until(lambda: answers(self.triton_ready), within=60)

    @property
    def triton_ready(self) -> str:
        return f"http://{self.parts.at.triton_address}:{self.parts.at.triton_http_port}/v2/health/ready"

    def end_triton(self) -> None:
        """Kills it with the processes of its models, which would outlive it."""
        models = psutil.Process(self.triton.popen.pid).children(recursive=True)
        self.triton.stop(signal.SIGKILL)
        for process in models:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def start_redis(self) -> None:
        """After the end of the one before; empty."""
        at = self.parts.at
        self.redis = self.later.enter_context(running(redis(at)))
        wait_listening(at.redis_address, at.redis_port)

    def workers(self) -> list[psutil.Process]:
        return workers_of(self.parts.gateway)

    def descriptors(self) -> int:
        """Open files and sockets of all workers."""
        return sum(worker.num_fds() for worker in self.workers())

    def metrics(self) -> Exposition:
        return metrics_of(self.url)


def metrics_of(url: str) -> Exposition:
    return Exposition(httpx.get(f"{url}/metrics", timeout=10, trust_env=False).text)


def log_of(gateway: Process, event: str) -> list[dict[str, Any]]:
    """The gateway's lines about this event."""
    lines = [json.loads(text) for text in gateway.log.read_text().splitlines() if text.startswith("{")]
    return [line for line in lines if line.get("event") == event]


@contextmanager
def faulty_stack(repository: Path, /, **settings: object) -> Iterator[FaultyStack]:
    """A gateway without quotas to speak of, over this repository."""
    with (
        roomy_access() as access,
        contextlib.ExitStack() as later,
        running_stack(repository, access_file=access, **settings) as parts,
    ):
        yield FaultyStack(parts, repository, parts.triton, parts.redis, later)


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    """It keeps its connections and answers nothing."""
    process.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.popen.send_signal(signal.SIGCONT)


def digits(folder: Path) -> Path:
    """A repository with the demo classifier alone."""
    folder.mkdir(exist_ok=True)
    (folder / "digits_classifier").symlink_to(ROOT / "model_repository" / "digits_classifier")
    return folder


def digit_asks(url: str, key: str, *, seconds: float = 1.0) -> Sequence[Ask]:
    """The golden pictures, each with what either version says of it while all is well."""
    pictures = golden("digits_classifier")
    return [
        Ask("/v1/classify", picture, {v: _label(url, key, picture, v) for v in ("1", "2")}, seconds)
        for picture in pictures
    ]


def _label(url: str, key: str, picture: bytes, version: str) -> str:
    reply = httpx.post(
        f"{url}/v1/classify?version={version}",
        content=picture,
        headers={"x-api-key": key, "content-type": "image/png"},
        timeout=10,
        trust_env=False,
    )
    label: str = reply.raise_for_status().json()["results"][0]["predictions"][0]["label"]
    return label
