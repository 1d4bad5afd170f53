"""Threads for work that would stall the event loop: decoding images, cutting texts into tokens, picking boxes."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from gateway.errors import Overloaded

_P = ParamSpec("_P")
_T = TypeVar("_T")


class WorkerPool:
    """`threads` run, at most `queue` calls wait, and what comes on top is refused at once.

    Pillow, numpy and tokenizers let go of the interpreter lock while they work, so threads are enough.
    """

    def __init__(self, *, threads: int, queue: int) -> None:
        self._capacity = threads + queue
        self._taken = 0
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="gateway-pool")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    async def run(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """`work(*args)` on a thread. Raises Overloaded where no place is left.

        A caller that gives up leaves a call that has begun to its thread; its place is free again when it ends.
        """
        if self._taken >= self._capacity:
            raise Overloaded("Too many requests are waiting to be translated.", retry_after=1)
        self._taken += 1
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_T] = loop.create_future()
        future = self._executor.submit(work, *args, **kwargs)
        future.add_done_callback(partial(self._tell, loop, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            future.cancel()
            raise
        finally:
            del answer, future  # an error that they carry holds this frame

    def _tell(
        self, loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[_T]", done: "Future[_T]"
    ) -> None:
        """On the thread. asyncio's own way would wake the loop a second time, to count the place as free."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._take_over, answer, done)

    def _take_over(self, answer: "asyncio.Future[_T]", done: "Future[_T]") -> None:
        self._taken -= 1
        if answer.done():
            return  # the caller has given up
        if done.cancelled():
            answer.cancel()
        elif error := done.exception():
            answer.set_exception(error)
        else:
            answer.set_result(done.result())


async def together(works: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """What they come to, in their order. The first that fails is raised, and ends the others. One needs no task."""
    if len(works) == 1:
        return [await works[0]]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()  # the error holds this frame
        raise
