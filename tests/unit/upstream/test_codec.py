"""Tensors to protobuf and back: nothing that the model did not declare gets through."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from gateway.domain import (
    Deadline,
    InferCall,
    ModelVersion,
    Priority,
    RawTensor,
    ServedModel,
    Tensor,
    TensorSpec,
    Variant,
    WantedOutput,
)
from gateway.errors import UpstreamInvalidResponse
from gateway.upstream.codec import infer_outputs, infer_request, raw_outputs, serialized

TARGET = ModelVersion("m", "2", Variant.STABLE)
SPEC = TensorSpec("scores", "FP32", (3,))
Request = service_pb2.ModelInferRequest
Response = service_pb2.ModelInferResponse


def honest() -> Response:
    response = Response(model_name="m", model_version="2")
    response.outputs.add(name="scores", datatype="FP32", shape=[2, 3])
    response.raw_output_contents.append(np.arange(6, dtype=np.float32).tobytes())
    return response


def call(*inputs: Tensor | RawTensor, **changes: Any) -> InferCall:
    model = ServedModel("m", ("2",), 0, (), (SPEC, TensorSpec("words", "BYTES", (1,))), {})
    return InferCall(TARGET, model, inputs, Deadline(0), Priority.STANDARD, "id-1", usual=1, **changes)


def sent(asked: InferCall) -> Request:
    """What Triton reads from the bytes that are sent."""
    return Request.FromString(serialized(infer_request(asked), asked.inputs))


def test_an_array_travels_as_its_own_bytes() -> None:
    data = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4)
    request = sent(call(Tensor("images", data)))
    assert (request.model_name, request.model_version, request.id) == ("m", "2", "id-1")
    assert (request.inputs[0].name, request.inputs[0].datatype) == ("images", "UINT8")
    assert list(request.inputs[0].shape) == [1, 2, 3, 4]
    assert request.raw_input_contents[0] == data.tobytes()
    assert [output.name for output in request.outputs] == ["scores", "words"]


def test_a_view_that_is_not_contiguous_travels_in_its_own_order() -> None:
    data = np.arange(12, dtype=np.float32).reshape(3, 4).T
    request = sent(call(Tensor("x", data)))
    assert np.array_equal(np.frombuffer(request.raw_input_contents[0], np.float32).reshape(4, 3), data)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_bytes_of_any_length_travel_as_they_are(parts: list[bytes]) -> None:
    tensors = [RawTensor(str(i), "BF16", (len(part),), memoryview(part)) for i, part in enumerate(parts)]
    request = sent(call(*tensors))
    assert list(request.raw_input_contents) == parts
    assert {tensor.datatype for tensor in request.inputs} == {"BF16"}


def test_a_tensor_is_copied_once_on_its_way_into_a_call() -> None:
    size = 8 * 1024 * 1024
    asked = call(RawTensor("x", "UINT8", (size,), memoryview(bytes(size))))
    tracemalloc.start()
    try:
        serialized(infer_request(asked), asked.inputs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size <= peak < 1.01 * size


def test_what_a_caller_asks_of_outputs_and_of_the_model_goes_along() -> None:
    parameters = {"a": True, "b": -7, "c": 0.5, "d": "text"}
    request = sent(call(outputs=[WantedOutput("scores", 3)], parameters=parameters))
    assert [output.name for output in request.outputs] == ["scores"]
    assert request.outputs[0].parameters["classification"].int64_param == 3
    found = {key: request.parameters[key] for key in parameters}
    assert (found["a"].bool_param, found["b"].int64_param) == (True, -7)
    assert (found["c"].double_param, found["d"].string_param) == (0.5, "text")


def raw(response: Response, **changes: Any) -> list[RawTensor]:
    return raw_outputs(response, call(**changes))


def with_words() -> Response:
    response = Response(model_name="m", model_version="2")
    response.outputs.add(name="words", datatype="BYTES", shape=[1])
    response.outputs.add(name="scores", datatype="FP32", shape=[3])
    response.raw_output_contents.extend([b"\x02\0\0\0hi", np.full(3, np.nan, np.float32).tobytes()])
    return response


def test_raw_outputs_come_in_the_order_asked_for_and_hold_whatever_they_hold() -> None:
    scores, words = raw(with_words())
    assert (scores.name, scores.datatype, scores.shape) == ("scores", "FP32", (3,))
    assert np.isnan(np.frombuffer(scores.data, np.float32)).all()
    assert (words.name, words.data) == ("words", b"\x02\0\0\0hi")


def test_an_output_that_was_not_asked_for_is_no_answer() -> None:
    with pytest.raises(UpstreamInvalidResponse):
        raw(with_words(), outputs=[WantedOutput("scores")])


def test_of_outputs_that_nobody_named_some_may_be_missing_but_not_all() -> None:
    response = with_words()
    del response.outputs[1], response.raw_output_contents[1]
    assert [output.name for output in raw(response)] == ["words"]
    named = [WantedOutput("scores"), WantedOutput("words")]
    with pytest.raises(UpstreamInvalidResponse):
        raw(response, outputs=named)
    with pytest.raises(UpstreamInvalidResponse):
        raw(Response(model_name="m", model_version="2"))


def test_an_output_that_comes_twice_or_that_nobody_declared_is_no_answer() -> None:
    for name in ("words", "other"):
        response = with_words()
        response.outputs[1].name = name
        with pytest.raises(UpstreamInvalidResponse):
            raw(response)


def test_classes_are_strings_of_any_shape() -> None:
    response = Response(model_name="m", model_version="2")
    response.outputs.add(name="scores", datatype="BYTES", shape=[2])
    response.raw_output_contents.append(b"\0\0\0\0\0\0\0\0")
    (found,) = raw(response, outputs=[WantedOutput("scores", 2)])
    assert (found.datatype, found.shape) == ("BYTES", (2,))
    with pytest.raises(UpstreamInvalidResponse):
        raw(response, outputs=[WantedOutput("scores")])


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [("FP64", [3], bytes(24)), ("FP32", [4], bytes(16)), ("FP32", [3], b""), ("FP32", [1, 3], bytes(12))],
)
def test_a_raw_output_that_is_not_as_declared_is_no_answer(
    datatype: str, shape: list[int], data: bytes
) -> None:
    response = Response(model_name="m", model_version="2")
    response.outputs.add(name="scores", datatype=datatype, shape=shape)
    response.raw_output_contents.append(data)
    with pytest.raises(UpstreamInvalidResponse):
        raw(response, outputs=[WantedOutput("scores")])


def test_an_honest_answer_becomes_arrays_by_name() -> None:
    outputs = infer_outputs(honest(), TARGET, [SPEC], 2)
    assert np.array_equal(outputs["scores"], np.arange(6, dtype=np.float32).reshape(2, 3))


def test_a_declared_size_of_minus_one_takes_any() -> None:
    assert infer_outputs(honest(), TARGET, [TensorSpec("scores", "FP32", (-1,))], 2)["scores"].shape == (2, 3)


def test_a_model_that_does_not_batch_declares_its_whole_shape() -> None:
    assert infer_outputs(honest(), TARGET, [TensorSpec("scores", "FP32", (2, 3))], None)["scores"].shape == (
        2,
        3,
    )


def other_model(response: Response) -> None:
    response.model_name = "n"


def other_version(response: Response) -> None:
    response.model_version = "1"


def other_name(response: Response) -> None:
    response.outputs[0].name = "logits"


def extra_output(response: Response) -> None:
    response.outputs.add(name="more", datatype="FP32", shape=[1])
    response.raw_output_contents.append(b"\0\0\0\0")


def same_output_twice(response: Response) -> None:
    response.outputs.append(response.outputs[0])
    response.raw_output_contents.append(response.raw_output_contents[0])


def no_output(response: Response) -> None:
    del response.outputs[:]
    del response.raw_output_contents[:]


def empty_tensor(response: Response) -> None:
    response.raw_output_contents[0] = b""


def buffer_missing(response: Response) -> None:
    del response.raw_output_contents[:]


def too_few_bytes(response: Response) -> None:
    response.raw_output_contents[0] = response.raw_output_contents[0][:-1]


def other_datatype(response: Response) -> None:
    response.outputs[0].datatype = "INT32"


def other_shape(response: Response) -> None:
    response.outputs[0].shape[:] = [3, 2]


def other_rank(response: Response) -> None:
    response.outputs[0].shape[:] = [6]


def negative_shape(response: Response) -> None:
    response.outputs[0].shape[:] = [2, -3]


def not_a_number(response: Response) -> None:
    response.raw_output_contents[0] = np.array([1, 2, np.nan, 4, 5, 6], np.float32).tobytes()


def infinite(response: Response) -> None:
    response.raw_output_contents[0] = np.array([1, 2, np.inf, 4, 5, 6], np.float32).tobytes()


LIES = [
    other_model,
    other_version,
    other_name,
    extra_output,
    same_output_twice,
    no_output,
    empty_tensor,
    buffer_missing,
    too_few_bytes,
    other_datatype,
    other_shape,
    other_rank,
    negative_shape,
    not_a_number,
    infinite,
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__.replace("_", " "))
def test_an_answer_that_says_ok_and_is_not_is_refused(lie: Callable[[Response], None]) -> None:
    response = honest()
    lie(response)
    with pytest.raises(UpstreamInvalidResponse):
        infer_outputs(response, TARGET, [SPEC], 2)
