"""A worker whose event loop stands still answers nobody; its supervisor asks a thread of it, and does not see it."""

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

_log = structlog.stdlib.get_logger("gateway.serving")

_BEAT = 0.25  # seconds
_EX_SOFTWARE = 70  # of sysexits.h


def _die() -> None:
    os._exit(_EX_SOFTWARE)  # the interpreter's own end would wait for the loop


class Watchdog:
    """`with Watchdog():` in the running loop. A loop that stands still for `seconds` is told of in the log, with the
    line at which it stands; after `fatal` seconds the process ends, for its supervisor to start another.

    A process that was stopped, and not only its loop, is not blamed for it: its watch stood still as well.
    """

    def __init__(self, seconds: float = 1.0, fatal: float = 30.0, die: Callable[[], None] = _die) -> None:
        self._seconds = seconds
        self._fatal = fatal
        self._die = die
        self._beats = 0
        self._over = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._beat(loop)
        self._thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="watchdog", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()
        self._thread.join()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beats += 1
        self._timer = loop.call_later(_BEAT, self._beat, loop)

    def _watch(self, watched: int) -> None:
        """Time counts in looks of its own, so that what stops this thread too counts once."""
        seen, missed, told = 0, 0, False
        while not self._over.wait(_BEAT):
            if self._beats != seen:
                seen, missed, told = self._beats, 0, False
                continue
            missed += 1
            if missed * _BEAT >= self._seconds and not told:
                told = True
                _log.error("loop_stands_still", at=_where(watched))
            if missed * _BEAT >= self._fatal:
                _log.error("loop_given_up", seconds=self._fatal)
                time.sleep(2 * _BEAT)  # for the line to be written
                self._die()
                return


def _where(thread: int) -> list[str]:
    """File, line and function, from the outermost in; never what a variable holds."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001  # the documented way to see another thread's stack
    return [f"{each.filename}:{each.lineno} {each.name}" for each in traceback.extract_stack(frame)[-8:]]
