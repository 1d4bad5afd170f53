"""Mirrored calls: the canary answers what the stable version has answered already, and only the comparison is kept.

Nobody waits for a mirrored call. It begins when its caller's answer is decided, in a task of its own, and it is dropped
rather than that it waits for anything. However it ends, nothing is raised: it becomes a line of a report.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import structlog

from gateway.canary.compare import Result, compare
from gateway.canary.compare_tensors import TensorResult
from gateway.canary.report import Disagreement, Report, Versions, of_comparison, trimmed
from gateway.canary.split import FULL
from gateway.domain import Buffer, Deadline, Priority
from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    InputError,
    OutOfService,
    Overloaded,
    QueueTimeout,
    UpstreamOverloaded,
)

_CHUNK = 256 * 1024  # bytes that are hashed at once: a fraction of a millisecond

_log = structlog.stdlib.get_logger("gateway.canary")

Lane = TypeVar("Lane", bound=Hashable)
_Call = Callable[[Deadline], Awaitable[Sequence[Result]]]
_Lane_contra = TypeVar("_Lane_contra", bound=Hashable, contravariant=True)


class Dropped(StrEnum):
    """Why a call that was drawn was not mirrored, or got no answer through no fault of the canary."""

    BUSY = "busy"  # callers need the model
    FULL = "full"  # as many mirrored calls are under way as may be
    OUT_OF_SERVICE = "out-of-service"  # the canary's breaker is open
    CLOSED = "closed"  # this worker is shutting down
    FAULT = "fault"  # a bug of the gateway; the log has it


@dataclass(frozen=True, slots=True)
class Original:
    """What a caller asked and was answered: one result an input, in the request's order.

    An input is its bytes, in as many pieces as they came: an image, a text in UTF-8, or all tensors of a request.
    Inputs without an answer are not compared.
    """

    versions: Versions
    request_id: str
    inputs: Sequence[Sequence[Buffer] | InputError]
    results: Sequence[Result | InputError]

    @property
    def size(self) -> int:
        """Bytes of inputs and tensors, which mirroring keeps in memory for longer."""
        asked = sum(_size(pieces) for pieces in self.inputs if not isinstance(pieces, InputError))
        answers = [result.outputs for result in self.results if isinstance(result, TensorResult)]
        return asked + sum(_size([tensor.data for tensor in outputs]) for outputs in answers)

    def answered(self) -> list[tuple[Sequence[Buffer], Result]]:
        return [
            (pieces, result)
            for pieces, result in zip(self.inputs, self.results, strict=True)
            if not isinstance(pieces, InputError) and not isinstance(result, InputError)
        ]


@dataclass(frozen=True, slots=True)
class MirrorPolicy:
    """At most `at_once` mirrored calls run in this worker, of `size` bytes together, each for `seconds`.

    `keep_bytes` is the size up to which the image of a disagreement is kept with it; 0 keeps none.
    """

    at_once: int = 8
    size: int = 64 * 1024 * 1024
    seconds: float = 1.0
    keep_bytes: int = 0


class Admission(Protocol[_Lane_contra]):
    """Says whether a call would go at once, with nobody waiting in its lane."""

    def is_open(self, lane: _Lane_contra, priority: Priority) -> bool: ...


class Journal(Protocol):
    """Where findings go; `keeps` says whether a disagreement of this rank would stay in the sample."""

    def add(self, report: Report) -> None: ...

    def keeps(self, versions: Versions, rank: float) -> bool: ...


class Mirror(Generic[Lane]):
    """`async with Mirror(...) as mirror:`; leaving lets the calls under way end, for as long as they may take.

    `draw` is uniform over [0, 1), as `random.random` is.
    """

    def __init__(
        self,
        admission: Admission[Lane],
        journal: Journal,
        *,
        draw: Callable[[], float],
        clock: Callable[[], float],
        policy: MirrorPolicy | None = None,
    ) -> None:
        self._admission = admission
        self._journal = journal
        self._draw = draw
        self._clock = clock
        self._policy = policy or MirrorPolicy()
        self._running: dict[asyncio.Task[None], Original] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        try:
            if self._running:
                await asyncio.wait(self._running, timeout=self._policy.seconds)
        finally:
            left = list(self._running)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def offer(
        self,
        share: int,
        lanes: Sequence[Lane],
        original: Original,
        call: _Call,
    ) -> None:
        """Mirrors a `share` of the calls, in basis points; returns at once.

        All of `lanes` have to be open to the lowest class: the canary's, and those that share the device with it.
        `call` asks the canary for one result an answered image, at the lowest priority and without waiting for a slot.
        """
        if self._draw() * FULL >= share:
            return
        if reason := self._obstacle(lanes, original.size):
            self._drop(original.versions, reason)
            return
        task = asyncio.create_task(self._mirror(original, call))
        self._running[task] = original
        task.add_done_callback(self._ended)

    def _obstacle(self, lanes: Sequence[Lane], size: int) -> Dropped | None:
        if self._closed:
            return Dropped.CLOSED
        held = sum(original.size for original in self._running.values())
        if len(self._running) >= self._policy.at_once or held + size > self._policy.size:
            return Dropped.FULL
        if not all(self._admission.is_open(lane, Priority.BATCH) for lane in lanes):
            return Dropped.BUSY
        return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        versions = self._running.pop(task).versions
        if task.cancelled():
            self._drop(versions, Dropped.CLOSED)
        elif error := task.exception():
            _log.error("mirror_fault", model=versions.model, version=versions.canary, exc_info=error)
            self._drop(versions, Dropped.FAULT)

    async def _mirror(self, original: Original, call: _Call) -> None:
        versions = original.versions
        try:
            await self._compare(original, await self._answers(call))
        except (Overloaded, UpstreamOverloaded, QueueTimeout):
            self._drop(versions, Dropped.BUSY)
        except OutOfService:
            self._drop(versions, Dropped.OUT_OF_SERVICE)
        except GatewayError as error:
            self._journal.add(Report(versions, failed={error.code: 1}))

    async def _answers(self, call: _Call) -> Sequence[Result]:
        seconds = self._policy.seconds
        try:
            async with asyncio.timeout(seconds):
                return await call(Deadline(self._clock() + seconds))
        except TimeoutError:
            raise DeadlineExceeded("The canary did not answer the mirrored call in time.") from None

    async def _compare(self, original: Original, answers: Sequence[Result]) -> None:
        pairs = list(zip(original.answered(), answers, strict=True))  # answers out of step compare nothing
        for (pieces, stable), canary in pairs:
            found = compare(stable, canary)
            sample = None if found.agrees else await self._sample(original, pieces, stable, canary)
            self._journal.add(of_comparison(original.versions, found, sample))
            await asyncio.sleep(0)  # requests go between two inputs

    async def _sample(
        self, original: Original, pieces: Sequence[Buffer], stable: Result, canary: Result
    ) -> Disagreement | None:
        rank = self._draw()
        if not self._journal.keeps(original.versions, rank):
            return None
        keeps = _size(pieces) <= self._policy.keep_bytes and not isinstance(stable, TensorResult)
        return Disagreement(
            rank,
            original.request_id,
            await _digest(pieces),
            trimmed(stable),
            trimmed(canary),
            b"".join(pieces) if keeps else None,
        )

    def _drop(self, versions: Versions, reason: Dropped) -> None:
        self._journal.add(Report(versions, dropped={reason: 1}))


def _size(pieces: Sequence[Buffer]) -> int:
    return sum(map(len, pieces))


async def _digest(pieces: Sequence[Buffer]) -> str:
    """SHA-256 in hexadecimal, in steps between which requests go on."""
    digest = sha256()
    for piece in pieces:
        for start in range(0, len(piece), _CHUNK):
            digest.update(piece[start : start + _CHUNK])
            await asyncio.sleep(0)
    return digest.hexdigest()
