"""What streams hold: each the newest frame that waits, all of them together a bounded number of places."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from gateway.domain import Principal
from gateway.errors import Overloaded, RateLimited

_TRY_AGAIN = 5.0  # seconds


@dataclass(slots=True)
class Frame:
    """The `number`-th binary message of a stream, counted from 1. `held` gives its memory back when it is closed.

    `refused` is why there was no room for its data, which is empty then.
    """

    number: int
    data: bytes
    held: ExitStack = field(default_factory=ExitStack)
    refused: Overloaded | None = None


class Newest:
    """Room for one frame: a newer one takes its place. For one task that puts and one that takes."""

    def __init__(self) -> None:
        self._waiting: Frame | None = None
        self._came = asyncio.Event()
        self._dropped = 0

    @property
    def waits(self) -> bool:
        """Whether there is a frame to take."""
        return self._waiting is not None

    def put(self, frame: Frame) -> int:
        """Answers how many frames nobody will look at any more: 0 or 1."""
        replaced = self._waiting
        self._waiting = frame
        self._came.set()
        if replaced is None:
            return 0
        replaced.held.close()
        self._dropped += 1
        return 1

    def drop(self) -> None:
        """Counts a frame that could not even wait."""
        self._dropped += 1

    async def take(self) -> tuple[Frame, int]:
        """The newest frame as soon as there is one, and how many were dropped since the last that was taken."""
        await self._came.wait()
        self._came.clear()
        frame, dropped = self._waiting, self._dropped
        assert frame is not None  # noqa: S101  # `put` sets both, and nobody else takes
        self._waiting, self._dropped = None, 0
        return frame, dropped

    def close(self) -> None:
        """Gives the waiting frame's memory back."""
        if self._waiting is not None:
            self._waiting.held.close()


class Places:
    """At most `most` streams at once, a quarter of them to one caller and half of them to one tenant."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_caller: Counter[str] = Counter()
        self._by_tenant: Counter[str] = Counter()

    @contextmanager
    def taken(self, caller: Principal) -> Iterator[None]:
        """Raises Overloaded; RateLimited where the caller or its tenant has its share."""
        shares = (
            (self._by_caller, caller.id, self._most // 4),
            (self._by_tenant, caller.tenant, self._most // 2),
        )
        if self._by_caller.total() >= self._most:
            raise Overloaded("Too many streams are open.", retry_after=_TRY_AGAIN)
        if any(taken[name] >= share for taken, name, share in shares):
            raise RateLimited("Too many of your streams are open.", retry_after=_TRY_AGAIN)
        for taken, name, _ in shares:
            taken[name] += 1
        try:
            yield
        finally:
            for taken, name, _ in shares:
                taken[name] -= 1
                if not taken[name]:
                    del taken[name]
