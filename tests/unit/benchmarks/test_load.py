"""The schedule of the load generator, and the whole of it against a server of the test's own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from connection import NO_ANSWER, Address, http_request
from load import Closed, Load, Open, RunningLoad, generate, schedule

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
NOWHERE = Address("127.0.0.1", 1)


def begun(_: float) -> None:
    """For those who need not know."""


@asynccontextmanager
async def server(answer: Callable[[bytes], bytes | None], delay: float = 0.0) -> AsyncIterator[Address]:
    """Answers each request with these bytes, one after the other; None closes the connection instead."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(delay)
                if (text := answer(request)) is None:
                    break
                writer.write(text)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", listener.sockets[0].getsockname()[1])
    finally:
        listener.close()


def test_the_schedule_is_the_same_in_every_run_and_another_with_another_seed() -> None:
    streams = [Open("a", b"", 50), Open("b", b"", 20)]
    first, second = (schedule(Load(NOWHERE, streams, 10)) for _ in range(2))
    assert first == second
    assert first != schedule(Load(NOWHERE, streams, 10, seed=2))


def test_arrivals_come_at_the_rate_of_their_stream_and_in_order() -> None:
    due = schedule(Load(NOWHERE, [Open("a", b"", 200), Open("b", b"", 50)], 100))
    assert [at for at, _ in due] == sorted(at for at, _ in due)
    counts = {name: sum(stream.name == name for _, stream in due) for name in "ab"}
    assert counts["a"] == pytest.approx(20_000, rel=0.05)
    assert counts["b"] == pytest.approx(5_000, rel=0.05)


def test_a_stream_keeps_to_its_own_begin_and_end() -> None:
    due = [at for at, _ in schedule(Load(NOWHERE, [Open("a", b"", 100, begin=2, end=3)], 10))]
    assert due
    assert all(2 <= at < 3 for at in due)


async def test_every_request_of_an_open_loop_is_sent_and_its_status_noted() -> None:
    async with server(lambda request: REFUSAL if b"/b" in request else ANSWER) as address:
        streams = [Open(n, http_request("GET", f"/{n}", key="k"), 50) for n in "ab"]
        samples = await generate(load := Load(address, streams, 1), begun)
    assert sorted((s.due, s.stream) for s in samples) == [(at, stream.name) for at, stream in schedule(load)]
    assert {(s.stream, s.status) for s in samples} == {("a", 200), ("b", 503)}


async def test_a_slow_server_slows_nobody_down_in_an_open_loop() -> None:
    async with server(lambda _: ANSWER, delay=0.4) as address:
        samples = await generate(Load(address, [Open("a", http_request("GET", "/", key="k"), 100)], 1), begun)
    assert len(samples) > 80
    assert all(0.4 <= s.latency < 1.5 for s in samples)


async def test_a_client_of_a_closed_loop_waits_for_its_answer() -> None:
    async with server(lambda _: ANSWER, delay=0.1) as address:
        samples = await generate(Load(address, [Closed("a", http_request("GET", "/", key="k"), 3)], 1), begun)
    assert 15 <= len(samples) <= 33
    assert {s.status for s in samples} == {200}


async def test_a_connection_that_breaks_is_no_answer_and_others_go_on() -> None:
    async with server(lambda request: None if b"/bad" in request else ANSWER) as address:
        streams = [Open(n, http_request("GET", f"/{n}", key="k"), 40) for n in ("bad", "good")]
        samples = await generate(Load(address, streams, 1), begun)
    assert {(s.stream, s.status) for s in samples} == {("bad", NO_ANSWER), ("good", 200)}


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    async with server(lambda _: ANSWER, delay=5) as address:
        stream = Open("a", http_request("GET", "/", key="k"), 20)
        samples = await generate(Load(address, [stream], 0.5, patience=0.2), begun)
    assert samples
    assert {s.status for s in samples} == {NO_ANSWER}


def test_a_request_carries_its_key_its_urgency_and_its_length() -> None:
    request = http_request("POST", "/v1/classify", key="k", body=b"abc", urgency=5, timeout_ms=700)
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /v1/classify HTTP/1.1"
    assert {b"X-API-Key: k", b"Priority: u=5", b"X-Request-Timeout: 700", b"Content-Length: 3"} <= set(
        head.splitlines()
    )
    assert body == b"abc"


async def test_a_load_in_a_process_of_its_own_says_when_it_begins_and_what_came_of_it() -> None:
    async with server(lambda _: ANSWER) as address:
        load = Load(address, [Open("a", http_request("GET", "/", key="k"), 50)], 0.5)

        def run() -> tuple[float, int]:
            with RunningLoad(load) as running:
                return running.begins, len(running.samples())

        started = time.monotonic()
        begins, count = await asyncio.to_thread(run)
    assert started < begins < time.monotonic() - 0.5
    assert count == len(schedule(load))
