"""Our tensors to Triton's protobuf messages and back; an answer that is not what the model declares stops here.

Triton can say OK and carry an empty tensor, so nothing is believed that was not checked: model, version, names,
datatypes, shapes, the number of bytes, and that every float is finite.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tritonclient.grpc import model_config_pb2, service_pb2

from gateway.domain import Array, ModelVersion, Priority, ServedModel, Tensor, TensorSpec
from gateway.errors import UpstreamInvalidResponse

_QUEUE_SHARE = 0.8  # of the time that is left may be spent in Triton's queue

_DTYPES: Mapping[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
_DATATYPES = {dtype: name for name, dtype in _DTYPES.items()}


def infer_request(
    target: ModelVersion, inputs: Sequence[Tensor], outputs: Sequence[TensorSpec], request_id: str
) -> service_pb2.ModelInferRequest:
    """One ModelInfer request; the arrays travel as raw bytes."""
    request = service_pb2.ModelInferRequest(
        model_name=target.model, model_version=target.version, id=request_id
    )
    for tensor in inputs:
        request.inputs.add(name=tensor.name, datatype=_DATATYPES[tensor.data.dtype], shape=tensor.data.shape)
        request.raw_input_contents.append(tensor.data.tobytes())
    for spec in outputs:
        request.outputs.add(name=spec.name)
    return request


def set_urgency(request: service_pb2.ModelInferRequest, priority: Priority, timeout: float) -> None:
    """Priority level and queue timeout (seconds), for models whose configuration takes them; others ignore both."""
    request.parameters["priority"].uint64_param = priority
    request.parameters["timeout"].int64_param = int(timeout * _QUEUE_SHARE * 1_000_000)


def infer_outputs(
    response: service_pb2.ModelInferResponse,
    target: ModelVersion,
    specs: Iterable[TensorSpec],
    batch: int | None,
) -> dict[str, Array]:
    """The answer's tensors by name, as read-only views on its bytes.

    `batch` is the size that the first dimension must have, or None where the model does not batch.
    Raises UpstreamInvalidResponse for whatever is not what was asked for.
    """
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
    wanted = list(specs)
    if found.keys() != {spec.name for spec in wanted} or len(found) != len(response.outputs):
        raise _invalid(f"outputs {sorted(found)} instead of {[spec.name for spec in wanted]}")
    return {spec.name: _array(spec, *found[spec.name], batch) for spec in wanted}


def _array(
    spec: TensorSpec, output: service_pb2.ModelInferResponse.InferOutputTensor, raw: bytes, batch: int | None
) -> Array:
    shape = tuple(output.shape)
    expected = spec.shape if batch is None else (batch, *spec.shape)
    agrees = len(shape) == len(expected) and all(
        want in (-1, have) for have, want in zip(shape, expected, strict=False)
    )
    if output.datatype != spec.datatype or not agrees:
        raise _invalid(f"{spec.name}: {output.datatype}{shape} instead of {spec.datatype}{expected}")
    dtype = _DTYPES.get(spec.datatype)
    if dtype is None or math.prod(shape) * dtype.itemsize != len(raw):
        raise _invalid(f"{spec.name}: {len(raw)} bytes for {spec.datatype}{shape}")
    array: Array = np.frombuffer(raw, dtype).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise _invalid(f"{spec.name}: holds values that are not finite")
    return array


def served_model(config: model_config_pb2.ModelConfig, versions: Sequence[str]) -> ServedModel:
    """Triton's configuration message as our own value; `versions` in ascending order."""
    return ServedModel(
        name=config.name,
        versions=tuple(versions),
        max_batch_size=config.max_batch_size,
        inputs=tuple(_spec(tensor) for tensor in config.input),
        outputs=tuple(_spec(tensor) for tensor in config.output),
        parameters={key: value.string_value for key, value in config.parameters.items()},
        version_policy=_policy(config.version_policy),
        instances=sum(group.count * max(1, len(group.gpus)) for group in config.instance_group) or 1,
    )


def _policy(policy: model_config_pb2.ModelVersionPolicy) -> str:
    """ "all", "specific 1, 2", or "latest 1", which is what Triton takes where nothing is said."""
    kind = policy.WhichOneof("policy_choice")
    if kind == "specific":
        return f"specific {', '.join(map(str, policy.specific.versions))}"
    return "all" if kind == "all" else f"latest {policy.latest.num_versions or 1}"


def _spec(tensor: model_config_pb2.ModelInput | model_config_pb2.ModelOutput) -> TensorSpec:
    datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    return TensorSpec(tensor.name, "BYTES" if datatype == "STRING" else datatype, tuple(tensor.dims))


def _invalid(internal: str) -> UpstreamInvalidResponse:
    return UpstreamInvalidResponse("The model's answer is not valid.", internal=internal)
