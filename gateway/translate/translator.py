"""Requests to tensors and tensors to answers, on threads where that would stall the event loop."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from gateway.catalog import ModelCard, Passthrough, Tokenization
from gateway.datatypes import BYTES
from gateway.domain import Array, Content, RawTensor, Tensor
from gateway.errors import InputError
from gateway.pool import WorkerPool, together
from gateway.schemas import ClassifyOptions, ClassifyResult, DetectOptions, DetectResult
from gateway.translate import classify, detect, elements, image, text
from gateway.translate.decode import Limits
from gateway.translate.labels import class_ids
from gateway.translate.tokenizer import Tokenizers

Encoded = image.Encoded | image.File | text.Encoded
_Kind = TypeVar("_Kind", image.Encoded, image.File, text.Encoded)


class Translator:
    """`limits` bound each image."""

    def __init__(self, pool: WorkerPool, limits: Limits, tokenizers: Tokenizers) -> None:
        self._pool = pool
        self._limits = limits
        self._tokenizers = tokenizers

    async def encode(
        self, inputs: Sequence[Content | InputError], card: ModelCard
    ) -> list[Encoded | InputError]:
        """Each input as the network takes it, or why it cannot be. Raises the first error where no input is left."""
        items = await together([self._encode(content, card) for content in inputs])
        failures = [item for item in items if isinstance(item, InputError)]
        if len(failures) == len(items):
            raise failures[0]
        return items

    async def _encode(self, content: Content | InputError, card: ModelCard) -> Encoded | InputError:
        if isinstance(content, InputError):
            return content
        if isinstance(content, str):
            return await self._pool.run(self._tokenizers.of(card.name).encode, content)
        try:
            if isinstance(card.encoding, Passthrough):
                return await self._pool.run(image.checked, content, self._limits)
            return await self._pool.run(image.encode, content, card.preprocessing, self._limits)
        except InputError as error:
            return error

    def stack(self, items: Sequence[Encoded], card: ModelCard) -> Sequence[Tensor | RawTensor]:
        """The network's input tensors for one batch."""
        if isinstance(card.encoding, Tokenization):
            return text.stack(_all_of(text.Encoded, items), card.encoding)
        if isinstance(card.encoding, Passthrough):
            files = [elements.one_string(item.data) for item in _all_of(image.File, items)]
            return [RawTensor(card.encoding.file.name, BYTES, (len(files), 1), b"".join(files))]
        arrays = [item.array for item in _all_of(image.Encoded, items)]
        batch = np.stack(arrays) if len(arrays) > 1 else arrays[0][np.newaxis]  # one alone need not be copied
        return [Tensor(card.served.inputs[0].name, batch)]

    async def classes(
        self, outputs: Sequence[Array], _: Sequence[Encoded], card: ModelCard, options: ClassifyOptions
    ) -> list[ClassifyResult]:
        """One result an input. Raises UpstreamInvalidResponse."""
        return classify.decode(outputs[0], card, options, class_ids(options.classes, card.labels))

    async def boxes(
        self, outputs: Sequence[Array], items: Sequence[Encoded], card: ModelCard, options: DetectOptions
    ) -> list[DetectResult]:
        """One result an image. Raises UpstreamInvalidResponse, Overloaded."""
        places = [item.placement for item in _all_of(image.Encoded, items)]
        wanted = class_ids(options.classes, card.labels)
        return await self._pool.run(detect.decode, outputs, places, card, options, wanted)


def _all_of(kind: type[_Kind], items: Sequence[Encoded]) -> list[_Kind]:
    """The items, which one model encoded and which are therefore all of its kind."""
    alike = [item for item in items if isinstance(item, kind)]
    assert len(alike) == len(items)  # noqa: S101  # the card decides the kind
    return alike
