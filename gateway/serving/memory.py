"""How the C library hands memory to the threads of a worker, and when what lies free goes back to the system."""

import asyncio
import ctypes
from collections.abc import Callable

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_MIB = 1024 * 1024
_LARGEST = 32 * _MIB  # that glibc lets a heap hand out
# At its end; more would make fewer pages new, and be missing to all but the heap where the address space is limited.
_FREE = 32 * _MIB
_INTERVAL = 10.0  # seconds


def share_one_heap() -> None:
    """Without it glibc gives each thread a heap of its own, and none of them but the first ever gives back what lies
    free at its end: the largest picture or tensor that each thread has seen stays resident for good. In one heap the
    needs of all threads add up, so it keeps more than by default, or each request's pages would be new ones.

    Threads that exist already keep what they have. Other C libraries have no such heaps, and none of this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _FREE)


async def give_back(*kept: Callable[[], None], interval: float = _INTERVAL) -> None:
    """What is free every so many seconds goes back to the system, and what `kept` lets go of then, on a thread; what is
    needed again costs its pages once.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)
    while True:
        await asyncio.sleep(interval)
        for let_go in kept:
            await asyncio.to_thread(let_go)
        await asyncio.to_thread(trim, 0)
