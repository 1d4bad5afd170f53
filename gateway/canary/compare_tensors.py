"""What a canary answers in plain tensors, held against what the stable version answered to the same request (pure).

Two answers agree when each output does: the same datatype and shape, nine in ten of its elements alike, and nine tenths
of what they hold. The first alone would see no wrong class among a thousand, whose other probabilities are nothing in
both answers; the second alone no wrong score beside coordinates. Floats are alike within a hundredth and a thousandth,
as numpy's `isclose` adds them up; everything else is equal. Of a large output a part is compared, to bound the time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gateway.canary.comparison import AGREED, ClassTally, Comparison, Drift
from gateway.datatypes import BYTES, SIZES
from gateway.domain import Array, RawTensor
from gateway.translate import elements
from gateway.translate.elements import ElementError

_MOST_NUMBERS, _MOST_STRINGS = 65_536, 10_000  # of an output that are compared
_GOLDEN = (math.sqrt(5) - 1) / 2
_RELATIVE, _ABSOLUTE = 1e-2, 1e-3
_LARGEST = 1e30  # of what is added up
_SHOWN = 8  # elements of an output that a sample keeps
_SHOWN_BYTES = 64 * 1024  # of strings that are read for them


@dataclass(frozen=True, slots=True)
class TensorResult:
    """What a version answered to a request for tensors."""

    outputs: tuple[RawTensor, ...]


class _Excerpt(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OutputExcerpt(_Excerpt):
    """An output, and its first elements."""

    name: str
    datatype: str
    shape: list[int]
    first: list[bool | int | float | str]


class Excerpt(_Excerpt):
    """What is kept of a request's outputs."""

    outputs: list[OutputExcerpt]


class _Output(NamedTuple):
    """The share of it that is alike, and how floats differ."""

    share: float
    drift: Drift | None


def compare_tensors(stable: Sequence[RawTensor], canary: Sequence[RawTensor]) -> Comparison:
    """Of two answers; each output counts as a class of its name. One that only one of them gave is alike in nothing."""
    ones, others = ({output.name: output for output in outputs} for outputs in (stable, canary))
    names = [*ones, *(name for name in others if name not in ones)]
    found = [_compared(ones.get(name), others.get(name)) for name in names]
    drifts = [output.drift for output in found if output.drift is not None]
    same = [output.share >= AGREED for output in found]
    return Comparison(
        agrees=all(same),
        overlap=sum(output.share for output in found) / len(found) if found else 1.0,
        drift=_mean(drifts) if drifts else None,
        classes={
            name: ClassTally(agreed=1) if agrees else ClassTally(changed_from=1, changed_to=1)
            for name, agrees in zip(names, same, strict=True)
        },
    )


def excerpt(outputs: Sequence[RawTensor]) -> Excerpt:
    """As a sample keeps an answer: what its outputs are, and the first elements of each."""
    return Excerpt(
        outputs=[
            OutputExcerpt(name=each.name, datatype=each.datatype, shape=list(each.shape), first=_first(each))
            for each in outputs
        ]
    )


def _compared(stable: RawTensor | None, canary: RawTensor | None) -> _Output:
    """Of one output."""
    if stable is None or canary is None or (stable.datatype, stable.shape) != (canary.datatype, canary.shape):
        return _Output(0.0, None)
    if stable.datatype == BYTES:
        return _Output(_strings_alike(stable, canary), None)
    one, other = _lines(stable), _lines(canary)
    if one.dtype.kind != "f":
        return _Output(_share(one == other, one != other, (one != 0) | (other != 0)), None)
    one, other = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is in no sum
        alike = np.isclose(other, one, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
        differences = np.subtract(other, one)
        held = np.maximum(np.abs(one), np.abs(other))
    finite = held < _LARGEST
    lost = np.where(finite & ~alike, np.abs(differences), 0.0)
    return _Output(_share(alike, lost, np.where(finite, held, 0.0)), _drift(differences[finite]))


def _lines(tensor: RawTensor) -> Array:
    """The elements as lines along the longest axis, or of very many some of each line, at the same places: so a line is
    one kind of number (a class's scores, a box's edges), and none is left out.
    """
    array = elements.numbers(tensor.datatype, tensor.data).reshape(tensor.shape or (1,))
    if not array.size:
        return array.reshape(1, 0)
    lines = np.moveaxis(array, int(np.argmax(array.shape)), -1)
    count = array.size // lines.shape[-1]
    some = lines[..., _spread(lines.shape[-1], max(1, _MOST_NUMBERS // count))]
    return some.reshape(count, -1)[_spread(count, _MOST_NUMBERS)]


def _spread(count: int, most: int) -> NDArray[np.intp] | slice:
    """Which of so many are compared. Multiples of the golden ratio lie evenly, and in step with no pattern."""
    if count <= most:
        return slice(None)
    return (np.arange(1, most + 1) * _GOLDEN % 1.0 * count).astype(np.intp)


def _strings_alike(stable: RawTensor, canary: RawTensor) -> float:
    if stable.data == canary.data:
        return 1.0
    pairs = zip(elements.strings(stable.data), elements.strings(canary.data), strict=False)
    try:
        found = [(one == other, bool(one or other)) for one, other in islice(pairs, _MOST_STRINGS)]
    except ElementError:  # what a model gives out as strings, nobody has checked
        return 0.0
    if not found:
        return 0.0
    alike, held = (np.array([column]) for column in zip(*found, strict=True))
    return _share(alike, ~alike, held)


def _share(alike: Array, lost: Array, held: Array) -> float:
    """Of lines of elements: the share that is alike, of the elements or of what they hold, whichever is less.

    `held` is how much an element is, `lost` by how much it differs. Each line weighs as much as its largest element,
    but none more than 1: coordinates must not hide scores, nor the scores of classes that are not there those that are.
    """
    if not alike.size:
        return 1.0
    whole, weights = held.sum(axis=1), np.minimum(held.max(axis=1), 1)
    filled = whole > 0
    if not filled.any():
        return float(alike.mean())
    differs = np.average(lost.sum(axis=1)[filled] / whole[filled], weights=weights[filled])
    return float(min(alike.mean(), max(0.0, 1 - differs)))


def _drift(differences: NDArray[np.float64]) -> Drift | None:
    if not differences.size:
        return None
    return Drift(float(differences.mean()), float(np.abs(differences).mean()))


def _mean(drifts: Sequence[Drift]) -> Drift:
    return Drift(
        sum(drift.signed for drift in drifts) / len(drifts),
        sum(drift.absolute for drift in drifts) / len(drifts),
    )


def _first(tensor: RawTensor) -> list[bool | int | float | str]:
    """The first elements; none where JSON cannot carry them."""
    if tensor.datatype == BYTES and len(tensor.data) > _SHOWN_BYTES:
        return []
    size = SIZES.get(tensor.datatype, len(tensor.data))
    try:
        found = elements.unpack(tensor.datatype, tensor.data[: _SHOWN * size])
    except ElementError:
        return []
    return [text[:200] for text in found[:_SHOWN]] if isinstance(found, list) else found.tolist()
