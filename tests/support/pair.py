"""A gateway with two workers as a process of its own, on the shared stack's Triton and Redis, and a load on it."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import httpx
import psutil
from connection import Address, http_request
from load import Load, Open, RunningLoad, Sample
from processes import Process, RunningStack, running, wait_ready, workers_of
from stack import Addresses, free_port, gateway
from support.pictures import digit_picture, encoded

RATE = 60.0  # requests a second
STARTED = "Application startup complete"
PATIENCE = 30.0  # seconds for a worker to start on a busy machine

_DIGIT = encoded(digit_picture())


@dataclass(frozen=True)
class Pair:
    """Both workers are up when the block begins."""

    stack: RunningStack
    process: Process
    at: Addresses

    @property
    def url(self) -> str:
        return self.at.gateway_url

    def workers(self) -> list[psutil.Process]:
        return workers_of(self.process)

    def load(self, seconds: float) -> RunningLoad:
        """One picture again and again, in an open loop."""
        key = self.stack.key
        request = http_request("POST", "/v1/classify", key=key, body=_DIGIT, content_type="image/png")
        address = Address(self.at.gateway_host, self.at.gateway_port)
        return RunningLoad(Load(address, [Open("classify", request, RATE)], seconds))

    def ready(self) -> httpx.Response:
        return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=PATIENCE)

    def log(self) -> str:
        return self.process.log.read_text()

    def until_started(self, workers: int) -> None:
        """Returns once so many workers have started so far."""
        end = time.monotonic() + PATIENCE
        while self.log().count(STARTED) < workers:
            assert time.monotonic() < end, self.log()[-2000:]
            time.sleep(0.05)


@contextlib.contextmanager
def pair(stack: RunningStack, **settings: object) -> Iterator[Pair]:
    at = replace(stack.at, gateway_port=free_port())
    with running(gateway(at, workers=2, log_format="json", **settings)) as process:
        wait_ready(f"{at.gateway_url}/readyz", process)
        made = Pair(stack, process, at)
        made.until_started(2)
        yield made


def statuses(samples: Sequence[Sample]) -> Counter[int]:
    """How many answers of each status; 0 are those that did not come."""
    return Counter(sample.status for sample in samples)
