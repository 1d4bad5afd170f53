"""How long a request has, and the block that ends with its time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from gateway.catalog import Card
from gateway.domain import Deadline
from gateway.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds from a request's first byte to its answer: where neither caller nor model says, and at the very most."""

    usual: float
    highest: float
    clock: Callable[[], float]

    def usual_for(self, card: Card) -> float:
        """What requests to this model have that ask for nothing else."""
        return min(card.timeout or self.usual, self.highest)

    def of(self, started: float, asked: float | None, usual: float) -> Deadline:
        return Deadline(started + min(asked or usual, self.highest))

    def until(self, deadline: Deadline) -> "Until":
        """`async with deadlines.until(deadline):`; what it holds up raises DeadlineExceeded."""
        return Until(deadline.remaining(self.clock()))


class Until:
    """A block that has so many seconds. A class, and not a generator: every request enters one."""

    __slots__ = ("_timeout",)

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise DeadlineExceeded("The request ran out of time.") from None
