"""Our tensors to Triton's protobuf messages and back; an answer that is not what the model declares stops here.

Triton can say OK and carry an empty tensor, so nothing is believed that was not checked: model, version, names,
datatypes, shapes, the number of bytes, and that every float is finite.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tritonclient.grpc import model_config_pb2, service_pb2

from gateway.datatypes import BYTES, DTYPES, SIZES
from gateway.domain import (
    Array,
    Buffer,
    InferCall,
    ModelVersion,
    Priority,
    RawTensor,
    ServedModel,
    Tensor,
    TensorSpec,
)
from gateway.errors import UpstreamInvalidResponse

_QUEUE_SHARE = 0.8  # of the time that is left may be spent in Triton's queue

_DATATYPES = {dtype: name for name, dtype in DTYPES.items()}
_PARAMETER_FIELDS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
_RAW_INPUT = bytes(
    [service_pb2.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | 2]
)  # a field with a length


def infer_request(call: InferCall) -> service_pb2.ModelInferRequest:
    """A ModelInfer request without the tensors' bytes, which `serialized` puts behind it."""
    request = service_pb2.ModelInferRequest(
        model_name=call.target.model, model_version=call.target.version, id=call.request_id
    )
    for tensor in call.inputs:
        request.inputs.add(name=tensor.name, datatype=_datatype(tensor), shape=tensor.shape)
    for wanted in call.wanted:
        output = request.outputs.add(name=wanted.name)
        if wanted.classes:
            output.parameters["classification"].int64_param = wanted.classes
    for key, value in call.parameters.items():
        setattr(request.parameters[key], _PARAMETER_FIELDS[type(value)], value)
    return request


def serialized(request: service_pb2.ModelInferRequest, inputs: Iterable[Tensor | RawTensor]) -> bytes:
    """The whole message, in which each tensor's bytes are written once.

    Protobuf's own way copies them three times: into a Python object, into the message, and out of it. Fields of a
    message may stand one behind the other, so the large ones are put behind those that protobuf has written.
    """
    parts: list[Buffer] = [request.SerializeToString()]
    for tensor in inputs:
        data = _bytes(tensor)
        parts += [_RAW_INPUT, _varint(len(data)), data]
    return b"".join(parts)


def _datatype(tensor: Tensor | RawTensor) -> str:
    return tensor.datatype if isinstance(tensor, RawTensor) else _DATATYPES[tensor.data.dtype]


def _bytes(tensor: Tensor | RawTensor) -> Buffer:
    if isinstance(tensor, RawTensor):
        return tensor.data
    return np.ascontiguousarray(tensor.data).data.cast("B")


def _varint(number: int) -> bytes:
    """Protobuf's: seven bits a byte, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def set_urgency(request: service_pb2.ModelInferRequest, priority: Priority, timeout: float) -> None:
    """Priority level and queue timeout (seconds), for models whose configuration takes them; others ignore both."""
    request.parameters["priority"].uint64_param = priority
    request.parameters["timeout"].int64_param = int(timeout * _QUEUE_SHARE * 1_000_000)


def infer_outputs(
    response: service_pb2.ModelInferResponse,
    target: ModelVersion,
    specs: Sequence[TensorSpec],
    batch: int | None,
) -> dict[str, Array]:
    """The answer's tensors by name, as read-only views on its bytes.

    `batch` is the size that the first dimension must have, or None where the model does not batch.
    Raises UpstreamInvalidResponse for whatever is not what was asked for.
    """
    found = _outputs(response, target)
    _check_names(found, [spec.name for spec in specs])
    return {spec.name: _array(spec, *found[spec.name], batch) for spec in specs}


def raw_outputs(response: service_pb2.ModelInferResponse, call: InferCall) -> list[RawTensor]:
    """The answer's tensors as bytes, in the order in which they were asked for; no value is looked at.

    Where none was asked for by name a model may leave some of its outputs out, as models do that give them on demand.
    Raises UpstreamInvalidResponse for whatever is not what was asked for.
    """
    found = _outputs(response, call.target)
    specs = {spec.name: spec for spec in call.model.outputs}
    wanted = call.wanted
    if call.outputs is None and 0 < len(found) < len(wanted):
        wanted = [output for output in wanted if output.name in found]
    _check_names(found, [output.name for output in wanted])
    batch = -1 if call.model.max_batch_size > 0 else None
    return [_raw(specs[output.name], *found[output.name], batch, output.classes) for output in wanted]


_Output = tuple[service_pb2.ModelInferResponse.InferOutputTensor, bytes]


def _outputs(response: service_pb2.ModelInferResponse, target: ModelVersion) -> Mapping[str, _Output]:
    """The outputs by name. Raises UpstreamInvalidResponse where another version answered, or one comes twice."""
    if (response.model_name, response.model_version) != (target.model, target.version):
        raise _invalid(
            f"asked {target.model}/{target.version}, {response.model_name}/{response.model_version} answered"
        )
    if len(response.outputs) != len(response.raw_output_contents):
        raise _invalid(f"{len(response.outputs)} outputs, {len(response.raw_output_contents)} buffers")
    found = {
        output.name: (output, raw)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }
    if len(found) != len(response.outputs):
        raise _invalid(f"{len(response.outputs)} outputs with {len(found)} names")
    return found


def _check_names(found: Mapping[str, _Output], wanted: Sequence[str]) -> None:
    if found.keys() != set(wanted):
        raise _invalid(f"outputs {sorted(found)} instead of {list(wanted)}")


def _array(
    spec: TensorSpec, output: service_pb2.ModelInferResponse.InferOutputTensor, raw: bytes, batch: int | None
) -> Array:
    _check_output(spec, output, raw, batch)
    dtype = DTYPES.get(spec.datatype)
    if dtype is None:
        raise _invalid(f"{spec.name}: there are no arrays of {spec.datatype}")
    array: Array = np.frombuffer(raw, dtype).reshape(tuple(output.shape))
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise _invalid(f"{spec.name}: holds values that are not finite")
    return array


def _raw(
    spec: TensorSpec,
    output: service_pb2.ModelInferResponse.InferOutputTensor,
    raw: bytes,
    batch: int | None,
    classes: int,
) -> RawTensor:
    if not classes:
        _check_output(spec, output, raw, batch)
    elif output.datatype != BYTES:
        raise _invalid(f"{spec.name}: {output.datatype} instead of classes")
    return RawTensor(spec.name, output.datatype, tuple(output.shape), raw)


def _check_output(
    spec: TensorSpec, output: service_pb2.ModelInferResponse.InferOutputTensor, raw: bytes, batch: int | None
) -> None:
    """`batch` -1 takes a batch of any size. Raises UpstreamInvalidResponse."""
    shape = tuple(output.shape)
    expected = spec.shape if batch is None else (batch, *spec.shape)
    agrees = len(shape) == len(expected) and all(
        want in (-1, have) for have, want in zip(shape, expected, strict=False)
    )
    if output.datatype != spec.datatype or not agrees:
        raise _invalid(f"{spec.name}: {output.datatype}{shape} instead of {spec.datatype}{expected}")
    size = SIZES.get(spec.datatype)
    if size is not None and math.prod(shape) * size != len(raw):
        raise _invalid(f"{spec.name}: {len(raw)} bytes for {spec.datatype}{shape}")


def served_model(config: model_config_pb2.ModelConfig, versions: Sequence[str]) -> ServedModel:
    """Triton's configuration message as our own value; `versions` in ascending order.

    Raises ValueError for a datatype that is none of the protocol's.
    """
    return ServedModel(
        name=config.name,
        versions=tuple(versions),
        max_batch_size=config.max_batch_size,
        inputs=tuple(_spec(tensor) for tensor in config.input),
        outputs=tuple(_spec(tensor) for tensor in config.output),
        parameters={key: value.string_value for key, value in config.parameters.items()},
        version_policy=version_policy(config.version_policy),
        steps=tuple(step.model_name for step in config.ensemble_scheduling.step),
        sequences=config.HasField("sequence_batching"),
        decoupled=config.model_transaction_policy.decoupled,
        instances=sum(group.count * max(1, len(group.gpus)) for group in config.instance_group) or 1,
    )


def version_policy(policy: model_config_pb2.ModelVersionPolicy) -> str:
    """ "all", "specific 1, 2", or "latest 1", which is what Triton takes where nothing is said."""
    kind = policy.WhichOneof("policy_choice")
    if kind == "specific":
        return f"specific {', '.join(map(str, policy.specific.versions))}"
    return "all" if kind == "all" else f"latest {policy.latest.num_versions or 1}"


def _spec(tensor: model_config_pb2.ModelInput | model_config_pb2.ModelOutput) -> TensorSpec:
    datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    optional = isinstance(tensor, model_config_pb2.ModelInput) and tensor.optional
    return TensorSpec(tensor.name, BYTES if datatype == "STRING" else datatype, tuple(tensor.dims), optional)


def _invalid(internal: str) -> UpstreamInvalidResponse:
    return UpstreamInvalidResponse("The model's answer is not valid.", internal=internal)
