"""Elements between JSON and bytes: every datatype there and back, and nothing that does not fit."""

import json
import math
from typing import Any

import jiter
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.datatypes import BF16, BYTES, DTYPES, SIZES
from gateway.translate.elements import ElementError, check_size, one_string, pack, unpack

INTEGERS = [name for name, dtype in DTYPES.items() if dtype.kind in "iu"]
FLOATS = ["FP16", BF16, "FP32", "FP64"]


def values_of(datatype: str) -> st.SearchStrategy[Any]:
    """Values that this datatype can hold exactly."""
    if datatype == "BOOL":
        return st.booleans()
    if datatype == BYTES:
        return st.text(max_size=20)
    if datatype in INTEGERS:
        bounds = np.iinfo(DTYPES[datatype])
        return st.integers(int(bounds.min), int(bounds.max))
    if datatype == BF16:
        return st.integers(0, 2**16 - 1).map(brain).filter(math.isfinite)
    return st.floats(width=8 * SIZES[datatype], allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]


def brain(half: int) -> float:
    return float(np.array([half << 16], np.uint32).view(np.float32)[0])


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, list[Any], list[int]]:
    """A datatype, values, and a shape that holds them."""
    datatype = draw(st.sampled_from([*SIZES, BYTES]))
    shape = draw(st.lists(st.integers(1, 4), max_size=3))
    count = math.prod(shape)
    return datatype, draw(st.lists(values_of(datatype), min_size=count, max_size=count)), shape


def nested(values: list[Any], shape: list[int]) -> list[Any]:
    rows = values
    for size in reversed(shape[1:]):
        rows = [rows[at : at + size] for at in range(0, len(rows), size)]
    return rows


def as_json(datatype: str, data: "bytes | memoryview") -> Any:
    return json.loads(orjson.dumps(unpack(datatype, data), option=orjson.OPT_SERIALIZE_NUMPY))


@given(tensors())
def test_values_survive_the_way_through_bytes_and_json(case: tuple[str, list[Any], list[int]]) -> None:
    datatype, values, shape = case
    text = json.dumps(values).encode()
    data = pack(datatype, jiter.from_json(text), shape)
    check_size(datatype, data, shape)
    answered = as_json(datatype, data)
    assert pack(datatype, answered, shape) == data
    if datatype not in (
        "FP16",
        "FP32",
        BF16,
    ):  # written as the shortest decimal that reads back as the same FP32
        assert np.array_equal(answered, values)


@given(tensors())
def test_nested_lists_mean_the_same_as_flat_ones(case: tuple[str, list[Any], list[int]]) -> None:
    datatype, values, shape = case
    assert pack(datatype, nested(values, shape), shape) == pack(datatype, values, shape)


@pytest.mark.parametrize("datatype", list(DTYPES))
@given(data=st.data())
def test_the_bytes_are_numpys_own(datatype: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(values_of(datatype), min_size=1, max_size=8))
    assert pack(datatype, values, [len(values)]) == np.array(values, DTYPES[datatype]).tobytes()


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=6))
def test_strings_stand_behind_their_lengths(texts: list[bytes]) -> None:
    data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    check_size(BYTES, data, [len(texts)])
    assert b"".join(map(one_string, texts)) == data
    for cut in range(1, min(len(data), 12)):
        with pytest.raises(ElementError):
            check_size(BYTES, data[:-cut], [len(texts)])


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, max_value=2.0**126, min_value=-(2.0**126)))
def test_brain_floats_are_rounded_to_the_nearest_and_ties_to_even(value: float) -> None:
    (rounded,) = as_json(BF16, pack(BF16, [value], [1]))
    half = int(np.array([rounded], np.float32).view(np.uint32)[0]) >> 16
    neighbours = [brain(half + step) for step in (-1, 1) if 0 <= (half & 0x7FFF) + step < 0x7F80]
    distance = abs(rounded - value)
    assert all(distance <= abs(other - value) for other in neighbours)
    if any(distance == abs(other - value) for other in neighbours if other != rounded):
        assert half % 2 == 0


@pytest.mark.parametrize("datatype", INTEGERS)
def test_a_whole_number_may_be_written_with_a_point(datatype: str) -> None:
    assert pack(datatype, [1.0, 0, 100.0], [3]) == pack(datatype, [1, 0, 100], [3])
    with pytest.raises(ElementError, match="out of range"):
        pack("UINT8", [256.0], [1])


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1])
def test_a_whole_number_that_no_float_holds_is_refused_beside_a_decimal(value: int) -> None:
    with pytest.raises(ElementError):
        pack("INT64", [value, 7.0], [2])


@pytest.mark.parametrize("datatype", INTEGERS)
def test_an_integer_beyond_its_datatype_is_refused(datatype: str) -> None:
    bounds = np.iinfo(DTYPES[datatype])
    for value in (int(bounds.min) - 1, int(bounds.max) + 1, 10**30):
        with pytest.raises(ElementError, match="out of range"):
            pack(datatype, [value], [1])


@pytest.mark.parametrize("datatype", INTEGERS)
def test_an_integer_written_with_a_point_is_held_to_the_same_bounds(datatype: str) -> None:
    bounds = np.iinfo(DTYPES[datatype])
    beyond = [value for value in (int(bounds.min) - 1, int(bounds.max) + 1) if abs(value) < 2**53]
    for value in beyond:
        for values in ([float(value)], [float(value), 0], [0.0, value]):
            with pytest.raises(ElementError, match="out of range"):
                pack(datatype, values, [len(values)])
    for value in (2.0**53, -(2.0**53), 2.0**63, -(2.0**63), 2.0**64, float(bounds.max)):
        if not bounds.min <= value <= bounds.max or abs(value) >= 2**53:
            with pytest.raises(ElementError):
                pack(datatype, [value], [1])
        else:
            assert pack(datatype, [value], [1]) == pack(datatype, [int(value)], [1])


@pytest.mark.parametrize("datatype", [*INTEGERS, *FLOATS])
def test_a_whole_number_beyond_every_float_is_refused_beside_a_decimal_too(datatype: str) -> None:
    with pytest.raises(ElementError, match="out of range"):
        pack(datatype, [1.0, 10**400], [2])


@pytest.mark.parametrize(
    ("datatype", "value"), [("FP16", 1e5), (BF16, 3.4e38), ("FP32", 1e39), ("FP64", 10**400)]
)
def test_a_number_beyond_its_float_is_refused(datatype: str, value: float) -> None:
    with pytest.raises(ElementError, match="out of range"):
        pack(datatype, [value], [1])


def test_infinity_that_a_parser_made_of_a_long_exponent_is_refused() -> None:
    with pytest.raises(ElementError, match="out of range"):
        pack("FP64", jiter.from_json(b"[1e999]"), [1])


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("UINT8", [1, True]),
        ("INT32", [1.5]),
        ("INT32", [1, 1e999]),
        ("UINT64", [2.0**54]),
        ("INT64", ["7"]),
        ("FP32", ["1.5"]),
        ("FP32", [1.5, True]),
        ("FP32", [None]),
        ("BOOL", [0]),
        (BYTES, [1]),
        ("FP32", [{}]),
        ("UINT8", [[1]]),
    ],
)
def test_an_element_of_another_kind_is_refused(datatype: str, values: list[Any]) -> None:
    with pytest.raises(ElementError, match="an element is not of"):
        pack(datatype, values, [len(values)])


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ([1, 2, 3], [2, 2]),
        ([], [1]),
        ([[1, 2], [3]], [2, 2]),
        ([[1, 2, 3], [4]], [2, 2]),
        ([[1, 2], 3, 4], [2, 2]),
        ([[1, 2, 3, 4]], [2, 2]),
        ([[1], [2], [3], [4]], [2, 2]),
    ],
)
def test_data_that_is_not_shaped_so_is_refused(values: list[Any], shape: list[int]) -> None:
    with pytest.raises(ElementError):
        pack("INT32", values, shape)


@pytest.mark.parametrize("datatype", FLOATS)
def test_what_json_cannot_carry_is_refused_on_the_way_out(datatype: str) -> None:
    halves = {BF16: 0x7FC0, "FP16": 0x7E00}
    nan = (
        np.array([halves[datatype]], np.uint16).tobytes()
        if datatype in halves
        else np.array([np.nan], DTYPES[datatype]).tobytes()
    )
    with pytest.raises(ElementError, match="NaN"):
        unpack(datatype, nan)


def test_a_string_that_is_not_utf_8_has_no_json() -> None:
    with pytest.raises(ElementError, match="UTF-8"):
        unpack(BYTES, one_string(b"\xff"))


@pytest.mark.parametrize("datatype", list(SIZES))
def test_a_byte_too_many_or_too_few_is_refused(datatype: str) -> None:
    data = bytes(6 * SIZES[datatype])
    check_size(datatype, data, [2, 3])
    for wrong in (data + b"\0", data[:-1], b""):
        with pytest.raises(ElementError):
            check_size(datatype, wrong, [2, 3])
