"""What the gateway tells the world goes where nobody takes it: callers notice nothing, and what was lost is counted.

A trace collector that is silent, refuses or is gone; a log that is full, closed or on a full disk. Each gateway is a
process on the shared stack's Triton and Redis, asked in turns with the stack's own, which has no such trouble, so that
a busy machine slows down both.
"""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
from exposition import Exposition
from processes import Process, RunningStack, wait_ready
from receiver import receiving
from stack import ROOT, free_port, gateway
from support.pictures import digit_picture, encoded

DIGIT = encoded(digit_picture())
SLACK = 0.25  # seconds at the 99th percentile; who waits for a collector waits for five
QUEUE, SPANS = 2048, 8  # spans that may wait; those of one request
PATIENCE = 60.0


@contextlib.contextmanager
def beside(stack: RunningStack, stderr: int, **settings: object) -> Iterator[tuple[Process, httpx.Client]]:
    """One more gateway, whose standard error is this descriptor, and a client of it."""
    at = replace(stack.at, gateway_port=free_port())
    part = gateway(at, log_format="json", **settings)
    environment = {**os.environ, **part.environment}
    popen = subprocess.Popen(part.command, env=environment, cwd=ROOT, stderr=stderr, stdin=subprocess.DEVNULL)
    process = Process(popen, Path(os.devnull))
    try:
        wait_ready(f"{at.gateway_url}/readyz", process)
        headers = {"x-api-key": stack.key}
        with httpx.Client(base_url=at.gateway_url, headers=headers, timeout=30, trust_env=False) as client:
            yield process, client
    finally:
        process.stop()


def slowdown(client: httpx.Client, undisturbed: httpx.Client, turns: int) -> float:
    """By how many seconds the 99th percentile of `client` is worse, over so many requests to each. All must succeed."""
    seconds: dict[httpx.Client, list[float]] = {client: [], undisturbed: []}
    for _ in range(turns):
        for each, took in seconds.items():
            began = time.monotonic()
            answer = each.post("/v1/classify", content=DIGIT, headers={"content-type": "image/png"})
            took.append(time.monotonic() - began)
            assert answer.status_code == 200, answer.text
    worst = [sorted(took)[int(0.99 * turns)] for took in (seconds[client], seconds[undisturbed])]
    return worst[0] - worst[1]


def ends_by_itself(process: Process) -> None:
    """Soon, though spans and lines wait; by the signal where there is one worker, which is not a kill."""
    assert process.stop(seconds=15) == 0


def counted(client: httpx.Client, name: str, **labels: str) -> float:
    return Exposition(client.get("/metrics").text).total(name, **labels)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def spans(client: httpx.Client, outcome: str) -> float:
    return counted(client, "gateway_trace_spans_total", outcome=outcome)


def test_a_collector_that_is_silent_refuses_or_is_gone_slows_down_nobody(
    stack: RunningStack, client: httpx.Client
) -> None:
    awake = threading.Event()
    with contextlib.ExitStack() as collector:
        receiver = collector.enter_context(receiving())
        with beside(stack, subprocess.DEVNULL, trace_endpoint=receiver.url, trace_ratio=1) as (
            process,
            traced,
        ):
            assert slowdown(traced, client, 20) < SLACK
            wait_until(lambda: spans(traced, "sent") > 0)

            receiver.answer = lambda: 503 if awake.wait(PATIENCE) else 504
            assert slowdown(traced, client, 2 * QUEUE // SPANS) < SLACK
            wait_until(lambda: spans(traced, "dropped") > 0)
            awake.set()  # from here on it refuses at once
            assert slowdown(traced, client, 30) < SLACK
            wait_until(lambda: spans(traced, "failed") > 0)

            receiver.answer = lambda: 200
            sent = spans(traced, "sent")
            traced.get("/v1/models")
            wait_until(lambda: spans(traced, "sent") > sent)

            collector.close()
            failed = spans(traced, "failed")
            assert slowdown(traced, client, 30) < SLACK
            wait_until(lambda: spans(traced, "failed") > failed)
            ends_by_itself(process)


def test_a_log_that_nobody_reads_slows_down_nobody_nor_does_one_whose_reader_is_gone(
    stack: RunningStack, client: httpx.Client
) -> None:
    reading, writing = os.pipe()
    with contextlib.closing(os.fdopen(reading, "rb")) as reader, beside(stack, writing) as (process, logging):
        os.close(writing)
        fill = 64 * 1024 // 300  # lines of some 400 bytes each: the pipe is full then
        for _ in range(fill):
            assert logging.get("/v1/models").status_code == 200
        assert slowdown(logging, client, 100) < SLACK

        reader.close()
        assert slowdown(logging, client, 50) < SLACK
        wait_until(lambda: counted(logging, "gateway_log_lines_dropped_total") > 0)
        ends_by_itself(process)


def test_a_log_on_a_full_disk_costs_its_lines_only(stack: RunningStack, client: httpx.Client) -> None:
    with open("/dev/full", "wb") as full, beside(stack, full.fileno()) as (process, logging):  # noqa: PTH123
        assert slowdown(logging, client, 50) < SLACK
        wait_until(lambda: counted(logging, "gateway_log_lines_dropped_total") >= 50)
        ends_by_itself(process)
