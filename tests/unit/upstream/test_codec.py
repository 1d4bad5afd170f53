"""Tensors to protobuf and back: nothing that the model did not declare gets through."""

from collections.abc import Callable

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from gateway.domain import ModelVersion, Tensor, TensorSpec, Variant
from gateway.errors import UpstreamInvalidResponse
from gateway.upstream.codec import infer_outputs, infer_request

TARGET = ModelVersion("m", "2", Variant.STABLE)
SPEC = TensorSpec("scores", "FP32", (3,))
Response = service_pb2.ModelInferResponse


def honest() -> Response:
    response = Response(model_name="m", model_version="2")
    response.outputs.add(name="scores", datatype="FP32", shape=[2, 3])
    response.raw_output_contents.append(np.arange(6, dtype=np.float32).tobytes())
    return response


def test_an_array_travels_as_its_own_bytes() -> None:
    data = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4)
    request = infer_request(TARGET, [Tensor("images", data)], [SPEC], "id-1")
    assert (request.model_name, request.model_version, request.id) == ("m", "2", "id-1")
    assert (request.inputs[0].name, request.inputs[0].datatype) == ("images", "UINT8")
    assert list(request.inputs[0].shape) == [1, 2, 3, 4]
    assert request.raw_input_contents[0] == data.tobytes()
    assert [output.name for output in request.outputs] == ["scores"]


def test_a_view_that_is_not_contiguous_travels_in_its_own_order() -> None:
    data = np.arange(12, dtype=np.float32).reshape(3, 4).T
    request = infer_request(TARGET, [Tensor("x", data)], [], "id")
    assert np.array_equal(np.frombuffer(request.raw_input_contents[0], np.float32).reshape(4, 3), data)


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
