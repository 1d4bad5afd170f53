"""Does a request fit the model's declaration? Asked before Triton is called, which answers some misfits with 500."""

import math
from collections.abc import Sequence

from gateway.datatypes import BYTES, SIZES
from gateway.domain import Buffer, RawTensor, ServedModel, TensorSpec, WantedOutput
from gateway.errors import ValidationFailed
from gateway.translate import elements
from gateway.translate.elements import ElementError
from gateway.translate.tensors import InferRequest


def check(request: InferRequest, model: ServedModel) -> None:
    """Raises ValidationFailed where names, datatypes or shapes are not the model's."""
    specs = {spec.name: spec for spec in model.inputs}
    _check_names("inputs", [tensor.name for tensor in request.inputs], list(specs))
    given = {tensor.name for tensor in request.inputs}
    if missing := [spec.name for spec in model.inputs if spec.name not in given and not spec.optional]:
        raise ValidationFailed.of("/inputs", f"The model also needs {', '.join(missing)}.")
    for index, tensor in enumerate(request.inputs):
        _check_tensor(f"/inputs/{index}", tensor, specs[tensor.name], model.max_batch_size)
    if model.max_batch_size and len({tensor.shape[0] for tensor in request.inputs}) > 1:
        raise ValidationFailed.of("/inputs", "The inputs have different batch sizes.")
    _check_outputs(request.outputs or (), model)


def rows(request: InferRequest, model: ServedModel) -> int:
    """How many items a request that fits brings at once."""
    return request.inputs[0].shape[0] if model.max_batch_size and request.inputs else 1


def megapixels(request: InferRequest) -> float:
    """How large the inputs are, as images: three elements are a pixel, of strings three bytes."""
    sizes = (len(tensor.data) / SIZES.get(tensor.datatype, 1) for tensor in request.inputs)
    return sum(sizes) / 3_000_000


def from_bytes(body: bytes, model: ServedModel) -> InferRequest:
    """The raw form: the body is the only input of a model, and all outputs go back as bytes.

    The shape follows from the number of bytes, so at most one dimension may be open. Raises ValidationFailed.
    """
    if len(model.inputs) != 1:
        raise ValidationFailed.of("", "A body without JSON is for models with one input.")
    (spec,) = model.inputs
    shape = [-1, *spec.shape] if model.max_batch_size else list(spec.shape)
    try:
        data: Buffer = elements.one_string(body) if spec.datatype == BYTES else memoryview(body)
        filled = _filled(shape, 1 if spec.datatype == BYTES else len(body) / SIZES[spec.datatype])
        elements.check_size(spec.datatype, data, filled)
    except ElementError as error:
        raise ValidationFailed.of("", f"As {spec.datatype}{shape} the body does not fit: {error}.") from None
    return InferRequest([RawTensor(spec.name, spec.datatype, filled, data)], binary=True)


def _filled(shape: Sequence[int], count: float) -> tuple[int, ...]:
    """The shape with its open dimension such that there are `count` elements. Raises ElementError."""
    if shape.count(-1) > 1 and count != 1:
        raise ElementError("more than one dimension is open")
    others = math.prod(size for size in shape if size != -1)
    return tuple(max(int(count // others), 1) if size == -1 else size for size in shape)


def _check_names(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for index, name in enumerate(names):
        if name not in known:
            raise ValidationFailed.of(
                f"/{kind}/{index}/name", f"The model has no such tensor; its {kind} are {', '.join(known)}."
            )
        if name in names[:index]:
            raise ValidationFailed.of(f"/{kind}/{index}/name", "This tensor stands here twice.")


def _check_tensor(where: str, tensor: RawTensor, spec: TensorSpec, max_batch_size: int) -> None:
    if tensor.datatype != spec.datatype:
        raise ValidationFailed.of(f"{where}/datatype", f"The model takes {spec.datatype} here.")
    expected = (-1, *spec.shape) if max_batch_size else spec.shape
    if len(tensor.shape) != len(expected) or any(
        want not in (-1, have) for have, want in zip(tensor.shape, expected, strict=True)
    ):
        raise ValidationFailed.of(f"{where}/shape", f"The model takes {list(expected)} here.")
    if max_batch_size and tensor.shape[0] > max_batch_size:
        raise ValidationFailed.of(f"{where}/shape", f"The model takes at most {max_batch_size} at once.")


def _check_outputs(outputs: Sequence[WantedOutput], model: ServedModel) -> None:
    specs = {spec.name: spec for spec in model.outputs}
    _check_names("outputs", [output.name for output in outputs], list(specs))
    for index, output in enumerate(outputs):
        if output.classes and specs[output.name].datatype == BYTES:
            raise ValidationFailed.of(f"/outputs/{index}", "Strings have no best classes.")
