"""Requests and answers of the Open Inference Protocol: both forms, what is refused, and how often bytes are copied."""

import json
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from gateway.domain import ModelVersion, RawTensor, Variant, WantedOutput
from gateway.errors import BodyTooLarge, GatewayError, MalformedJson, ValidationFailed
from gateway.translate.tensors import InferRequest, parse, render

TARGET = ModelVersion("m", "2", Variant.STABLE)


def request(**changes: Any) -> dict[str, Any]:
    one = {"name": "x", "datatype": "FP32", "shape": [2], "data": [0.5, 1]}
    return {"inputs": [one], **changes}


def text(document: object) -> bytes:
    return json.dumps(document).encode()


def binary(sizes: list[int], behind: bytes, **changes: Any) -> tuple[bytes, int]:
    inputs = [
        {"name": f"x{i}", "datatype": "UINT8", "shape": [size], "parameters": {"binary_data_size": size}}
        for i, size in enumerate(sizes)
    ]
    header = text({"inputs": inputs, **changes})
    return header + behind, len(header)


def test_json_becomes_a_tensor_of_bytes() -> None:
    found = parse(text(request()), None)
    assert found == InferRequest([RawTensor("x", "FP32", (2,), np.array([0.5, 1], np.float32).tobytes())])


def test_a_header_that_is_the_whole_body_is_json_too() -> None:
    body = text(request())
    assert parse(body, len(body)) == parse(body, None)


def test_several_binary_inputs_lie_behind_the_json_in_their_order() -> None:
    found = parse(*binary([2, 3], b"abcde"))
    assert [bytes(tensor.data) for tensor in found.inputs] == [b"ab", b"cde"]


def test_both_forms_mix_in_one_request() -> None:
    header = text(
        {
            "inputs": [
                {"name": "a", "datatype": "BOOL", "shape": [1], "data": [True]},
                {"name": "b", "datatype": "INT16", "shape": [1], "parameters": {"binary_data_size": 2}},
            ]
        }
    )
    found = parse(header + b"\x02\x01", len(header))
    assert [bytes(tensor.data) for tensor in found.inputs] == [b"\x01", b"\x02\x01"]


def test_what_is_asked_beside_the_tensors() -> None:
    found = parse(
        text(
            request(
                id="42",
                model_name="ignored",
                parameters={"priority": 1, "timeout": 1_500_000, "binary_data_output": True, "mine": 7},
                outputs=[
                    {"name": "y", "parameters": {"binary_data": False}},
                    {"name": "z", "parameters": {"classification": 3}},
                ],
            )
        ),
        None,
    )
    assert (found.id, found.level, found.timeout) == ("42", 1, 1.5)
    assert found.outputs == [WantedOutput("y"), WantedOutput("z", 3)]
    assert (found.binary, found.binary_of) == (True, {"y": False})
    assert found.parameters == {"mine": 7}


def test_a_tensor_whose_parameters_are_null_has_none() -> None:
    plain, null = request(outputs=[{"name": "y"}]), request(outputs=[{"name": "y", "parameters": None}])
    null["inputs"] = [{**each, "parameters": None} for each in null["inputs"]]
    assert parse(text(null), None) == parse(text(plain), None)


def test_parameters_keep_their_kinds() -> None:
    given = {"a": True, "b": 1, "c": 1.5, "d": "text"}
    found = parse(text(request(parameters=given)), None).parameters
    assert {key: type(value) for key, value in found.items()} == {"a": bool, "b": int, "c": float, "d": str}


REFUSED: dict[str, dict[str, Any]] = {
    "no list of inputs": {},
    "a sequence": request(parameters={"sequence_id": 7}),
    "a parameter of Triton's own": request(parameters={"triton_enable_empty_final_response": True}),
    "headers of another server": request(parameters={"headers": "x"}),
    "a parameter of more than 64 bits": request(parameters={"mine": 2**63}),
    "a parameter of more than 64 bits, below 0": request(parameters={"mine": -(2**63) - 1}),
    "a parameter that is an object": request(parameters={"mine": {}}),
    "more parameters than anybody needs": request(parameters={str(i): i for i in range(33)}),
    "a long parameter": request(parameters={"mine": "x" * 5000}),
    "shared memory in": request(
        inputs=[{"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"shared_memory_region": "r"}}]
    ),
    "shared memory out": request(outputs=[{"name": "y", "parameters": {"shared_memory_region": "r"}}]),
    "a negative priority": request(parameters={"priority": -1}),
    "a priority that is text": request(parameters={"priority": "1"}),
    "an id that is a number": request(id=42),
    "a datatype that nobody knows": request(
        inputs=[{"name": "x", "datatype": "FP31", "shape": [1], "data": [1]}]
    ),
    "a shape with nothing": request(inputs=[{"name": "x", "datatype": "FP32", "shape": [0], "data": []}]),
    "a shape with an open side": request(
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1], "data": [1]}]
    ),
    "a shape as text": request(inputs=[{"name": "x", "datatype": "FP32", "shape": "1", "data": [1]}]),
    "no data": request(inputs=[{"name": "x", "datatype": "FP32", "shape": [1]}]),
    "data that is text": request(inputs=[{"name": "x", "datatype": "BYTES", "shape": [1], "data": "text"}]),
    "data that is not the datatype's": request(
        inputs=[{"name": "x", "datatype": "FP32", "shape": [1], "data": ["1"]}]
    ),
    "classes below none": request(outputs=[{"name": "y", "parameters": {"classification": -1}}]),
}


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse(text(document), None)
    assert all(field.detail for field in caught.value.errors)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", MalformedJson),
        (b"{", MalformedJson),
        (b'{"inputs": NaN}', MalformedJson),
        (b'{"inputs": [], "inputs": []}', MalformedJson),
        (b'{"id": "\xff"}', MalformedJson),
        (b"[" * 5000, MalformedJson),
        (b"[" * 200_000, BodyTooLarge),
        (b"{" + b",".join(b'"k%d":1' % key for key in range(60_000)) + b"}", BodyTooLarge),
        (
            b'{"inputs":[],"parameters":{' + b",".join(b'"k%d" :1' % key for key in range(60_000)) + b"}}",
            BodyTooLarge,
        ),
        (b'{"inputs":[{}' + b',{"a":1}' * 60_000 + b"]}", BodyTooLarge),
        (b'{"inputs":[],"parameters":{"a":[' + b"1," * 600_000 + b"1]}}", BodyTooLarge),
        (b'{"inputs":[{"data":["",' + b"1," * 600_000 + b"1]}]}", BodyTooLarge),
        (b"[]", ValidationFailed),
        (b"7", ValidationFailed),
    ],
)
def test_what_is_no_request_at_all(body: bytes, kind: type[GatewayError]) -> None:
    with pytest.raises(kind):
        parse(body, None)


LARGE: dict[str, tuple[str, list[int], list[Any]]] = {
    "a million numbers": ("FP32", [1_000_000], [0.5] * 1_000_000),
    "a picture of 224 by 224 pixels, channels last": ("UINT8", [224, 224, 3], [[[1, 2, 3]] * 224] * 224),
    "forty thousand addresses": ("BYTES", [40_000], ["https://example.com/a,b"] * 40_000),
    "forty thousand lines of a log": ("BYTES", [40_000], ["12:30:59 ready"] * 40_000),
    "a long text of dialogue": ("BYTES", [1], ["she: yes " * 100_000]),
}


@pytest.mark.parametrize(("datatype", "shape", "data"), LARGE.values(), ids=LARGE)
def test_large_tensors_of_honest_callers_are_read(datatype: str, shape: list[int], data: list[Any]) -> None:
    one = {"name": "x", "datatype": datatype, "shape": shape, "data": data}
    (found,) = parse(text({"inputs": [one]}), None).inputs
    assert found.shape == tuple(shape)


def test_a_key_that_stands_twice_is_not_repeated_to_the_caller() -> None:
    with pytest.raises(MalformedJson, match=r"duplicate key at line 1 column \d+\.$"):
        parse(b'{"<script>": 1, "<script>": 2}', None)


@pytest.mark.parametrize("behind", [b"abcd", b"abcdef", b""])
def test_bytes_behind_the_json_are_exactly_those_of_the_inputs(behind: bytes) -> None:
    with pytest.raises(ValidationFailed):
        parse(*binary([2, 3], behind))


def strings(*counts: int, empty: int) -> tuple[bytes, int]:
    """Inputs whose shapes say so many strings, and `empty` ones in the bytes of each."""
    inputs = [
        {
            "name": f"x{i}",
            "datatype": "BYTES",
            "shape": [count],
            "parameters": {"binary_data_size": 4 * empty},
        }
        for i, count in enumerate(counts)
    ]
    header = text({"inputs": inputs})
    return header + bytes(4 * empty * len(counts)), len(header)


def test_strings_as_bytes_may_be_many() -> None:
    (found,) = parse(*strings(400_000, empty=400_000)).inputs
    assert found.shape == (400_000,)


def test_millions_of_strings_are_refused_before_one_is_looked_at() -> None:
    for counts in ((8_000_000,), (300_000, 300_000)):
        body = strings(*counts, empty=100)
        with pytest.raises(BodyTooLarge, match="500000 strings"):
            parse(*body)


def test_of_more_strings_than_the_shape_says_none_is_looked_at() -> None:
    body = strings(1, empty=2_000_000)
    began = time.process_time()
    with pytest.raises(ValidationFailed):
        parse(*body)
    assert time.process_time() - began < 0.1  # a walk through all of them takes five times as long, or more


def test_a_header_longer_than_the_body_is_refused() -> None:
    body = text(request())
    with pytest.raises(ValidationFailed, match="shorter"):
        parse(body, len(body) + 1)


def test_binary_data_and_json_data_exclude_each_other() -> None:
    header = text(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "UINT8",
                    "shape": [1],
                    "data": [1],
                    "parameters": {"binary_data_size": 1},
                }
            ]
        }
    )
    with pytest.raises(ValidationFailed):
        parse(header + b"a", len(header))


FLOATS = RawTensor("y", "FP32", (1, 2), np.array([0.1, 2], np.float32).tobytes())
STRINGS = RawTensor("z", "BYTES", (1,), b"\x02\0\0\0hi")


def test_an_answer_in_json() -> None:
    answer = render(InferRequest([], id="7"), TARGET, [FLOATS, STRINGS])
    assert json.loads(answer.header) == {
        "id": "7",
        "model_name": "m",
        "model_version": "2",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 2.0]},
            {"name": "z", "datatype": "BYTES", "shape": [1], "data": ["hi"]},
        ],
    }
    assert answer.tensors == []


def test_an_answer_in_bytes_with_one_output_in_json() -> None:
    answer = render(InferRequest([], binary=True, binary_of={"z": False}), TARGET, [FLOATS, STRINGS])
    first, second = json.loads(answer.header)["outputs"]
    assert (first["parameters"], "data" in first) == ({"binary_data_size": 8}, False)
    assert second["data"] == ["hi"]
    assert answer.tensors == [FLOATS.data]
    assert "id" not in json.loads(answer.header)


def test_an_output_that_json_cannot_carry_says_how_it_can_be_had() -> None:
    nan = RawTensor("y", "FP32", (1,), np.array([np.nan], np.float32).tobytes())
    with pytest.raises(ValidationFailed) as caught:
        render(InferRequest([]), TARGET, [nan])
    assert "binary_data" in caught.value.errors[0].detail
    assert render(InferRequest([], binary=True), TARGET, [nan]).tensors == [nan.data]


def test_an_output_too_large_for_json_is_refused() -> None:
    large = RawTensor("y", "UINT8", (2_000_001,), bytes(2_000_001))
    with pytest.raises(ValidationFailed):
        render(InferRequest([]), TARGET, [large])


def test_bytes_are_not_copied_on_the_way_through() -> None:
    size = 8 * 1024 * 1024
    body, length = binary([size // 2, size // 2], bytes(size))
    tracemalloc.start()
    try:
        found = parse(body, length)
        answer = render(InferRequest([], binary=True), TARGET, found.inputs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 100
    assert all(isinstance(part, memoryview) and part.obj is body for part in answer.tensors)
