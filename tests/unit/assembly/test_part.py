"""Tasks beside the requests: one that fails is told of and begins again, and none holds up the end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog.testing
from support.virtual_time import VirtualLoop

from gateway.assembly.part import Part, Task, opened

Lines = list[Mapping[str, Any]]


class Failing:
    """Fails so many seconds after each begin."""

    def __init__(self, error: BaseException, *lasts: float) -> None:
        self._error = error
        self._lasts = list(lasts)
        self.began: list[float] = []

    async def run(self) -> None:
        self.began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._lasts.pop(0) if self._lasts else 0)
        raise self._error


@asynccontextmanager
async def run_for(seconds: float, *tasks: Task) -> AsyncIterator[int]:
    failures: list[None] = []
    async with opened([Part(tasks=tasks)], lambda: failures.append(None)):
        await asyncio.sleep(seconds)
    yield len(failures)


def played(scene: Coroutine[None, None, None]) -> Lines:
    with structlog.testing.capture_logs() as lines, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scene)
    return [dict(line) for line in lines]


def test_a_task_that_fails_is_told_of_and_begins_again_each_time_later() -> None:
    failing = Failing(ValueError("why"))

    async def scene() -> None:
        async with run_for(100, failing.run) as failures:
            assert failing.began == [0, 1, 3, 7, 15, 31, 61, 91]
            assert failures == len(failing.began)

    lines = played(scene())
    assert {(line["event"], line["task"], line["log_level"]) for line in lines} == {
        ("task_failed", "Failing.run", "error")
    }
    assert all(isinstance(line["exc_info"], ValueError) for line in lines)
    assert [line["again_in"] for line in lines[:3]] == [1, 2, 4]


def test_after_a_long_run_the_pause_is_short_again() -> None:
    failing = Failing(ValueError("why"), 0, 0, 100)

    async def scene() -> None:
        async with run_for(105, failing.run):
            assert failing.began == [0, 1, 3, 104]

    assert [line["again_in"] for line in played(scene())] == [1, 2, 1, 2]


def test_a_cancellation_that_nobody_asked_for_is_a_failure_like_any() -> None:
    failing = Failing(asyncio.CancelledError())

    async def scene() -> None:
        async with run_for(2, failing.run) as failures:
            assert (failing.began, failures) == ([0, 1], 2)

    assert len(played(scene())) == 2


def test_others_go_on_and_what_ends_by_itself_is_not_begun_again() -> None:
    ended, turns = [], []

    async def ends() -> None:
        ended.append(True)

    async def goes_on() -> None:
        while True:
            turns.append(True)
            await asyncio.sleep(1)

    async def scene() -> None:
        async with run_for(9.5, Failing(ValueError()).run, ends, goes_on):
            assert (len(ended), len(turns)) == (1, 10)

    played(scene())


def test_a_task_that_fails_at_its_end_is_told_of_and_ends() -> None:
    async def stumbles() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("at the end")

    async def scene() -> None:
        async with run_for(5, stumbles) as failures:
            assert failures == 1
            assert asyncio.get_running_loop().time() == 5

    assert [line["event"] for line in played(scene())] == ["task_failed"]
