"""Counts over two workers on the real stack: true to the last request, also where workers are killed."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from counted import BROKEN, WORKERS, by_status, count, kill_a_worker, scrape, send, workers
from processes import RunningStack, running_stack

REQUESTS = 2_000


@pytest.fixture(scope="module")
def pair() -> Iterator[RunningStack]:
    """The stack with two gateway workers."""
    with running_stack(workers=WORKERS) as parts:
        yield parts


def test_what_the_client_counted_is_what_metrics_say_though_a_worker_was_killed(pair: RunningStack) -> None:
    seen = count(pair, REQUESTS)
    assert seen.client == {"200": REQUESTS}
    assert seen.gateway == seen.client
    found = scrape(pair)
    version = {"model": "digits_classifier", "version": "1", "variant": "stable"}
    assert found.total("gateway_request_seconds_count", **version) >= REQUESTS
    assert found.total("gateway_attempts_total", **version, outcome="ok") >= REQUESTS
    assert found.total("gateway_workers") == WORKERS
    assert found.total("gateway_worker_deaths_total") == 1


def test_counts_never_drop_and_nothing_stays_in_flight_while_workers_are_killed_under_load(
    pair: RunningStack,
) -> None:
    before = by_status(scrape(pair)).total()
    with load(pair) as seen, watched(pair) as totals:
        for _ in range(5):
            kill_a_worker(pair)
    assert totals == sorted(totals)
    assert len(totals) > 10
    found = scrape(pair)
    counted = by_status(found).total() - before
    answered = seen.total() - seen[BROKEN]
    assert answered > 100
    # Of the requests without an answer some were counted when their worker died, and some were not.
    assert answered <= counted <= seen.total()
    assert len(workers(found)) == WORKERS
    # The other worker's gauges are up to a second old.
    end = time.monotonic() + 5
    while scrape(pair).total("gateway_requests_in_flight") > 0:
        assert time.monotonic() < end
        time.sleep(0.1)


@contextmanager
def load(stack: RunningStack) -> Iterator[Counter[str]]:
    """Requests for the length of the block; what became of them is known after it."""
    over = threading.Event()
    seen = Counter[str]()
    thread = threading.Thread(
        target=lambda: seen.update(send(stack, 1_000_000, going=lambda: not over.is_set()))
    )
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@contextmanager
def watched(stack: RunningStack) -> Iterator[list[int]]:
    """The count of all requests, again and again."""
    over = threading.Event()
    totals: list[int] = []

    def look() -> None:
        while not over.wait(0.2):
            totals.append(by_status(scrape(stack)).total())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield totals
    finally:
        over.set()
        thread.join()
