"""Large JSON by way of arrays says exactly what the strict reader says, in what it takes and in what it refuses."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.translate import typed_json
from gateway.translate.tensors import load_json, parse, read_json

COUNT = 6000  # elements: enough text for the fast reader
LARGE = 20_000  # and for the one parser


def document(
    data: object, datatype: str = "FP32", shape: tuple[int, ...] = (COUNT,), **more: object
) -> bytes:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return json.dumps({"id": "one", **more, "inputs": [tensor]}).encode()


def outcome(text: bytes, read: Callable[[bytes], object]) -> object:
    """The tensors of a request, or how it is refused."""
    try:
        asked = parse(text, None, read=read)
    except GatewayError as error:
        return type(error), str(error), getattr(error, "errors", None)
    return [(each.name, each.datatype, each.shape, bytes(each.data)) for each in asked.inputs], asked.id


def numbers(datatype: str) -> Iterator[Any]:
    if datatype.startswith("FP") or datatype == "BF16":
        yield [index / 7 for index in range(COUNT)]
    yield list(range(100)) * (COUNT // 100)
    yield [[index % 50, (index + 1) % 50] for index in range(COUNT // 2)]


@pytest.mark.parametrize(
    "datatype",
    [
        "FP16",
        "BF16",
        "FP32",
        "FP64",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
    ],
)
def test_numbers_are_read_at_once_into_the_same_bytes(datatype: str) -> None:
    for data in numbers(datatype):
        shape = (COUNT,) if not isinstance(data[0], list) else (COUNT // 2, 2)
        text = document(data, datatype, shape, parameters={"mine": 1})
        assert typed_json.load(text, load_json) is not None
        assert outcome(text, read_json) == outcome(text, load_json)


ODD = {
    "a whole number with a point": document([7.0] * COUNT, "INT32"),
    "a fraction in an integer": document([1.5] * COUNT, "INT32"),
    "out of range": document([300] * COUNT, "UINT8"),
    "the largest UINT64": document([2**64 - 1] * COUNT, "UINT64"),
    "larger than 64 bits": document([2**64] * COUNT, "UINT64"),
    "the smallest INT64": document([-(2**63)] * COUNT, "INT64"),
    "negative for UINT64": document([-1] * COUNT, "UINT64"),
    "too large for FP32": document([1e39] * COUNT),
    "a truth value among numbers": document([True, *[1.0] * (COUNT - 1)]),
    "a string among numbers": document(["1", *[1.0] * (COUNT - 1)]),
    "nothing among numbers": document([None, *[1.0] * (COUNT - 1)]),
    "NaN": document([float("nan")] * COUNT),
    "truth values": document([True] * COUNT, "BOOL"),
    "strings": document(["text"] * COUNT, "BYTES"),
    "ragged lists": document(
        [[1.0, 2.0, 3.0], [4.0], *[[1.0, 2.0]] * (COUNT // 2 - 2)], shape=(COUNT // 2, 2)
    ),
    "nested otherwise than the shape": document([[1.0, 2.0]] * (COUNT // 2), shape=(2, COUNT // 2)),
    "nested in part": document([[1.0, 2.0], 3.0] * 2000),
    "nested behind the first": document([0, [0]] * (COUNT // 2)),
    "brackets in a text": document([1.0] * COUNT, more="[["),
    "too few": document([1.0] * (COUNT - 1)),
    "an object for data": document({"a": [1.0] * COUNT}),
    "a datatype that is no text": document([1.0] * COUNT, datatype=["FP32"]),  # type: ignore[arg-type]
    "no datatype of that name": document([1.0] * COUNT, datatype="FP8"),
    "many keys": document([1.0] * COUNT, **{f"k{number}": 1 for number in range(20_000)}),
    "many keys in an input": document([1.0] * COUNT)[:-3]
    + b"],"
    + b",".join(b'"k%d":1' % number for number in range(20_000))
    + b"}]}",
    "many inputs": json.dumps({"inputs": [{}] * 20_000}).encode(),
    "many parameters": document([1.0] * COUNT, parameters={f"k{number}": None for number in range(20_000)}),
    "no inputs": json.dumps({"inputs": [], "more": [1.0] * COUNT}).encode(),
    "inputs that are none": json.dumps({"inputs": {"x": [1.0] * COUNT}}).encode(),
    "an input that is none": json.dumps({"inputs": [[1.0] * COUNT]}).encode(),
    "a list at the top": json.dumps([1.0] * COUNT).encode(),
    "a key twice": document([1.0] * COUNT)[:-1] + b',"id":"two"}',
    "a key twice in an input": document([1.0] * COUNT)[:-3] + b'],"name":"y"}]}',
    "a key twice further in": document([1.0] * COUNT)[:-1] + b',"parameters":{"a":1,"a":2}}',
    "a byte order mark": b"\xef\xbb\xbf" + document([1.0] * COUNT),
    "something behind it": document([1.0] * COUNT) + b"x",
    "cut off": document([1.0] * COUNT)[:-2],
    "a NUL in a key": document([1.0] * COUNT)[:-1] + b',"more\\u0000":1}',
    "a key that goes on behind a NUL": document([1.0] * COUNT)[:-1] + b',"id\\u0000":"two"}',
    "a NUL in an input's key": document([1.0] * COUNT)[:-3] + b'],"shape\\u0000":[1]}]}',
    "half a pair": document([1.0] * COUNT)[:-1] + b',"more":"\\ud800"}',
    "not UTF-8": document([1.0] * COUNT)[:-1] + b',"more":"\xff"}',
    "deep": document([1.0] * COUNT)[:-1] + b',"more":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "too many lists": document([[1.0]] * 12_000, shape=(12_000, 1)),
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_whatever_is_odd_ends_as_the_strict_reader_says(text: bytes) -> None:
    assert outcome(text, read_json) == outcome(text, load_json)


def load(text: bytes) -> Any:
    return typed_json.load(text, load_json)


def large(number: float) -> bytes:
    """A text for the one parser."""
    return document([number] * LARGE, shape=(LARGE,))


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_whatever_came_before_leaves_the_one_parser_free(text: bytes) -> None:
    load(text + b" " * 64 * 1024)
    assert load(large(1.5)) is not None


def test_what_one_text_gave_stays_when_the_parser_takes_the_next() -> None:
    first = load(large(1.5))
    load(large(2.5))
    assert set(first["inputs"][0]["data"]) == {1.5}


def test_threads_take_the_parser_in_turns() -> None:
    texts = [large(float(number)) for number in range(8)] * 20
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(load, texts))
    assert [set(each["inputs"][0]["data"]) for each in found] == [{float(n)} for n in range(8)] * 20


def test_a_text_too_long_for_the_kept_parser_is_read_alike() -> None:
    count = 800_000
    text = document([1.2345678901234] * count, shape=(count,))
    assert len(text) > typed_json._KEPT
    assert len(load(text)["inputs"][0]["data"]) == count


def test_a_small_text_does_not_wait_for_a_large_one() -> None:
    with typed_json._large_texts.taken():
        assert load(document([1.5] * COUNT)) is not None
