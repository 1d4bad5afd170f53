"""A loop that stands still is told of with its place, and given up where it does not go on."""

import asyncio
import time

import structlog.testing

from gateway.serving import Watchdog


async def test_a_loop_that_stands_still_is_told_of_once_with_its_place() -> None:
    deaths: list[None] = []
    with structlog.testing.capture_logs() as lines, Watchdog(0.5, 60, lambda: deaths.append(None)):
        time.sleep(2)  # noqa: ASYNC251  # that is the fault
        await asyncio.sleep(0.6)
    (line,) = lines
    assert line["event"] == "loop_stands_still"
    assert "test_a_loop_that_stands_still" in line["at"][-1]
    assert deaths == []


async def test_a_loop_that_does_not_go_on_is_given_up() -> None:
    deaths: list[None] = []
    with structlog.testing.capture_logs() as lines, Watchdog(0.25, 1, lambda: deaths.append(None)):
        time.sleep(3)  # noqa: ASYNC251  # that is the fault
    assert len(deaths) == 1
    assert [line["event"] for line in lines] == ["loop_stands_still", "loop_given_up"]


async def test_a_loop_that_turns_is_left_alone() -> None:
    with structlog.testing.capture_logs() as lines, Watchdog(0.5, 1):
        await asyncio.sleep(1.5)
    assert lines == []
