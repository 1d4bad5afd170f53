"""Runs ONNX files on CPU for models whose config says `backend: "onnxruntime"`, where Triton has no native one.

Triton starts one process with one TritonPythonModel per model instance, and hands it the requests that the
dynamic batcher gathered. Everything about the model stands in its config, as for the native backend.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

# Failures come back as exceptions; onnxruntime would also write each to the log, at the caller's pace.
FATAL_ONLY = 4

# Names of element types: Triton's config on the left, onnxruntime's graph on the right.
ELEMENT_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
    "TYPE_STRING": "tensor(string)",
}

Feed = dict[str, np.ndarray]


class TritonPythonModel:
    """One instance of one version of a model; Triton calls its methods by these names."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model file and hold the config to it.

        Raises TritonModelException, whose text Triton gives as the reason in its repository index.
        """
        config = json.loads(args["model_config"])
        self._batches = config["max_batch_size"] > 0
        self._outputs = [output["name"] for output in config["output"]]
        try:
            self._session = open_session(
                model_file(args, config), session_options(config.get("parameters", {}))
            )
            check_agreement(config, self._session)
        except ValueError as error:
            raise pb_utils.TritonModelException(
                f"{args['model_name']} version {args['model_version']}: {error}"
            ) from None

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer every request, those of equal shape by one run of the network."""
        feeds = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        wanted = [self._in_order(request.requested_output_names()) for request in requests]
        responses: list[Any] = [None] * len(requests)
        for group in group_by_shape(feeds) if self._batches else one_by_one(feeds):
            # Outputs that no request of the group asks for are not computed.
            names = self._in_order({name for index in group for name in wanted[index]})
            answers = self._answer([feeds[index] for index in group], names)
            for index, answer in zip(group, answers, strict=True):
                responses[index] = respond(answer, wanted[index])
        return responses

    def _in_order(self, names: Collection[str]) -> list[str]:
        """Triton gives the names of outputs in any order; answers keep the config's."""
        return [name for name in self._outputs if name in names]

    def _answer(self, feeds: list[Feed], wanted: list[str]) -> Sequence[Feed | Exception]:
        """One answer per feed, from one run if that works, else each from its own, so that only the guilty fail."""
        if len(feeds) == 1:
            return [self._attempt(feeds[0], wanted)]
        merged = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        outputs = self._attempt(merged, wanted)
        if isinstance(outputs, dict):
            sizes = [batch_size(feed) for feed in feeds]
            if all(array.ndim and len(array) == sum(sizes) for array in outputs.values()):
                return split(outputs, sizes)
        return [self._attempt(feed, wanted) for feed in feeds]

    def _attempt(self, feed: Feed, wanted: list[str]) -> Feed | Exception:
        try:
            texts = {name: as_text(array) for name, array in feed.items() if array.dtype == np.object_}
            return dict(zip(wanted, self._session.run(wanted, feed | texts), strict=True))
        except Exception as error:  # noqa: BLE001  # onnxruntime's errors have no other common base
            return error


def model_file(args: Mapping[str, str], config: Mapping[str, Any]) -> Path:
    name = config.get("default_model_filename") or "model.onnx"
    path = Path(args["model_repository"], args["model_version"], name)
    if not path.is_file():
        raise ValueError(f"{path.parent.name}/{name} is missing")
    return path


def session_options(parameters: Mapping[str, Mapping[str, str]]) -> onnxruntime.SessionOptions:
    """Thread settings under the native backend's names; 0 or absent lets onnxruntime choose."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    options.intra_op_num_threads = thread_count(parameters, "intra_op_thread_count")
    options.inter_op_num_threads = thread_count(parameters, "inter_op_thread_count")
    # Threads that spin while they wait take the processor from the server and the gateway, and gain nothing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def thread_count(parameters: Mapping[str, Mapping[str, str]], key: str) -> int:
    text = parameters.get(key, {}).get("string_value", "0")
    if not text.isdecimal():
        raise ValueError(f"parameter {key} must be a whole number, not {text!r}")
    return int(text)


def open_session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # onnxruntime's errors have no other common base
        raise ValueError(f"{path.parent.name}/{path.name} cannot be loaded: {one_line(error)}") from None


def check_agreement(config: Mapping[str, Any], session: onnxruntime.InferenceSession) -> None:
    """Raise ValueError with everything in which the config's tensors differ from the graph's."""
    batches = config["max_batch_size"] > 0
    graph_inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    graph_outputs = {tensor.name: tensor for tensor in session.get_outputs()}
    problems = [
        *tensor_problems("input", config["input"], graph_inputs, batches),
        *tensor_problems("output", config["output"], graph_outputs, batches),
    ]
    missing = graph_inputs.keys() - {tensor["name"] for tensor in config["input"]}
    problems += [f"the network's input {name!r} is not in the config" for name in sorted(missing)]
    if problems:
        raise ValueError("; ".join(problems))


def tensor_problems(
    kind: str, configured: Iterable[Mapping[str, Any]], graph: Mapping[str, Any], batches: bool
) -> list[str]:
    problems = []
    for tensor in configured:
        name = tensor["name"]
        if name not in graph:
            problems.append(f"the network has no {kind} {name!r}, only {', '.join(map(repr, graph))}")
            continue
        if tensor["data_type"] not in ELEMENT_TYPES:
            problems.append(f"{kind} {name!r} is {tensor['data_type']}, which this backend does not support")
        elif ELEMENT_TYPES[tensor["data_type"]] != graph[name].type:
            problems.append(
                f"{kind} {name!r} is {tensor['data_type']} in the config, {graph[name].type} in the network"
            )
        shape = configured_shape(tensor, batches)
        if not shapes_agree(shape, graph[name].shape):
            problems.append(
                f"{kind} {name!r} is {shape} in the config, {graph_shape(graph[name].shape)} in the network"
            )
    return problems


def configured_shape(tensor: Mapping[str, Any], batches: bool) -> list[int]:
    """The shape that reaches the network; with a batch axis in front if the model batches, -1 for any size."""
    dims = tensor["reshape"]["shape"] if "reshape" in tensor else tensor["dims"]
    return [-1] * batches + [int(size) for size in dims]


def graph_shape(shape: Sequence[int | str | None]) -> list[int]:
    """A network's shape with -1 for axes of any size, which it gives as a name or None."""
    return [size if isinstance(size, int) else -1 for size in shape]


def shapes_agree(configured: Sequence[int], graph: Sequence[int | str | None]) -> bool:
    """Whether every axis that the network fixes, the batch axis included, has the size that the config says.

    A network that does not tell its rank gives an empty shape, which any shape agrees with.
    """
    if not graph:
        return True
    if len(configured) != len(graph):
        return False
    return all(fixed in (-1, size) for size, fixed in zip(configured, graph_shape(graph), strict=True))


def group_by_shape(feeds: Sequence[Feed]) -> list[list[int]]:
    """Indices of the feeds that can be one batch: same inputs, same shapes behind the batch axis."""
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[int]] = {}
    for index, feed in enumerate(feeds):
        key = tuple((name, array.shape[1:]) for name, array in sorted(feed.items()))
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def one_by_one(feeds: Sequence[Feed]) -> list[list[int]]:
    """Groups of one: a model without a batch axis takes each request by itself."""
    return [[index] for index in range(len(feeds))]


def batch_size(feed: Feed) -> int:
    return len(next(iter(feed.values())))


def as_text(array: np.ndarray) -> np.ndarray:
    """Triton's BYTES elements as the str that onnxruntime takes; of bytes it would take the repr."""
    return np.array([element.decode() for element in array.flat], dtype=np.object_).reshape(array.shape)


def split(outputs: Feed, sizes: Sequence[int]) -> list[Feed]:
    """The rows of a merged run, given back to the requests that they came from."""
    ends = np.cumsum(sizes)
    return [
        {name: array[end - size : end] for name, array in outputs.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]


def respond(answer: Feed | Exception, names: Iterable[str]) -> Any:
    if isinstance(answer, Exception):
        callers_fault = isinstance(answer, InvalidArgument | UnicodeDecodeError)
        code = pb_utils.TritonError.INVALID_ARG if callers_fault else pb_utils.TritonError.INTERNAL
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(one_line(answer), code))
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in names])


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
