"""The whole path of a request between HTTP and Triton, top to bottom on one screen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from gateway.admission import Admission
from gateway.auth import has_scope, may_use
from gateway.auth.scopes import PIN_VERSION
from gateway.catalog import Catalog, ModelCard, Task
from gateway.domain import Array, Deadline, ModelVersion, Principal, Priority, ServedModel, Tensor
from gateway.errors import DeadlineExceeded, InputError
from gateway.pool import WorkerPool
from gateway.schemas import ClassifyOptions, ClassifyResult, DetectOptions, DetectResult
from gateway.translate import classify, detect, image
from gateway.translate.decode import Limits
from gateway.translate.image import Encoded
from gateway.translate.labels import class_ids

Lane = tuple[str, str]

_Options = TypeVar("_Options", ClassifyOptions, DetectOptions)
_Result = TypeVar("_Result", ClassifyResult, DetectResult)


@dataclass(frozen=True, slots=True)
class Call(Generic[_Options]):
    """One request: the bytes of each image, or the reason why there are none."""

    images: Sequence[bytes | InputError]
    options: _Options
    principal: Principal
    priority: Priority
    deadline: Deadline
    request_id: str


@dataclass(frozen=True, slots=True)
class Answer(Generic[_Result]):
    """Who answered, and one result or one error an image, in the request's order."""

    target: ModelVersion
    results: Sequence[_Result | InputError]


class Router(Protocol):
    def choose(self, card: ModelCard, pinned: str | None, *, may_pin: bool) -> ModelVersion: ...


class Upstream(Protocol):
    async def infer(
        self,
        target: ModelVersion,
        model: ServedModel,
        inputs: Sequence[Tensor],
        deadline: Deadline,
        priority: Priority,
        request_id: str,
    ) -> dict[str, Array]: ...


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
        clock: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._router = router
        self._admission = admission
        self._upstream = upstream
        self._pool = pool
        self._limits = limits
        self._clock = clock

    async def classify(self, call: Call[ClassifyOptions]) -> Answer[ClassifyResult]:
        card, target = self._choose(Task.IMAGE_CLASSIFICATION, call)
        wanted = class_ids(call.options.classes, card.labels)
        async with self._until(call.deadline):
            items = await self._encode(call.images, card)
            output = await self._infer(target, card, _encoded(items), call)
            results = classify.decode(output, card, call.options, wanted)
        return Answer(target, _in_order(items, results))

    async def detect(self, call: Call[DetectOptions]) -> Answer[DetectResult]:
        card, target = self._choose(Task.OBJECT_DETECTION, call)
        wanted = class_ids(call.options.classes, card.labels)
        async with self._until(call.deadline):
            items = await self._encode(call.images, card)
            output = await self._infer(target, card, _encoded(items), call)
            places = [item.placement for item in _encoded(items)]
            results = await self._pool.run(detect.decode, output, places, card, call.options, wanted)
        return Answer(target, _in_order(items, results))

    def _choose(self, task: Task, call: Call[_Options]) -> tuple[ModelCard, ModelVersion]:
        """Model and version, and a refusal where the wait for them would outlast the deadline: before any decoding."""
        principal, options = call.principal, call.options
        card = self._catalog.find(task, options.model, lambda name: may_use(principal, name))
        target = self._router.choose(card, options.version, may_pin=has_scope(principal, PIN_VERSION))
        self._admission.check(_lane(target), call.priority, call.deadline)
        return card, target

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

    async def _infer(
        self, target: ModelVersion, card: ModelCard, items: Sequence[Encoded], call: Call[_Options]
    ) -> Array:
        """The images as one batch, or as several where the model takes fewer at once: `[images, …]`."""
        arrays = [item.array for item in items]
        size = card.batch_limit
        batches = [
            Tensor(card.input.name, np.stack(arrays[i : i + size])) for i in range(0, len(arrays), size)
        ]
        answers = await asyncio.gather(*(self._infer_batch(target, card, batch, call) for batch in batches))
        outputs = [answer[card.output.name] for answer in answers]
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    async def _infer_batch(
        self, target: ModelVersion, card: ModelCard, batch: Tensor, call: Call[_Options]
    ) -> dict[str, Array]:
        """One call to Triton when it is this request's turn.

        The call is a task of its own, and the permit follows it: a client that leaves neither cancels the call (cancels
        crash Triton before 2.59) nor frees a slot that the call still takes.
        """
        async with self._admission.slot(_lane(target), call.priority, call.deadline) as permit:
            running = asyncio.ensure_future(
                self._upstream.infer(
                    target, card.served, [batch], call.deadline, call.priority, call.request_id
                )
            )
            permit.follow(running)
            return await asyncio.shield(running)

    @asynccontextmanager
    async def _until(self, deadline: Deadline) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(deadline.remaining(self._clock())):
                yield
        except TimeoutError:
            raise DeadlineExceeded("The request ran out of time.") from None


def _lane(target: ModelVersion) -> Lane:
    """What has a queue of its own in Triton."""
    return target.model, target.version


def _encoded(items: Sequence[Encoded | InputError]) -> list[Encoded]:
    return [item for item in items if isinstance(item, Encoded)]


def _in_order(
    items: Sequence[Encoded | InputError], results: Sequence[_Result]
) -> list[_Result | InputError]:
    rest = iter(results)
    return [item if isinstance(item, InputError) else next(rest) for item in items]
