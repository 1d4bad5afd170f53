"""Triton's generate extension: an object of plain values to a request for tensors, and outputs to plain values.

A value becomes the tensor of its name, in the shape that the model declares: fixed dimensions as they are, the
innermost open one takes what is left, the others are 1. (Triton's `extension_generate`.)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.datatypes import BYTES
from gateway.domain import Array, Buffer, ModelVersion, RawTensor, ServedModel, TensorSpec
from gateway.errors import UpstreamInvalidResponse, ValidationFailed
from gateway.schemas import validated
from gateway.translate import elements, protocol
from gateway.translate.elements import ElementError
from gateway.translate.tensors import InferRequest, load_json

_MAX_BESIDE = 64  # more than the parameters that a request may have


def parse(body: bytes, model: ServedModel) -> InferRequest:
    """`{"<input>": value or list, …, "id"?, "parameters"?}`; what names no input is a parameter of the request.

    Raises MalformedJson, BodyTooLarge, ValidationFailed.
    """
    document = load_json(body)
    if not isinstance(document, dict):
        raise ValidationFailed.of("", "The body is one JSON object.")
    specs = {spec.name: spec for spec in model.inputs}
    given = {name: value for name, value in document.items() if name in specs}
    rest = {name: value for name, value in document.items() if name not in specs}
    asked = validated(protocol.GenerateRequest, _gathered(rest), strict=True)
    return InferRequest(
        inputs=[
            _tensor(specs[name], value, batched=model.max_batch_size > 0) for name, value in given.items()
        ],
        parameters=asked.parameters.for_the_model,
        id=asked.id,
        level=asked.parameters.priority,
        timeout=asked.parameters.timeout / 1_000_000 or None,
    )


def render(request: InferRequest, target: ModelVersion, outputs: Sequence[RawTensor]) -> bytes:
    """One answer as JSON on one line: an output with one element is that element, any other a list.

    Raises UpstreamInvalidResponse for strings that are none.
    """
    answer: dict[str, object] = {"model_name": target.model, "model_version": target.version}
    if request.id:
        answer["id"] = request.id
    answer |= {tensor.name: _plain(tensor) for tensor in outputs}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _gathered(rest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Top-level values that name no input, as parameters beside those that stand in `parameters`."""
    parameters = rest.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ValidationFailed.of("/parameters", "An object.")
    loose = {name: value for name, value in rest.items() if name not in ("id", "parameters")}
    if len(loose) + len(parameters) > _MAX_BESIDE:  # looked at before each of them is
        raise ValidationFailed.of("/parameters", f"At most {_MAX_BESIDE} values beside the inputs.")
    return {"id": rest.get("id", ""), "parameters": {**loose, **parameters}}


def _tensor(spec: TensorSpec, value: object, *, batched: bool) -> RawTensor:
    values = value if isinstance(value, list) else [value]
    shape = _shape((-1, *spec.shape) if batched else spec.shape, len(values))
    try:
        data: Buffer = elements.pack(spec.datatype, values, shape)
    except ElementError as error:
        raise ValidationFailed.of(f"/{spec.name}", f"{error}.") from None
    return RawTensor(spec.name, spec.datatype, shape, data)


def _shape(declared: Sequence[int], count: int) -> tuple[int, ...]:
    fixed = math.prod(size for size in declared if size != -1)
    open_at = [place for place, size in enumerate(declared) if size == -1]
    left = max(count // fixed, 1)
    return tuple(
        size if size != -1 else (left if place == open_at[-1] else 1) for place, size in enumerate(declared)
    )


def _plain(tensor: RawTensor) -> object:
    """There is no way here to ask for bytes instead, and a token may be cut in the middle of a letter: so what is not
    UTF-8 becomes U+FFFD, and a number that is none (orjson writes it so) null.
    """
    values: Sequence[Any] | Array
    if tensor.datatype != BYTES:
        values = elements.numbers(tensor.datatype, tensor.data)
    else:
        try:
            values = [str(text, "utf-8", "replace") for text in elements.strings(tensor.data)]
        except ElementError as error:
            raise UpstreamInvalidResponse("The model's answer is not valid.", internal=str(error)) from None
    return values[0] if len(values) == 1 else values
