"""The whole path of a request between HTTP and Triton, top to bottom on one screen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from gateway.catalog import Catalog, ModelCard, Task
from gateway.domain import Array, Deadline, ModelVersion, ServedModel, Tensor
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
    """One request: the bytes of each image, or the reason why there are none."""

    images: Sequence[bytes | InputError]
    options: _Options
    deadline: Deadline
    request_id: str


@dataclass(frozen=True, slots=True)
class Answer(Generic[_Result]):
    """Who answered, and one result or one error an image, in the request's order."""

    target: ModelVersion
    results: Sequence[_Result | InputError]


class Router(Protocol):
    def choose(self, card: ModelCard, pinned: str | None) -> ModelVersion: ...


class Upstream(Protocol):
    async def infer(
        self,
        target: ModelVersion,
        model: ServedModel,
        inputs: Sequence[Tensor],
        deadline: Deadline,
        request_id: str,
    ) -> dict[str, Array]: ...


class DataPlane:
    """classify and detect; every error that leaves is a GatewayError."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        router: Router,
        upstream: Upstream,
        pool: WorkerPool,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._router = router
        self._upstream = upstream
        self._pool = pool
        self._limits = limits
        self._clock = clock

    async def classify(self, call: Call[ClassifyOptions]) -> Answer[ClassifyResult]:
        card = self._catalog.find(Task.IMAGE_CLASSIFICATION, call.options.model)
        target = self._router.choose(card, call.options.version)
        wanted = class_ids(call.options.classes, card.labels)
        async with self._until(call.deadline):
            items = await self._encode(call.images, card)
            output = await self._infer(target, card, _encoded(items), call)
            results = classify.decode(output, card, call.options, wanted)
        return Answer(target, _in_order(items, results))

    async def detect(self, call: Call[DetectOptions]) -> Answer[DetectResult]:
        card = self._catalog.find(Task.OBJECT_DETECTION, call.options.model)
        target = self._router.choose(card, call.options.version)
        wanted = class_ids(call.options.classes, card.labels)
        async with self._until(call.deadline):
            items = await self._encode(call.images, card)
            output = await self._infer(target, card, _encoded(items), call)
            places = [item.placement for item in _encoded(items)]
            results = await self._pool.run(detect.decode, output, places, card, call.options, wanted)
        return Answer(target, _in_order(items, results))

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
        answers = await asyncio.gather(
            *(
                self._upstream.infer(target, card.served, [batch], call.deadline, call.request_id)
                for batch in batches
            )
        )
        outputs = [answer[card.output.name] for answer in answers]
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    @asynccontextmanager
    async def _until(self, deadline: Deadline) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(deadline.remaining(self._clock())):
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
