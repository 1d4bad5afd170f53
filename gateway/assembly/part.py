"""A capability as the application sees it: what it serves, what it opens, and what it does in the background."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass

from litestar.types import ControllerRouterHandler


@dataclass(frozen=True)
class Part:
    """Resources open in their order and close in reverse; the tasks run while all of them are open."""

    handlers: Sequence[ControllerRouterHandler] = ()
    resources: Sequence[AbstractAsyncContextManager[object] | AbstractContextManager[object]] = ()
    tasks: Sequence[Callable[[], Coroutine[None, None, None]]] = ()


@contextlib.asynccontextmanager
async def opened(parts: Sequence[Part]) -> AsyncIterator[None]:
    """All resources of all parts, in the order of the parts, and then all tasks."""
    async with contextlib.AsyncExitStack() as stack:
        for part in parts:
            for resource in part.resources:
                if isinstance(resource, AbstractAsyncContextManager):
                    await stack.enter_async_context(resource)
                else:
                    stack.enter_context(resource)
        await stack.enter_async_context(_running([task for part in parts for task in part.tasks]))
        yield


@contextlib.asynccontextmanager
async def _running(tasks: Sequence[Callable[[], Coroutine[None, None, None]]]) -> AsyncIterator[None]:
    """The tasks for the length of the block."""
    running = [asyncio.create_task(task()) for task in tasks]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
