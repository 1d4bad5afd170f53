"""Near-empty networks with the shapes of real ones: what is measured is the way to Triton and back, not arithmetic.

Each answer depends on its input, so that nothing can be kept from one request to the next, and costs a few
microseconds. The detector finds always the same twenty things, so that suppression has something to do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

IDENTITY, CLASSIFIER, DETECTOR = "bench_identity", "bench_classifier", "bench_detector"
UINT8 = "_uint8"  # behind the name of the network that takes bytes
CLASSES, SIDE = 1000, 224
THINGS, ANCHORS, DETECTOR_SIDE = 80, 8400, 640
_FOUND = 20
_OPSET = 17
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_CONFIG = """
name: "{name}"
backend: "onnxruntime"
max_batch_size: 16
input [ {{ name: "{input}" data_type: TYPE_{datatype} dims: [ {dims} ] }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ {answer} ] }} ]
version_policy {{ all {{ }} }}
dynamic_batching {{ }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
parameters {{ key: "intra_op_thread_count" value: {{ string_value: "1" }} }}
"""


class Network(NamedTuple):
    """What a client has to know of a network that takes `images`: floats normalised, bytes as they are."""

    name: str
    datatype: str
    output: str = "scores"


DETECTORS = {"float": Network(DETECTOR, "FP32"), "uint8": Network(DETECTOR + UINT8, "UINT8")}


def write(repository: Path) -> Path:
    """Lays the networks out, two equal versions each, and answers the folder."""
    _model(repository, IDENTITY, "FP32", [64], [64], _identity(), {})
    for datatype, suffix in (("FP32", ""), ("UINT8", UINT8)):
        normalise = {"mean": _numbers(MEAN), "std": _numbers(STD)} if datatype == "FP32" else {}
        network = _sampled(datatype, [3, SIDE, SIDE], _scores())
        _model(
            *(repository, CLASSIFIER + suffix, datatype, [3, SIDE, SIDE], [CLASSES], network),
            {**_classifying(), **normalise},
        )
        shape = [3, DETECTOR_SIDE, DETECTOR_SIDE]
        network = _sampled(datatype, shape, _boxes())
        _model(
            *(repository, DETECTOR + suffix, datatype, shape, [4 + THINGS, ANCHORS], network), _detecting()
        )
    return repository


def _numbers(values: Sequence[float]) -> str:
    return ",".join(map(str, values))


def _classifying() -> dict[str, str]:
    return {
        "task": "image-classification",
        "labels": "\\n".join(f"class {number}" for number in range(CLASSES)),
        "resize": "crop",
        "resize_shorter": "256",
        "activation": "softmax",
        "default_version": "1",
        "top_k": "5",
    }


def _detecting() -> dict[str, str]:
    return {
        "task": "object-detection",
        "labels": "\\n".join(f"thing {number}" for number in range(THINGS)),
        "resize": "letterbox",
        "antialias": "false",
        "boxes": "yolov8",
        "min_score": "0.25",
        "iou_threshold": "0.7",
        "default_version": "1",
    }


def _model(
    repository: Path,
    name: str,
    datatype: str,
    dims: Sequence[int],
    answer: Sequence[int],
    network: onnx.ModelProto,
    parameters: dict[str, str],
) -> None:
    (source,), (target,) = network.graph.input, network.graph.output
    text = _CONFIG.format(
        name=name,
        input=source.name,
        output=target.name,
        datatype=datatype,
        dims=", ".join(map(str, dims)),
        answer=", ".join(map(str, answer)),
    )
    for key, value in parameters.items():
        text += f'parameters {{ key: "gateway.{key}" value: {{ string_value: "{value}" }} }}\n'
    for version in ("1", "2"):
        folder = repository / name / version
        folder.mkdir(parents=True)
        onnx.save(network, folder / "model.onnx")
    (repository / name / "config.pbtxt").write_text(text)


def _identity() -> onnx.ModelProto:
    node = helper.make_node("Identity", ["values"], ["same"])
    return _network([node], "values", TensorProto.FLOAT, [64], "same", [64], {})


def _sampled(datatype: str, dims: Sequence[int], answer: NDArray[np.float32]) -> onnx.ModelProto:
    """The fixed answer, each value a billionth of the first pixel larger."""
    nodes = [
        helper.make_node("Slice", ["images", "starts", "ends", "axes"], ["corner"]),
        helper.make_node("Reshape", ["corner", "flat"], ["pixel"]),
        helper.make_node("Cast", ["pixel"], ["value"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["value", "tiny"], ["shift"]),
        helper.make_node("Add", ["answer", "shift"], ["scores"]),
    ]
    constants = {
        "starts": np.zeros(3, np.int64),
        "ends": np.ones(3, np.int64),
        "axes": np.arange(1, 4),
        "flat": np.array([-1] + [1] * answer.ndim, np.int64),
        "tiny": np.float32(1e-9),
        "answer": answer[None],
    }
    element = TensorProto.FLOAT if datatype == "FP32" else TensorProto.UINT8
    return _network(nodes, "images", element, dims, "scores", answer.shape, constants)


def _scores() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=CLASSES).astype(np.float32)


def _boxes() -> NDArray[np.float32]:
    """Twenty boxes on a grid, each found by two anchors; every other score is far below the least that counts."""
    answer = np.full((4 + THINGS, ANCHORS), 0.01, np.float32)
    for number in range(_FOUND):
        x, y = 64 + 128 * (number % 5), 140 + 100 * (number // 5)
        for anchor in (2 * number, 2 * number + 1):
            answer[:4, anchor] = (x + anchor % 2, y, 80, 60)
            answer[4 + number, anchor] = 0.9 - 0.01 * number - 0.001 * (anchor % 2)
    return answer


def _network(
    nodes: Sequence[onnx.NodeProto],
    source: str,
    element: int,
    dims: Sequence[int],
    target: str,
    answer: Sequence[int],
    constants: dict[str, Any],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "bench",
        [helper.make_tensor_value_info(source, element, ["batch", *dims])],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, ["batch", *answer])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
