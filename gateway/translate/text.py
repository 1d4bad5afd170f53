"""Tokenised texts to the network's input tensors: masked, typed, and padded to the longest of their batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.catalog import Tokenization
from gateway.domain import Tensor

_Integers = NDArray[np.int32] | NDArray[np.int64]

_BYTES_PER_TOKEN = 4  # of English in UTF-8, for the usual vocabularies


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as token ids and the type of each; `pad_id` is what its vocabulary fills up with."""

    ids: Sequence[int]
    types: Sequence[int]
    pad_id: int


def stack(items: Sequence[Encoded], to: Tokenization) -> list[Tensor]:
    """One batch: each tensor is `[texts, tokens]`, and 0 in the mask is what the network must not look at.

    A text may have no token: without one of its own it is padding alone, as it is in a network of a fixed length.
    """
    length = to.length or max(1, *(len(item.ids) for item in items))
    tensors = [
        Tensor(to.ids.name, _rows([item.ids for item in items], length, items[0].pad_id, to.ids.datatype)),
        Tensor(to.mask.name, _rows([[1] * len(item.ids) for item in items], length, 0, to.mask.datatype)),
    ]
    if to.types is not None:
        types = _rows([item.types for item in items], length, 0, to.types.datatype)
        tensors.append(Tensor(to.types.name, types))
    return tensors


def _rows(texts: Sequence[Sequence[int]], length: int, fill: int, datatype: str) -> _Integers:
    shape = len(texts), length
    rows: _Integers = (
        np.full(shape, fill, np.int32) if datatype == "INT32" else np.full(shape, fill, np.int64)
    )
    for row, values in zip(rows, texts, strict=True):
        row[: len(values)] = values
    return rows


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, for what a request costs: the model, and with it the vocabulary, is chosen
    later."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)
