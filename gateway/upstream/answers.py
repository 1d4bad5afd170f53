"""One call whose answers come one by one: read to its end whoever listens, since a cancelled call can crash Triton."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from enum import Enum

from gateway.domain import RawTensor
from gateway.errors import GatewayError, StreamEnded

_AHEAD = 16  # answers that are read ahead of a slow caller; then Triton is made to wait, until the deadline

Piece = list[RawTensor]


class _Mark(Enum):
    END = "end"


class Answers:
    """`await answers.begin()`, then iterate once. `task` ends when the call does, with the error that it ended by.

    `left` tells the seconds until the call's deadline: so long a slow caller may keep Triton waiting, and no longer.
    `came` hears of each answer. `had` are the seconds that were left when the call began, or when the caller last made
    it wait: if it ran out of those, that is no doing of the caller's.
    """

    def __init__(
        self, pieces: AsyncIterator[Piece], left: Callable[[], float], came: Callable[[], None]
    ) -> None:
        self._seconds = left
        self._came = came
        self._read: asyncio.Queue[Piece | Exception | _Mark] = asyncio.Queue(_AHEAD)
        self._first: Piece | _Mark = _Mark.END
        self._left = False
        self.had = left()
        self.task = asyncio.ensure_future(self._run(pieces))
        self.task.add_done_callback(_let_go)

    async def begin(self) -> None:
        """Waits for the first answer, or for an end without one. Raises GatewayError, and then there is none."""
        self._first = await self._take()

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The outputs of each answer, in the order asked for. Raises GatewayError where the call fails on the way."""
        try:
            piece = self._first
            while not isinstance(piece, _Mark):
                yield piece
                piece = await self._take()
        finally:
            self.leave()

    def leave(self) -> None:
        """Nobody listens any more: the rest is read and dropped."""
        self._left = True
        while not self._read.empty():
            self._read.get_nowait()

    async def _take(self) -> Piece | _Mark:
        found = await self._read.get()
        if isinstance(found, GatewayError):
            raise copy.copy(found)  # the task's own would know the frames that this one passes
        if isinstance(found, Exception):
            raise found
        return found

    async def _run(self, pieces: AsyncIterator[Piece]) -> None:
        try:
            async for piece in pieces:
                self._came()
                await self._hand_over(piece)
        except Exception as error:  # whatever it is, somebody waits
            await self._hand_over(error)
            raise
        await self._hand_over(_Mark.END)

    async def _hand_over(self, found: Piece | Exception | _Mark) -> None:
        if self._left:
            return
        waits = self._read.full()
        try:
            async with asyncio.timeout(max(self._seconds(), 0)):
                await self._read.put(found)
        except TimeoutError:
            self.leave()
            self._read.put_nowait(StreamEnded("The answers were not read in time."))
        if waits:
            self.had = self._seconds()


def _let_go(task: "asyncio.Task[None]") -> None:
    """An error that the task keeps knows the frame that it left, and with it the call, its tensors and the task: a
    circle that would hold them until somebody looks for garbage.
    """
    if task.cancelled():
        return
    try:
        task.result()  # `exception` would leave its own traceback with the task
    except GatewayError as error:
        error.__traceback__ = None
    except Exception:  # noqa: BLE001  # a bug, of which the log tells all that there is
        return
