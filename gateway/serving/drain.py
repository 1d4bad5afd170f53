"""The end of a worker: first it says that it will go, then, a moment later, it stops listening."""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_Handler = Callable[[int, FrameType | None], Any]


class Drain:
    """`with Drain(5.0) as drain:` in the running loop; `delay` is in seconds.

    The first signal begins the drain: readiness says no, so that nobody new is sent here, every answer ends its
    connection, so that nobody comes back by it, and all is served as before. After `delay` the signal goes on to the
    server, which closes its listener and lets what is under way end. The same signal a second time ends all patience.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self._delay = delay
        self._begun = False
        self._heard: set[int] = set()
        self._before: dict[int, _Handler] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    @property
    def begun(self) -> bool:
        return self._begun

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():  # elsewhere nobody hears signals
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if callable(before):
                    self._before[number] = before
                    signal.signal(number, self._signalled)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self._signalled:
                signal.signal(number, before)

    def _signalled(self, number: int, _: FrameType | None) -> None:
        # Between two steps of whatever runs: from here nothing of the loop may be touched.
        self._loop.call_soon_threadsafe(self.told, number)

    def told(self, number: int = signal.SIGTERM) -> None:
        """A signal came. Ctrl-C reaches workers in a terminal beside their supervisor, which then sends SIGTERM: two
        different signals are one wish.
        """
        again = number in self._heard
        self._heard.add(number)
        if not self._begun:
            self._begun = True
            self._timer = self._loop.call_later(self._delay, self._hand_over, number)
        elif again:
            if self._timer is not None:
                self._timer.cancel()
            self._hand_over(number)
            self._hand_over(signal.SIGINT)  # the second one, or later, which the server takes for impatience

    def _hand_over(self, number: int) -> None:
        if (before := self._before.get(number)) is not None:
            before(number, None)
