"""`make counted`: 10,000 requests to two workers, one killed half-way; does /metrics say what the client saw?"""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from exposition import Exposition
from processes import RunningStack, running_stack
from stack import ROOT

REQUESTS = 10_000
WORKERS = 2
BROKEN = "no answer"  # the connection ended instead

_CLIENTS = 8
_ROUTE = "/v1/classify"
_SAMPLE = ROOT / "clients" / "samples" / "digit.png"
_SECONDS = 30


@dataclass(frozen=True)
class Counted:
    """Answers by status, as the client saw them and as /metrics has them."""

    client: Counter[str]
    gateway: Counter[str]


def main() -> int:
    with running_stack(workers=WORKERS) as stack:
        started = time.monotonic()
        seen = count(stack, REQUESTS)
        seconds = time.monotonic() - started
    print(f"client    {dict(seen.client)}")
    print(f"/metrics  {dict(seen.gateway)}")
    print(f"{REQUESTS} requests, one of {WORKERS} workers killed half-way, {seconds:.0f} s")
    return 0 if seen.client == seen.gateway else 1


def count(stack: RunningStack, requests: int) -> Counted:
    """Half of the requests, a worker's death while nothing is on its way, and the other half."""
    before = by_status(scrape(stack))
    client = send(stack, requests // 2)
    kill_a_worker(stack)
    client += send(stack, requests - requests // 2)
    return Counted(client, by_status(scrape(stack)) - before)


def send(stack: RunningStack, requests: int, going: Callable[[], bool] = lambda: True) -> Counter[str]:
    """The statuses of so many requests, or of fewer where it ends before; over connections to both workers."""
    share, rest = divmod(requests, _CLIENTS)
    shares = [share + (number < rest) for number in range(_CLIENTS)]
    with ThreadPoolExecutor(_CLIENTS) as threads:
        tallies = threads.map(lambda count: _send(stack, count, going), shares)
        return sum(tallies, Counter[str]())


def _send(stack: RunningStack, requests: int, going: Callable[[], bool]) -> Counter[str]:
    image, found = _SAMPLE.read_bytes(), Counter[str]()
    with stack.client() as client:
        for _ in range(requests):
            if not going():
                break
            try:
                answer = client.post(_ROUTE, content=image, headers={"content-type": "image/png"})
                found[str(answer.status_code)] += 1
            except httpx.TransportError:
                found[BROKEN] += 1
    return found


def scrape(stack: RunningStack) -> Exposition:
    """Over a connection of its own, to whichever worker takes it."""
    while True:
        try:
            return Exposition(httpx.get(f"{stack.url}/metrics", timeout=10, trust_env=False).text)
        except httpx.TransportError:  # that one was being killed
            continue


def by_status(exposition: Exposition) -> Counter[str]:
    found = Counter[str]()
    for sample in exposition.found("gateway_requests_total", route=_ROUTE):
        found[sample.labels["code"]] += int(sample.value)
    return found


def workers(exposition: Exposition) -> set[int]:
    """The process numbers of those that live."""
    return {int(sample.labels["pid"]) for sample in exposition.found("gateway_catalog_generation")}


def kill_a_worker(stack: RunningStack) -> None:
    """With SIGKILL; returns when another one has taken its place and serves."""
    before = workers(scrape(stack))
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    end = time.monotonic() + _SECONDS
    while len(alive := workers(now := scrape(stack))) < WORKERS or victim in alive or not _serves(now):
        if time.monotonic() > end:
            raise TimeoutError(f"no worker took the place of {victim}: {alive}")
        time.sleep(0.1)


def _serves(exposition: Exposition) -> bool:
    """Whether every worker has models and knows the keys."""
    fresh = min((sample.value for sample in exposition.found("gateway_fresh")), default=0)
    return bool(fresh and exposition.total("gateway_catalog_models"))


if __name__ == "__main__":
    sys.exit(main())
