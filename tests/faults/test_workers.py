"""One of two workers dies, is stopped or stands still: the other one answers, and what was counted stays counted."""

import time
from collections.abc import Callable

import httpx
from exposition import Exposition
from processes import RunningStack, wait_ready
from support.pair import pair, statuses

IN_FLIGHT = 6  # requests at most that one of two workers has at this rate, on a busy machine
REPLACED = 5.0  # seconds until another process is there; the supervisor looks twice a second


def counted(url: str, key: str) -> float:
    answer = httpx.get(f"{url}/metrics", headers={"x-api-key": key}, trust_env=False, timeout=30)
    return Exposition(answer.text).total("gateway_requests_total", route="/v1/classify", code="200")


def test_a_worker_that_is_killed_takes_only_what_it_had_and_is_replaced(stack: RunningStack) -> None:
    with pair(stack) as gateways, gateways.load(10) as load:
        load.wait_until(2)
        before = counted(gateways.url, stack.admin_key)
        gateways.workers()[0].kill()
        gateways.until_started(3)
        assert len(gateways.workers()) == 2
        assert counted(gateways.url, stack.admin_key) >= before
        answers = statuses(load.samples())
        assert set(answers) <= {200, 0}, answers
        assert answers[0] <= IN_FLIGHT
        assert abs(counted(gateways.url, stack.admin_key) - answers[200]) <= IN_FLIGHT


def test_another_worker_takes_the_place_of_one_that_is_killed_and_answers(
    stack: RunningStack, figure: Callable[[str], None]
) -> None:
    with pair(stack) as gateways:
        killed, other = gateways.workers()
        began = time.monotonic()
        killed.kill()
        while len(there := {each.pid for each in gateways.workers()} - {killed.pid}) < 2:
            assert time.monotonic() - began < REPLACED, there
            time.sleep(0.02)
        replaced = time.monotonic() - began
        gateways.until_started(3)
        figure(
            f"a worker killed: another one there after {replaced:.2f} s, up {time.monotonic() - began:.1f} s"
        )
        other.suspend()  # so that nobody else can answer
        try:
            assert gateways.ready().status_code == httpx.codes.OK
        finally:
            other.resume()


def test_a_worker_that_is_stopped_for_six_seconds_goes_on_where_it_was(stack: RunningStack) -> None:
    with pair(stack) as gateways:
        stopped = gateways.workers()[0]
        stopped.suspend()
        with gateways.load(6) as load:
            answers = statuses(load.samples())
        stopped.resume()
        assert set(answers) == {200}, answers
        # Its copies are as old as it stood still, until it has read again.
        wait_ready(f"{gateways.url}/readyz")
        assert stopped.pid in {each.pid for each in gateways.workers()}
