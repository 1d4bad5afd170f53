"""JSON whose numbers go straight into arrays: a large tensor never becomes a Python object for each of its elements.

It reads what it is sure of and leaves the rest, errors included, to the strict reader: nothing is accepted here that
would be refused there.
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, cast

import numpy as np
import simdjson

from gateway.datatypes import BYTES
from gateway.domain import Array
from gateway.errors import GatewayError
from gateway.strict_json import holds_more

_WORTH = 16 * 1024  # bytes from which it pays
# Bytes between which one parser takes all texts, one after the other: it sets aside fifteen times their length, and
# whoever parses holds the interpreter anyway. Small ones are read on the event loop, which waits for no thread; larger
# ones than a body is by default would make it set aside more than may lie there until it is let go.
_SMALL, _KEPT = 64 * 1024, 10 * 1024 * 1024
_MOST_LISTS = 10_000  # nested lists of one depth; they are looked at one by one
_MOST_INPUTS, _MOST_KEYS = 256, 64  # a key is looked up by going through those before it
_MOST_AROUND = 16 * 1024  # bytes of a list or object that is no tensor: `strict` bounds what it sees at once


class _InTurns:
    """A parser for whoever comes, one after the other."""

    def __init__(self) -> None:
        self._in_use = threading.Lock()
        self.renew()

    @contextmanager
    def taken(self) -> Iterator[simdjson.Parser]:
        with self._in_use:
            yield self._parser

    def renew(self) -> None:
        """What the parser had set aside is free; the next large text sets it aside again."""
        with self._in_use:
            self._parser = simdjson.Parser()


_large_texts = _InTurns()
_Kind = tuple[Literal["d", "i", "u"], type[np.generic]]
_FLOAT: _Kind = ("d", np.float64)
_KINDS: Mapping[object, _Kind] = {
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32"), ("i", np.int64)),
    "UINT64": ("u", np.uint64),
}


def load(text: bytes, strict: Callable[[bytes], object]) -> object | None:
    """The document of an inference request, in which `data` of numbers is an array nested as it was written.

    `strict` reads what stands around the tensors. None where the whole is for it to read.
    """
    if len(text) < _WORTH or not text.startswith(b"{"):
        return None
    if not _SMALL < len(text) <= _KEPT:
        return _load(simdjson.Parser(), text, strict)
    with _large_texts.taken() as parser:
        return _load(parser, text, strict)


def let_go() -> None:
    """Frees what the large texts of the past needed, which is resident until then."""
    _large_texts.renew()


def _load(parser: simdjson.Parser, text: bytes, strict: Callable[[bytes], object]) -> object | None:
    """Nothing that it returns, or leaves behind, points into the parser's memory: it may take the next text."""
    try:
        document = {
            key: _inputs(value, strict) if key == "inputs" else _plain(value, strict)
            for key, value in _fields(parser.parse(text))
        }
        # A list where a number of `data` belongs, or a bracket in a string, for which it is not worth to look closer.
        return None if holds_more(text, b"[", _lists(document)) else document
    except (
        ValueError,
        TypeError,
        RuntimeError,  # numbers of more than 64 bits, and too much depth
        GatewayError,  # of `strict`, which says it again of the whole; its frames would hold the parser's memory
    ):
        return None


def _inputs(value: Any, strict: Callable[[bytes], object]) -> list[object]:
    if not isinstance(value, simdjson.Array) or len(value) > _MOST_INPUTS:
        raise ValueError("not inputs, or too many")
    return [_input(item, strict) for item in value]


def _input(item: Any, strict: Callable[[bytes], object]) -> dict[str, object]:
    fields = dict(_fields(item))
    kind = fields.get("datatype")
    return {
        key: _numbers(value, kind) if key == "data" else _plain(value, strict)
        for key, value in fields.items()
    }


def _fields(found: Any) -> Iterator[tuple[str, Any]]:
    """Raises ValueError where a key stands twice: who reads the first one and who the last sees another request."""
    if not isinstance(found, simdjson.Object) or len(found) > _MOST_KEYS:
        raise ValueError("not an object, or one of many keys")
    keys = list(found.keys())
    if len(set(keys)) != len(keys):
        raise ValueError("a key stands twice")
    if any("\0" in key for key in keys):
        raise ValueError("a NUL in a key, which is looked up no further than that")
    return ((key, found[key]) for key in keys)


def _plain(value: Any, strict: Callable[[bytes], object]) -> object:
    if not isinstance(value, simdjson.Object | simdjson.Array):
        return value
    text = cast("bytes", value.mini)  # declared as text, which it is not
    if len(text) > _MOST_AROUND:
        raise ValueError("much around the tensors")
    return strict(text)


def _numbers(data: Any, datatype: object) -> Array:
    """Raises TypeError or ValueError where an element is no number, or none of the datatype's kind."""
    if not isinstance(data, simdjson.Array) or datatype in {"BOOL", BYTES}:
        raise ValueError("not numbers")
    kind, dtype = _KINDS.get(datatype, _FLOAT)
    array: Array = np.frombuffer(data.as_buffer(of_type=kind), dtype)
    return array.reshape(_nesting(data))


def _nesting(data: Any) -> tuple[int, ...]:
    """How long the lists are, from the outermost in. Raises ValueError where they differ, or are too many."""
    sizes = [len(data)]
    level = [data]
    while len(level[0]) and isinstance(level[0][0], simdjson.Array):
        if len(level) * sizes[-1] > _MOST_LISTS:
            raise ValueError("too many lists")
        level = [item for outer in level for item in outer]
        if len({len(inner) for inner in level}) != 1:
            raise ValueError("ragged")
        sizes.append(len(level[0]))
    return tuple(sizes)


def _lists(value: object) -> int:
    """How many lists there are in the text that became this."""
    if isinstance(value, np.ndarray):
        return sum(math.prod(value.shape[:depth]) for depth in range(value.ndim))
    if isinstance(value, dict):
        return sum(map(_lists, value.values()))
    return 1 + sum(map(_lists, value)) if isinstance(value, list) else 0
