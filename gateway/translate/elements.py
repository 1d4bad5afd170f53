"""The elements of a tensor between JSON and Triton's bytes, for every datatype.

JSON knows three kinds of element (numbers, truth values, strings) and no size of them, so what does not fit the
datatype is refused here: 300 is no UINT8, 1.5 no INT32, "7" no number, and 1e39 no FP32. 7.0 is an INT32, though: some
clients write every number so. Values become arrays in one step each, without a Python loop; only BYTES, whose elements
differ in length, are walked one by one.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.datatypes import BF16, BYTES, DTYPES, SIZES
from gateway.domain import Array, Buffer

_FLOATS = ("FP16", BF16, "FP32", "FP64")
_KINDS: Mapping[str, frozenset[type]] = {
    "BOOL": frozenset({bool}),
    BYTES: frozenset({str}),
}
_NUMBER = frozenset({int, float})
_EXACT = 2.0**53  # below it every whole number is an FP64 of its own
_LENGTH = struct.Struct("<I")


class ElementError(ValueError):
    """Elements that are not what their datatype and shape say; the message is a sentence for the caller."""


def pack(datatype: str, values: Sequence[Any] | Array, shape: Sequence[int]) -> Buffer:
    """JSON's `data` as bytes; it is flat, or nested as `shape` says.

    `datatype` is a known one; an array has numbers of its kind. Raises ElementError.
    """
    try:
        if isinstance(values, np.ndarray):
            return _pack_numbers(datatype, _flat(values, shape))
        return _pack_list(datatype, _flatten(values, shape))
    except OverflowError:
        raise _out_of_range(datatype) from None


def _pack_list(datatype: str, flat: Sequence[Any]) -> bytes:
    kinds = set(map(type, flat))
    if not kinds <= _KINDS.get(datatype, _NUMBER):
        raise ElementError(f"an element is not of {datatype}")
    if datatype == BYTES:
        return _pack_strings(flat)
    whole = float in kinds and datatype not in _FLOATS
    return _pack_numbers(datatype, _whole(datatype, flat) if whole else flat)


def _pack_numbers(datatype: str, flat: Sequence[Any] | Array) -> bytes:
    array = _floats(datatype, flat) if datatype in _FLOATS else _integers(datatype, flat)
    return array.tobytes()


def unpack(datatype: str, data: Buffer) -> Array | list[str]:
    """Bytes as what a JSON writer takes: a flat array, or strings.

    Raises ElementError for what JSON cannot carry: NaN and infinity, and strings that are not UTF-8.
    """
    if datatype == BYTES:
        try:
            return [str(text, "utf-8") for text in strings(data)]
        except UnicodeDecodeError:
            raise ElementError("a string is not UTF-8, which JSON cannot carry") from None
    flat = numbers(datatype, data)
    if datatype in _FLOATS and not np.isfinite(flat).all():
        raise ElementError("a value is NaN or infinite, which JSON cannot carry")
    return flat


def numbers(datatype: str, data: Buffer) -> Array:
    """Bytes of numbers or truth values as a flat array; BF16 becomes FP32."""
    if datatype == BF16:
        return _widened(np.frombuffer(data, "<u2"))
    if datatype == "BOOL":
        truths: Array = np.frombuffer(data, np.uint8) != 0
        return truths
    return np.frombuffer(data, DTYPES[datatype])


def strings(data: Buffer) -> Iterator[memoryview]:
    """The elements of BYTES. Raises ElementError where the last one is cut short."""
    view, at = memoryview(data), 0
    while at < len(view):
        start = at + _LENGTH.size
        if start > len(view):
            raise ElementError("a string's length is cut short")
        at = start + _LENGTH.unpack_from(view, at)[0]
        if at > len(view):
            raise ElementError("a string is cut short")
        yield view[start:at]


def check_size(datatype: str, data: Buffer, shape: Sequence[int]) -> None:
    """Raises ElementError where these bytes are not exactly the elements of such a tensor."""
    count = math.prod(shape)
    if datatype != BYTES:
        if len(data) != count * SIZES[datatype]:
            raise ElementError(
                f"{len(data)} bytes, where {datatype}{list(shape)} has {count * SIZES[datatype]}"
            )
    elif not _are_strings(data, count):
        raise ElementError(f"the bytes are not {count} strings, each behind its length")


def _are_strings(data: Buffer, count: int) -> bool:
    """Whether these bytes are so many strings and nothing more; of more, none is looked at."""
    at = 0
    try:
        for _ in range(count):
            at += _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
    except struct.error:  # there is no length any more
        return False
    return at == len(data)


def one_string(data: Buffer) -> bytes:
    """Bytes that are one string, as an element of BYTES."""
    return _LENGTH.pack(len(data)) + data


def _flatten(values: Sequence[Any], shape: Sequence[int]) -> Sequence[Any]:
    """The elements in row-major order. Raises ElementError where nesting or count are not those of `shape`."""
    flat = values
    if flat and type(flat[0]) is list:
        for size in shape[1:]:
            if set(map(type, flat)) != {list} or set(map(len, flat)) != {size}:
                raise ElementError(f"the lists are not nested as {list(shape)} says")
            flat = list(chain.from_iterable(flat))
    if len(flat) != math.prod(shape):
        raise ElementError(f"{len(flat)} elements, where {list(shape)} has {math.prod(shape)}")
    return flat


def _flat(values: Array, shape: Sequence[int]) -> Array:
    """The same of an array."""
    if values.ndim > 1 and values.shape != tuple(shape):
        raise ElementError(f"the lists are not nested as {list(shape)} says")
    if values.size != math.prod(shape):
        raise ElementError(f"{values.size} elements, where {list(shape)} has {math.prod(shape)}")
    return values.reshape(-1)


def _pack_strings(texts: Sequence[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    lengths = map(_LENGTH.pack, map(len, encoded))
    return b"".join(chain.from_iterable(zip(lengths, encoded, strict=True)))


def _whole(datatype: str, flat: Sequence[Any]) -> Array:
    """Numbers of which some are written with a point or an exponent.

    Raises ElementError where one is not whole, OverflowError where one is larger than every float.
    """
    wide = np.array(flat, np.float64)
    if not (np.abs(wide) < _EXACT).all() or (wide != np.floor(wide)).any():
        raise ElementError(f"an element is not of {datatype}")
    return wide


def _integers(datatype: str, flat: Sequence[Any] | Array) -> Array:
    """Raises ElementError or OverflowError for a number that does not fit."""
    if datatype == "BOOL":
        return np.array(flat, np.bool_)
    dtype = DTYPES[datatype]
    wide: Array = (
        flat  # as wide as it was read: one that is cast here would wrap around where a list raises
        if isinstance(flat, np.ndarray)
        else np.array(flat, np.uint64 if datatype == "UINT64" else np.int64)
    )
    bounds = np.iinfo(dtype.name)
    if wide.min() < bounds.min or wide.max() > bounds.max:
        raise _out_of_range(datatype)
    return wide.astype(dtype)


def _floats(datatype: str, flat: Sequence[Any] | Array) -> Array:
    """Raises ElementError or OverflowError for a number that does not fit."""
    wide = np.asarray(flat, np.float64)
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        array: Array = _brain_floats(wide) if datatype == BF16 else wide.astype(DTYPES[datatype])
    finite = np.isfinite(_widened(array) if datatype == BF16 else array)
    if not finite.all():
        raise _out_of_range(datatype)
    return array


def _brain_floats(wide: NDArray[np.float64]) -> Array:
    """BF16 is the upper half of FP32; here rounded to the nearest, ties to even."""
    bits = wide.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _widened(halves: Array) -> NDArray[np.float32]:
    return (halves.astype(np.uint32) << 16).view(np.float32)


def _out_of_range(datatype: str) -> ElementError:
    return ElementError(f"a number is out of range for {datatype}")
