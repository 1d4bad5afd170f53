"""A capability as the application sees it: what it serves, what it opens, and what it does in the background."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass

import structlog
from litestar.types import ControllerRouterHandler

from gateway.store import heed_cancellation

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds before a task that failed is started again

_log = structlog.stdlib.get_logger("gateway.tasks")

Task = Callable[[], Coroutine[None, None, None]]


@dataclass(frozen=True)
class Part:
    """Resources open in their order and close in reverse; the tasks run while all of them are open. A task that fails
    is started again after a pause, so each has to bear that.
    """

    handlers: Sequence[ControllerRouterHandler] = ()
    resources: Sequence[AbstractAsyncContextManager[object] | AbstractContextManager[object]] = ()
    tasks: Sequence[Task] = ()


@contextlib.asynccontextmanager
async def opened(parts: Sequence[Part], failed: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    """All resources of all parts, in the order of the parts, and then all tasks; `failed` hears of each that fails."""
    async with contextlib.AsyncExitStack() as stack:
        for part in parts:
            for resource in part.resources:
                if isinstance(resource, AbstractAsyncContextManager):
                    await stack.enter_async_context(resource)
                else:
                    stack.enter_context(resource)
        await stack.enter_async_context(_running([task for part in parts for task in part.tasks], failed))
        yield


@contextlib.asynccontextmanager
async def _running(tasks: Sequence[Task], failed: Callable[[], None]) -> AsyncIterator[None]:
    """The tasks for the length of the block."""
    running = [asyncio.create_task(_kept_up(task, failed)) for task in tasks]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _kept_up(task: Task, failed: Callable[[], None]) -> None:
    """The task to its end, or until it is cancelled. One that fails has a bug, and what it does is needed all the same:
    it is told of and begins again, each time after twice the pause, until it ran for longer than the longest.
    """
    clock, pause = asyncio.get_running_loop().time, _FIRST_PAUSE
    while True:
        began = clock()
        try:
            return await task()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # whatever it is, it is told of
            if isinstance(error, asyncio.CancelledError):
                heed_cancellation()  # another one came out of what it called, and is a failure like any
            failed()
            pause = _FIRST_PAUSE if clock() - began > _LONGEST_PAUSE else pause
            name = getattr(task, "__qualname__", repr(task))
            _log.error("task_failed", task=name, again_in=pause, exc_info=error)
        heed_cancellation()
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
