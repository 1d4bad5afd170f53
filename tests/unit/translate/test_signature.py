"""Requests against a model's declaration: what fits, and a sentence for everything that does not."""

from typing import Any

import pytest

from gateway.domain import RawTensor, ServedModel, TensorSpec, WantedOutput
from gateway.errors import ValidationFailed
from gateway.translate.signature import check, from_bytes, rows
from gateway.translate.tensors import InferRequest


def model(*inputs: TensorSpec, batch: int = 4) -> ServedModel:
    outputs = (TensorSpec("y", "FP32", (3,)), TensorSpec("text", "BYTES", (1,)))
    return ServedModel("m", ("1",), batch, inputs or (TensorSpec("x", "INT16", (2,)),), outputs, {})


def tensor(name: str = "x", datatype: str = "INT16", shape: tuple[int, ...] = (1, 2)) -> RawTensor:
    return RawTensor(name, datatype, shape, b"")


def request(*inputs: RawTensor, **changes: Any) -> InferRequest:
    return InferRequest(list(inputs) or [tensor()], **changes)


TWO = model(TensorSpec("x", "INT16", (2,)), TensorSpec("m", "BOOL", (-1,)))
OPTIONAL = model(TensorSpec("x", "INT16", (2,)), TensorSpec("m", "BOOL", (-1,), optional=True))


@pytest.mark.parametrize(
    ("asked", "against", "brings"),
    [
        (request(), model(), 1),
        (request(tensor(shape=(4, 2))), model(), 4),
        (request(tensor(shape=(2,))), model(batch=0), 1),
        (request(outputs=[WantedOutput("text"), WantedOutput("y", 2)]), model(), 1),
        (request(tensor(shape=(3, 2)), tensor("m", "BOOL", (3, 9))), TWO, 3),
        (request(), OPTIONAL, 1),
    ],
)
def test_what_fits(asked: InferRequest, against: ServedModel, brings: int) -> None:
    check(asked, against)
    assert rows(asked, against) == brings


@pytest.mark.parametrize(
    ("asked", "against", "pointer"),
    [
        (request(tensor("z")), model(), "/inputs/0/name"),
        (request(tensor(), tensor()), model(), "/inputs/1/name"),
        (request(), TWO, "/inputs"),
        (request(tensor(datatype="UINT16")), model(), "/inputs/0/datatype"),
        (request(tensor(shape=(1, 3))), model(), "/inputs/0/shape"),
        (request(tensor(shape=(2,))), model(), "/inputs/0/shape"),
        (request(tensor(shape=())), model(), "/inputs/0/shape"),
        (request(tensor(shape=(1, 1, 2))), model(), "/inputs/0/shape"),
        (request(tensor(shape=(5, 2))), model(), "/inputs/0/shape"),
        (request(tensor(shape=(1, 2))), model(batch=0), "/inputs/0/shape"),
        (request(tensor(shape=(3, 2)), tensor("m", "BOOL", (2, 9))), TWO, "/inputs"),
        (request(outputs=[WantedOutput("nothing")]), model(), "/outputs/0/name"),
        (request(outputs=[WantedOutput("y"), WantedOutput("y")]), model(), "/outputs/1/name"),
        (request(outputs=[WantedOutput("text", 2)]), model(), "/outputs/0"),
    ],
)
def test_what_does_not_fit(asked: InferRequest, against: ServedModel, pointer: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        check(asked, against)
    assert [field.pointer for field in caught.value.errors] == [pointer]


@pytest.mark.parametrize(
    ("spec", "batch", "size", "shape"),
    [
        (TensorSpec("x", "INT16", (2,)), 4, 12, (3, 2)),
        (TensorSpec("x", "INT16", (2, 3)), 0, 12, (2, 3)),
        (TensorSpec("x", "FP32", (3, -1)), 0, 24, (3, 2)),
        (TensorSpec("x", "BF16", (1,)), 8, 2, (1, 1)),
    ],
)
def test_the_shape_of_a_raw_body_follows_from_its_length(
    spec: TensorSpec, batch: int, size: int, shape: tuple[int, ...]
) -> None:
    asked = from_bytes(bytes(size), model(spec, batch=batch))
    assert (asked.inputs[0].shape, asked.binary) == (shape, True)
    check(asked, model(spec, batch=batch))


def test_a_raw_body_is_one_string_where_the_model_takes_strings() -> None:
    (found,) = from_bytes(b"hello", model(TensorSpec("x", "BYTES", (1,)))).inputs
    assert (found.shape, found.data) == ((1, 1), b"\x05\0\0\0hello")


@pytest.mark.parametrize(
    ("against", "size"),
    [
        (TWO, 4),
        (model(), 0),
        (model(), 3),
        (model(), 6),
        (model(batch=0), 8),
        (model(TensorSpec("x", "INT16", (-1,))), 8),
        (model(TensorSpec("x", "BYTES", (2,))), 8),
    ],
)
def test_a_raw_body_that_leaves_the_shape_open_is_refused(against: ServedModel, size: int) -> None:
    with pytest.raises(ValidationFailed):
        from_bytes(bytes(size), against)
