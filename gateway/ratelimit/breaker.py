"""When to stop asking a store that does not answer, and when to look again."""

import random
from collections.abc import Callable
from enum import StrEnum

FAILURES = 5  # in a row
OPEN_SECONDS = 1.0


def _spread() -> float:
    return random.uniform(0.8, 1.2)  # noqa: S311  # so that workers do not probe in step; nothing secret


class State(StrEnum):
    """Closed: the store is asked. Open: it is left alone, but for one probe at a time."""

    CLOSED = "closed"
    OPEN = "open"


class Breaker:
    """Opens after five failures in a row; a probe a second (give or take a fifth) closes it.

    `clock` is monotonic, in seconds; `spread` draws the factor on the pause.
    """

    def __init__(self, *, clock: Callable[[], float], spread: Callable[[], float] = _spread) -> None:
        self._clock = clock
        self._spread = spread
        self._failures = 0
        self._probe_at = 0.0
        self._probing = False
        self.state = State.CLOSED

    @property
    def closed(self) -> bool:
        return self.state is State.CLOSED

    @property
    def pause(self) -> float:
        """Seconds until the next probe; 0 where nothing stands in the way."""
        return 0.0 if self.closed else max(0.0, self._probe_at - self._clock())

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> bool:
        """True where this failure opens the breaker; those that come in later change nothing."""
        if not self.closed:
            return False
        self._failures += 1
        if self._failures < FAILURES:
            return False
        self.state = State.OPEN
        self._wait()
        return True

    def probe_due(self) -> bool:
        """True for the one who is to probe now, and has to answer with `probed`."""
        if self.closed or self._probing or self.pause > 0:
            return False
        self._probing = True
        return True

    def probed(self, answered: bool) -> bool:
        """True where this closes the breaker."""
        self._probing = False
        if not answered:
            self._wait()
            return False
        self.state = State.CLOSED
        self._failures = 0
        return True

    def _wait(self) -> None:
        self._probe_at = self._clock() + OPEN_SECONDS * self._spread()
