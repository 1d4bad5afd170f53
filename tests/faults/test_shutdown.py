"""Gateways that are told to end, whole and worker by worker, while they are used: nothing that was accepted is lost."""

import asyncio
import contextlib
import json
import signal
import socket
import time
from dataclasses import replace

import httpx
import pytest
from processes import RunningStack, running, wait_ready
from stack import free_port, gateway
from support.pair import pair, statuses
from support.pictures import digit_picture, encoded
from support.sockets import Closed, connected

DELAY = 3.0  # seconds of the drain
LONGEST = 16.0  # seconds from the signal to the end of the process
SOON = 5.0  # seconds where nobody is waited for


def test_workers_that_are_told_to_end_one_after_the_other_lose_no_request(stack: RunningStack) -> None:
    with pair(stack, drain_delay=1) as gateways, gateways.load(12) as load:
        for number, worker in enumerate(gateways.workers(), 1):
            load.wait_until(number)
            worker.terminate()
            worker.wait(LONGEST)
            gateways.until_started(2 + number)
        answers = statuses(load.samples())
        assert set(answers) == {200}, (answers, gateways.log()[-2000:])


def test_a_rolling_restart_by_the_supervisor_loses_no_request(stack: RunningStack) -> None:
    with pair(stack, drain_delay=1) as gateways, gateways.load(12) as load:
        before = {each.pid for each in gateways.workers()}
        load.wait_until(1)
        gateways.process.popen.send_signal(signal.SIGHUP)
        answers = statuses(load.samples())
        assert set(answers) == {200}, (answers, gateways.log()[-2000:])
        gateways.until_started(4)
        while before & {each.pid for each in gateways.workers()}:
            time.sleep(0.1)


def test_a_gateway_that_ends_says_so_first_and_answers_everybody_meanwhile(stack: RunningStack) -> None:
    with pair(stack, drain_delay=DELAY) as gateways:
        with gateways.load(DELAY) as load:
            load.wait_until(0.5)
            gateways.process.popen.send_signal(signal.SIGTERM)
            load.wait_until(DELAY / 2)
            answer = gateways.ready()
            assert (answer.status_code, answer.json()["parts"]["staying"]) == (503, False)
            assert answer.headers["connection"] == "close"
            assert set(statuses(load.samples())) == {200}
        gateways.process.popen.wait(LONGEST)


def test_slow_callers_do_not_keep_a_process_and_those_who_wait_are_told(stack: RunningStack) -> None:
    head = (
        f"POST /v1/classify HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.key}\r\n"
        "content-type: image/png\r\ncontent-length: 1000\r\n\r\n"
    )
    beginnings = [b"", b"POST /v1/cla", f"{head}half".encode()]
    with pair(stack, drain_delay=0) as gateways, contextlib.ExitStack() as sockets:
        address = (gateways.at.gateway_host, gateways.at.gateway_port)
        callers = [
            sockets.enter_context(socket.create_connection(address, timeout=LONGEST)) for _ in range(60)
        ]
        for number, caller in enumerate(callers):
            caller.sendall(beginnings[number % 3])
        time.sleep(0.5)  # for the last of them to be read
        told = time.monotonic()
        gateways.process.popen.send_signal(signal.SIGTERM)
        answers = [caller.makefile("rb").read() for caller in callers[2::3]]
        gateways.process.popen.wait(LONGEST)
        assert time.monotonic() - told < LONGEST
    for answer in answers:  # their bodies did not come in the time that was left
        first, _, rest = answer.partition(b"\r\n")
        assert first.startswith(b"HTTP/1.1 503"), answer
        assert b"retry-after: 1" in rest
        assert json.loads(rest.partition(b"\r\n\r\n")[2])["code"] == "draining"


@pytest.mark.parametrize(("workers", "how"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_second_signal_ends_all_patience(stack: RunningStack, workers: int, how: signal.Signals) -> None:
    at = replace(stack.at, gateway_port=free_port())
    with running(gateway(at, drain_delay=60, workers=workers)) as process:
        wait_ready(f"{at.gateway_url}/readyz", process)
        process.popen.send_signal(how)
        while httpx.get(f"{at.gateway_url}/readyz", trust_env=False).status_code == httpx.codes.OK:
            time.sleep(0.05)
        process.popen.send_signal(how)
        process.popen.wait(SOON)


def test_a_gateway_that_is_restarting_ends_as_soon_as_any_other(stack: RunningStack) -> None:
    with pair(stack, drain_delay=1) as gateways:
        gateways.process.popen.send_signal(signal.SIGHUP)
        time.sleep(1)  # in the midst of it
        told = time.monotonic()
        gateways.process.popen.send_signal(signal.SIGTERM)
        gateways.process.popen.wait(LONGEST)
        assert time.monotonic() - told < LONGEST


def test_a_stream_of_news_ends_whole_with_the_process_that_tells_them(stack: RunningStack) -> None:
    with pair(stack, drain_delay=DELAY) as gateways:
        headers, url = {"x-api-key": stack.admin_key}, f"{gateways.url}/admin/v1/events"
        with httpx.stream("GET", url, headers=headers, trust_env=False, timeout=LONGEST) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("event:")
            gateways.process.popen.send_signal(signal.SIGTERM)
            list(lines)  # httpx raises where it does not end whole
        gateways.process.popen.wait(LONGEST)


async def test_a_camera_is_served_through_the_drain_and_then_told_to_come_again(stack: RunningStack) -> None:
    frame = encoded(digit_picture())
    with pair(stack, drain_delay=DELAY) as gateways:
        at, key = gateways.url, {"x-api-key": stack.key}
        async with connected(at, "/v1/classify/stream", key) as camera:
            await camera.send(frame)
            assert (await camera.message())["type"] == "result"
            gateways.process.popen.send_signal(signal.SIGTERM)
            told = time.monotonic()
            while gateways.ready().status_code == httpx.codes.OK:
                await asyncio.sleep(0.05)
            await camera.send(frame)
            assert (await camera.message())["type"] == "result"
            assert await camera.receive() == Closed(1012, "")
            gateways.process.popen.wait(LONGEST)  # with a caller who does not hang up
            assert time.monotonic() - told < LONGEST
