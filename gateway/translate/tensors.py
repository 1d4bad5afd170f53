"""The Open Inference Protocol to our tensors and back: JSON, and Triton's binary tensor extension.

Tensors that come as bytes stay the bytes that they are, as views on the body: nothing here copies them or makes
Python numbers of them, on the way in or out. Those that come as JSON become arrays in one step.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

import orjson

from gateway import strict_json
from gateway.datatypes import BYTES, SIZES
from gateway.domain import Buffer, ModelVersion, Parameter, RawTensor, WantedOutput
from gateway.errors import BodyTooLarge, MalformedJson, ValidationFailed
from gateway.schemas import validated
from gateway.translate import elements, protocol, typed_json
from gateway.translate.elements import ElementError
from gateway.value import value

# In one request. Each value, list, object and key of its JSON becomes an object while no other thread gets on; small
# lists take many times their text in memory, and a key takes as long as twenty numbers. Strings are values in any form.
_MAX_VALUES, _MAX_CONTAINERS, _MAX_KEYS = 500_000, 100_000, 50_000
_MAX_JSON_ELEMENTS = 2_000_000  # of one output


@value
class InferRequest:
    """What a caller asks of a model, however it was written down.

    `outputs` None asks for all; `binary` says how outputs travel that are not in `binary_of`. `level` is Triton's
    priority level, 0 for none; `timeout` is in seconds, None for none.
    """

    inputs: Sequence[RawTensor]
    outputs: Sequence[WantedOutput] | None = None
    binary: bool = False
    binary_of: Mapping[str, bool] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    id: str = ""
    level: int = 0
    timeout: float | None = None

    @property
    def comparable(self) -> bool:
        """Whether two answers to it can be compared: best classes as Triton's strings have scores in them."""
        return not any(output.classes for output in self.outputs or ())


@value
class InferAnswer:
    """The body of an answer in its parts: JSON, and behind it the tensors that go as bytes."""

    header: bytes
    tensors: Sequence[Buffer]


def read_json(text: bytes) -> object:
    """A request's document; raises what `load_json` does."""
    return typed_json.load(text, load_json) or load_json(text)


def parse(
    body: bytes, header_length: int | None, *, read: Callable[[bytes], object] = read_json
) -> InferRequest:
    """A request whose JSON is the first `header_length` bytes, or (None) the whole body.

    Raises MalformedJson, BodyTooLarge, ValidationFailed.
    """
    if header_length is not None and header_length > len(body):
        raise ValidationFailed.of("Inference-Header-Content-Length", "The body is shorter than this.")
    header = body if header_length is None else body[:header_length]
    asked = validated(protocol.InferenceRequest, read(header), strict=True)
    parameters = asked.parameters
    outputs = asked.outputs or None  # an empty list asks for all, as it does of Triton
    return InferRequest(
        inputs=_inputs(asked.inputs, memoryview(body)[len(header) :]),
        outputs=None if outputs is None else [_wanted(output) for output in outputs],
        binary=parameters.binary_data_output,
        binary_of={
            output.name: output.parameters.binary_data
            for output in outputs or ()
            if output.parameters.binary_data is not None
        },
        parameters=parameters.for_the_model,
        id=asked.id,
        level=parameters.priority,
        timeout=parameters.timeout / 1_000_000 or None,
    )


def render(request: InferRequest, target: ModelVersion, outputs: Sequence[RawTensor]) -> InferAnswer:
    """The answer in the form that the request asks for.

    Raises ValidationFailed for an output that JSON cannot carry, or not in reasonable time.
    """
    described: list[dict[str, object]] = []
    behind: list[Buffer] = []
    for tensor in outputs:
        about: dict[str, object] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if request.binary_of.get(tensor.name, request.binary):
            about["parameters"] = {"binary_data_size": len(tensor.data)}
            behind.append(tensor.data)
        else:
            about["data"] = _as_json(tensor)
        described.append(about)
    answer = {"model_name": target.model, "model_version": target.version, "outputs": described}
    named = {"id": request.id, **answer} if request.id else answer
    return InferAnswer(orjson.dumps(named, option=orjson.OPT_SERIALIZE_NUMPY), behind)


def load_json(text: bytes) -> object:
    """Strict JSON, and not too much of it. Raises MalformedJson, BodyTooLarge."""
    _check_count(text)
    try:
        return strict_json.load(text)
    except ValueError as error:
        raise MalformedJson(f"The request is not valid JSON: {error}.") from None


def _check_count(text: bytes) -> None:
    """Raises BodyTooLarge. What parts values and begins lists counts in strings too; a key has a colon, and a comma or
    a brace as well, so that neither texts full of times nor long lists pass for keys.
    """
    commas, lists, objects, colons = map(text.count, (b",", b"[", b"{", b":"))
    if (
        commas > _MAX_VALUES
        or max(lists, objects) > _MAX_CONTAINERS
        or min(colons, commas + objects) > _MAX_KEYS
    ):
        raise BodyTooLarge(
            f"The JSON of a request has at most {_MAX_VALUES} values, {_MAX_CONTAINERS} lists, as many objects and "
            f"{_MAX_KEYS} keys: send large tensors to infer, as binary data."
        )


def _inputs(inputs: Sequence[protocol.TensorInput], behind: memoryview) -> list[RawTensor]:
    """The inputs, those in binary from the bytes behind the JSON, in order. Raises ValidationFailed, BodyTooLarge."""
    if sum(math.prod(item.shape) for item in inputs if item.datatype == BYTES) > _MAX_VALUES:
        raise BodyTooLarge(f"A request has at most {_MAX_VALUES} strings.")  # they are walked one by one
    tensors, at = [], 0
    for index, item in enumerate(inputs):
        size = item.parameters.binary_data_size or 0
        try:
            data = _data(item, behind[at : at + size])
        except ElementError as error:
            raise ValidationFailed.of(f"/inputs/{index}", f"{error}.") from None
        tensors.append(RawTensor(item.name, item.datatype, tuple(item.shape), data))
        at += size
    if at != len(behind):
        raise ValidationFailed.of("", f"{len(behind)} bytes behind the JSON, where the inputs have {at}.")
    return tensors


def _data(item: protocol.TensorInput, piece: memoryview) -> Buffer:
    """The input's bytes: `piece`, or what its JSON comes to. Raises ElementError."""
    if item.datatype not in SIZES and item.datatype != BYTES:
        raise ElementError("there is no datatype of this name")
    if (item.parameters.binary_data_size is None) == (item.data is None):
        raise ElementError("an input has either data or binary_data_size")
    if item.data is not None:
        return elements.pack(item.datatype, item.data, item.shape)
    elements.check_size(item.datatype, piece, item.shape)
    return piece


def _wanted(output: protocol.TensorOutput) -> WantedOutput:
    return WantedOutput(output.name, output.parameters.classification)


def _as_json(tensor: RawTensor) -> object:
    if len(tensor.data) > _MAX_JSON_ELEMENTS * SIZES.get(tensor.datatype, 4):
        raise ValidationFailed.of(
            f"/outputs/{tensor.name}", "Too large for JSON: ask for it with binary_data."
        )
    try:
        return elements.unpack(tensor.datatype, tensor.data)
    except ElementError as error:
        raise ValidationFailed.of(
            f"/outputs/{tensor.name}", f"{error}: ask for it with binary_data."
        ) from None
