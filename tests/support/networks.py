"""Small networks made in the test, as files that anybody's exporter could have written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_OPSET, _IR = 17, 9


def mean_of_channels(path: Path, side: int) -> None:
    """FP32 `data` [batch, 3, side, side] to the mean of each channel, `[batch, 3, 1, 1]`, a hundred times smaller."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["means"]),
        helper.make_node("Mul", ["means", "small"], ["scores"]),
    ]
    small = numpy_helper.from_array(np.array(0.1, np.float32), "small")
    _save(path, nodes, [small], side, {"scores": (3, 1, 1)})


def always(path: Path, side: int, answers: Mapping[str, NDArray[np.float32]]) -> None:
    """FP32 `data` [batch, 3, side, side] to these outputs, the same for every image."""
    nodes = [
        helper.make_node("Shape", ["data"], ["size"], start=0, end=1),
    ]
    constants = []
    for name, array in answers.items():
        constants.append(numpy_helper.from_array(array[None], f"{name}_one"))
        constants.append(numpy_helper.from_array(np.array(array.shape, np.int64), f"{name}_shape"))
        nodes.append(helper.make_node("Concat", ["size", f"{name}_shape"], [f"{name}_all"], axis=0))
        nodes.append(helper.make_node("Expand", [f"{name}_one", f"{name}_all"], [name]))
    _save(path, nodes, constants, side, {name: array.shape for name, array in answers.items()})


def config(name: str, outputs: Mapping[str, Sequence[int]], side: int, parameters: Mapping[str, str]) -> str:
    """config.pbtxt as docs/models.md has it."""
    declared = ", ".join(
        f'{{ name: "{output}" data_type: TYPE_FP32 dims: {list(dims)} }}' for output, dims in outputs.items()
    )
    lines = [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        "max_batch_size: 4",
        f'input  [ {{ name: "data" data_type: TYPE_FP32 dims: [3, {side}, {side}] }} ]',
        f"output [ {declared} ]",
        "dynamic_batching { max_queue_delay_microseconds: 1000 }",
    ]
    for key, value in parameters.items():
        text = value.replace("\n", "\\n")
        lines.append(f'parameters {{ key: "gateway.{key}" value {{ string_value: "{text}" }} }}')
    return "\n".join(lines) + "\n"


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[TensorProto],
    side: int,
    outputs: Mapping[str, Sequence[int]],
) -> None:
    def tensor(name: str, dims: Sequence[int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *dims])

    graph = helper.make_graph(
        list(nodes),
        "network",
        [tensor("data", (3, side, side))],
        [tensor(name, dims) for name, dims in outputs.items()],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True)
    onnx.save(model, path)
