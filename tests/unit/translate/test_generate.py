"""Plain values to tensors and back, as the generate extension has it."""

import json

import numpy as np
import pytest

from gateway.domain import ModelVersion, RawTensor, ServedModel, TensorSpec, Variant
from gateway.errors import BodyTooLarge, MalformedJson, UpstreamInvalidResponse, ValidationFailed
from gateway.translate.generate import parse, render


def model(*inputs: TensorSpec, max_batch_size: int = 0) -> ServedModel:
    return ServedModel("m", ("1",), max_batch_size, inputs, (TensorSpec("out", "FP32", (-1,)),), {})


@pytest.mark.parametrize(
    ("shape", "batch", "value", "expected"),
    [
        pytest.param((1,), 0, "7", (1,), id="one value for one element"),
        pytest.param((-1,), 0, "[1, 2, 3]", (3,), id="an open dimension takes the length of the list"),
        pytest.param((1,), 4, "7", (1, 1), id="a batch of one"),
        pytest.param((2, -1), 0, "[1, 2, 3, 4, 5, 6]", (2, 3), id="what fixed dimensions leave"),
        pytest.param((-1, -1), 0, "[1, 2]", (1, 2), id="the innermost open dimension"),
    ],
)
def test_a_value_takes_the_shape_that_the_model_declares(
    shape: tuple[int, ...], batch: int, value: str, expected: tuple[int, ...]
) -> None:
    asked = parse(f'{{"n": {value}}}'.encode(), model(TensorSpec("n", "INT32", shape), max_batch_size=batch))
    (tensor,) = asked.inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("n", "INT32", expected)


def test_what_names_no_input_is_a_parameter() -> None:
    body = b'{"n": 1, "temperature": 0.5, "id": "x", "parameters": {"best_of": 3, "priority": 2, "timeout": 2000000}}'
    asked = parse(body, model(TensorSpec("n", "INT32", (1,))))
    assert asked.parameters == {"temperature": 0.5, "best_of": 3}
    assert (asked.id, asked.level, asked.timeout) == ("x", 2, 2.0)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"n": [1, 2]}', id="too many elements"),
        pytest.param(b'{"n": "one"}', id="a text for a number"),
        pytest.param(b'{"n": 1, "parameters": []}', id="parameters that are a list"),
        pytest.param(b'{"n": 1, "headers": "x"}', id="a parameter of Triton's own"),
        pytest.param(b"7", id="no object"),
    ],
)
def test_what_does_not_fit_is_refused(body: bytes) -> None:
    with pytest.raises(ValidationFailed):
        parse(body, model(TensorSpec("n", "INT32", (1,))))


def test_of_thousands_of_parameters_none_is_looked_at() -> None:
    loose = {f"p{number}": 0 for number in range(40)}
    within = {f"q{number}": {} for number in range(40)}
    with pytest.raises(ValidationFailed) as refused:
        parse(json.dumps({**loose, "parameters": within}).encode(), model(TensorSpec("n", "INT32", (1,))))
    assert [error.detail for error in refused.value.errors] == ["At most 64 values beside the inputs."]


def test_of_millions_of_values_none_is_read() -> None:
    with pytest.raises(BodyTooLarge, match="infer"):
        parse(b'{"n": [' + b"1," * 1_000_001, model(TensorSpec("n", "INT32", (-1,))))


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(MalformedJson):
        parse(b'{"n": ', model(TensorSpec("n", "INT32", (1,))))


def test_one_element_is_a_value_and_several_are_a_list() -> None:
    target = ModelVersion("m", "1", Variant.STABLE)
    asked = parse(b'{"n": 1}', model(TensorSpec("n", "INT32", (1,))))
    outputs = [
        RawTensor("one", "INT32", (1,), (5).to_bytes(4, "little")),
        RawTensor("two", "UINT8", (2,), b"\x01\x02"),
        RawTensor("word", "BYTES", (1,), b"\x02\x00\x00\x00hi"),
    ]
    assert json.loads(render(asked, target, outputs)) == {
        "model_name": "m",
        "model_version": "1",
        "one": 5,
        "two": [1, 2],
        "word": "hi",
    }


def test_what_json_cannot_carry_does_not_end_a_stream() -> None:
    target = ModelVersion("m", "1", Variant.STABLE)
    asked = parse(b'{"n": 1}', model(TensorSpec("n", "INT32", (1,))))
    outputs = [
        RawTensor("logprob", "FP32", (1,), np.float32("-inf").tobytes()),
        RawTensor("some", "FP16", (2,), np.array([1, np.nan], np.float16).tobytes()),
        RawTensor("token", "BYTES", (1,), b"\x02\x00\x00\x00\xe2\x82"),
    ]
    answer = json.loads(render(asked, target, outputs))
    assert (answer["logprob"], answer["some"], answer["token"]) == (None, [1.0, None], "\ufffd")


def test_strings_without_a_length_are_no_answer() -> None:
    target = ModelVersion("m", "1", Variant.STABLE)
    asked = parse(b'{"n": 1}', model(TensorSpec("n", "INT32", (1,))))
    with pytest.raises(UpstreamInvalidResponse):
        render(asked, target, [RawTensor("token", "BYTES", (1,), b"\x09\x00\x00\x00hi")])
