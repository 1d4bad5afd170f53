"""The whole path of a request between HTTP and Triton, top to bottom on one screen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from gateway.admission import Admission
from gateway.auth import has_scope, may_use
from gateway.auth.scopes import PIN_VERSION
from gateway.catalog import Catalog, ModelCard, Task
from gateway.domain import Array, Deadline, InferCall, ModelVersion, Principal, Priority, Tensor
from gateway.errors import DeadlineExceeded, InputError
from gateway.pool import WorkerPool
from gateway.schemas import ClassifyOptions, ClassifyResult, DetectOptions, DetectResult
from gateway.translate import classify, detect, image
from gateway.translate.decode import Limits
from gateway.translate.image import Encoded
from gateway.translate.labels import class_ids

_Options = TypeVar("_Options", ClassifyOptions, DetectOptions)
_Result = TypeVar("_Result", ClassifyResult, DetectResult)


@dataclass(frozen=True, slots=True)
class Call(Generic[_Options]):
    """One request: the bytes of each image, or the reason why there are none.

    `started` is on the monotonic clock and `timeout` what the caller asks for, both in seconds. `follow` is told of
    every call to Triton: it may outlast a caller who leaves.
    """

    images: Sequence[bytes | InputError]
    options: _Options
    principal: Principal
    priority: Priority
    started: float
    timeout: float | None
    request_id: str
    follow: Callable[["asyncio.Future[Any]"], None]


@dataclass(frozen=True, slots=True)
class Answer(Generic[_Result]):
    """Who answered, and one result or one error an image, in the request's order."""

    target: ModelVersion
    results: Sequence[_Result | InputError]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds from a request's first byte to its answer: where neither caller nor model says, and at the very most."""

    usual: float
    highest: float
    clock: Callable[[], float]

    def usual_for(self, card: ModelCard) -> float:
        """What requests to this model have that ask for nothing else."""
        return min(card.timeout or self.usual, self.highest)

    def of(self, started: float, asked: float | None, usual: float) -> Deadline:
        return Deadline(started + min(asked or usual, self.highest))

    def left(self, deadline: Deadline) -> float:
        return deadline.remaining(self.clock())


@dataclass(frozen=True, slots=True)
class Lane:
    """What has a queue of its own in Triton. `capacity` are the images that it can put to use at once; `usual` are
    the seconds that its requests have."""

    model: str
    version: str
    capacity: int
    usual: float


class Router(Protocol):
    def choose(self, card: ModelCard, pinned: str | None, *, may_pin: bool) -> ModelVersion: ...


class Upstream(Protocol):
    @property
    def can_cancel(self) -> bool: ...

    def check(self, target: ModelVersion) -> None: ...

    async def infer(self, call: InferCall) -> dict[str, Array]: ...


@dataclass(frozen=True, slots=True)
class _Job(Generic[_Options]):
    """A call with all that was decided for it."""

    call: Call[_Options]
    card: ModelCard
    target: ModelVersion
    lane: Lane
    deadline: Deadline


class DataPlane:
    """classify and detect; every error that leaves is a GatewayError."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        router: Router,
        admission: Admission[Lane],
        upstream: Upstream,
        pool: WorkerPool,
        limits: Limits,
        deadlines: Deadlines,
    ) -> None:
        self._catalog = catalog
        self._router = router
        self._admission = admission
        self._upstream = upstream
        self._pool = pool
        self._limits = limits
        self._deadlines = deadlines

    async def classify(self, call: Call[ClassifyOptions]) -> Answer[ClassifyResult]:
        job = self._assign(Task.IMAGE_CLASSIFICATION, call)
        wanted = class_ids(call.options.classes, job.card.labels)
        async with self._until(job.deadline):
            items = await self._encode(call.images, job.card)
            output = await self._infer(job, _encoded(items))
            results = classify.decode(output, job.card, call.options, wanted)
        return Answer(job.target, _in_order(items, results))

    async def detect(self, call: Call[DetectOptions]) -> Answer[DetectResult]:
        job = self._assign(Task.OBJECT_DETECTION, call)
        wanted = class_ids(call.options.classes, job.card.labels)
        async with self._until(job.deadline):
            items = await self._encode(call.images, job.card)
            output = await self._infer(job, _encoded(items))
            places = [item.placement for item in _encoded(items)]
            results = await self._pool.run(detect.decode, output, places, job.card, call.options, wanted)
        return Answer(job.target, _in_order(items, results))

    def _assign(self, task: Task, call: Call[_Options]) -> _Job[_Options]:
        """Model, version and deadline, and a refusal where no answer would come in time: before any decoding."""
        principal, options = call.principal, call.options
        card = self._catalog.find(task, options.model, lambda name: may_use(principal, name))
        target = self._router.choose(card, options.version, may_pin=has_scope(principal, PIN_VERSION))
        usual = self._deadlines.usual_for(card)
        deadline = self._deadlines.of(call.started, call.timeout, usual)
        lane = Lane(target.model, target.version, card.capacity, usual)
        self._upstream.check(target)
        self._admission.check(lane, call.priority, deadline)
        return _Job(call, card, target, lane, deadline)

    async def _encode(
        self, images: Sequence[bytes | InputError], card: ModelCard
    ) -> list[Encoded | InputError]:
        """Each image on a thread of the pool. Raises the first error where no image is left to answer."""
        items = await asyncio.gather(*(self._encode_one(data, card) for data in images))
        failures = [item for item in items if isinstance(item, InputError)]
        if len(failures) == len(items):
            raise failures[0]
        return items

    async def _encode_one(self, data: bytes | InputError, card: ModelCard) -> Encoded | InputError:
        if isinstance(data, InputError):
            return data
        try:
            return await self._pool.run(image.encode, data, card.preprocessing, self._limits)
        except InputError as error:
            return error

    async def _infer(self, job: _Job[_Options], items: Sequence[Encoded]) -> Array:
        """The images as one batch, or as several where the model takes fewer at once: `[images, …]`."""
        name, size = job.card.input.name, job.card.batch_limit
        arrays = [item.array for item in items]
        batches = [Tensor(name, np.stack(arrays[i : i + size])) for i in range(0, len(arrays), size)]
        answers = await asyncio.gather(*(self._infer_batch(job, batch) for batch in batches))
        outputs = [answer[job.card.output.name] for answer in answers]
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    async def _infer_batch(self, job: _Job[_Options], batch: Tensor) -> dict[str, Array]:
        """One call to Triton when it is this request's turn.

        The call is a task of its own, and the permit follows it: a client that leaves does not free a slot that the
        call still takes. The call itself goes on, unless this Triton can bear that it is cancelled.
        """
        call = job.call
        async with self._admission.slot(job.lane, call.priority, job.deadline) as permit:
            typical = self._admission.typical(job.lane)
            running = asyncio.ensure_future(
                self._upstream.infer(
                    InferCall(
                        job.target,
                        job.card.served,
                        [batch],
                        job.deadline,
                        call.priority,
                        call.request_id,
                        job.lane.usual,
                        typical,
                    )
                )
            )
            permit.follow(running)
            call.follow(running)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                if self._upstream.can_cancel:
                    running.cancel()
                raise

    @asynccontextmanager
    async def _until(self, deadline: Deadline) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._deadlines.left(deadline)):
                yield
        except TimeoutError:
            raise DeadlineExceeded("The request ran out of time.") from None


def _encoded(items: Sequence[Encoded | InputError]) -> list[Encoded]:
    return [item for item in items if isinstance(item, Encoded)]


def _in_order(
    items: Sequence[Encoded | InputError], results: Sequence[_Result]
) -> list[_Result | InputError]:
    rest = iter(results)
    return [item if isinstance(item, InputError) else next(rest) for item in items]
