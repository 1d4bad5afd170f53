"""How the C library hands memory to the threads of a worker, when what lies free goes back to the system, and how often
Python looks for garbage.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_MIB = 1024 * 1024
_LARGEST = 32 * _MIB  # that glibc lets a heap hand out
# At its end; more would make fewer pages new, and be missing to all but the heap where the address space is limited.
_FREE = 32 * _MIB
_INTERVAL = 10.0  # seconds
# Objects between two looks for garbage. Python's 700 are those of a few requests; 5,000 hold the loop for 2 ms.
_YOUNG = 5_000


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


async def keep_what_lasts() -> None:
    """What was built at the start lives as long as the process; collecting garbage need not look through it again and
    again, nor after every few hundred objects of a request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
