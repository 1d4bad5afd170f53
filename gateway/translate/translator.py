"""Requests to tensors and tensors to answers, on threads where that would stall the event loop."""

import asyncio
from collections.abc import Sequence

from gateway.catalog import ModelCard
from gateway.domain import Array
from gateway.errors import InputError
from gateway.pool import WorkerPool
from gateway.schemas import ClassifyOptions, ClassifyResult, DetectOptions, DetectResult
from gateway.translate import classify, detect, image
from gateway.translate.decode import Limits
from gateway.translate.image import Encoded
from gateway.translate.labels import class_ids


class Translator:
    """`limits` bound each image."""

    def __init__(self, pool: WorkerPool, limits: Limits) -> None:
        self._pool = pool
        self._limits = limits

    async def encode(
        self, images: Sequence[bytes | InputError], card: ModelCard
    ) -> list[Encoded | InputError]:
        """Each image as the network's input, or why it cannot be. Raises the first error where no image is left."""
        items = await asyncio.gather(*(self._encode(data, card) for data in images))
        failures = [item for item in items if isinstance(item, InputError)]
        if len(failures) == len(items):
            raise failures[0]
        return items

    async def _encode(self, data: bytes | InputError, card: ModelCard) -> Encoded | InputError:
        if isinstance(data, InputError):
            return data
        try:
            return await self._pool.run(image.encode, data, card.preprocessing, self._limits)
        except InputError as error:
            return error

    async def classes(
        self, output: Array, _: Sequence[Encoded], card: ModelCard, options: ClassifyOptions
    ) -> list[ClassifyResult]:
        """One result an image. Raises UpstreamInvalidResponse."""
        return classify.decode(output, card, options, class_ids(options.classes, card.labels))

    async def boxes(
        self, output: Array, items: Sequence[Encoded], card: ModelCard, options: DetectOptions
    ) -> list[DetectResult]:
        """One result an image. Raises UpstreamInvalidResponse, Overloaded."""
        places = [item.placement for item in items]
        wanted = class_ids(options.classes, card.labels)
        return await self._pool.run(detect.decode, output, places, card, options, wanted)
