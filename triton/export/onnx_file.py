"""Writes a trained network as an ONNX file that Triton's onnxruntime backend and onnxruntime 1.17 can load."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
OPSET = 17
NEWEST_IR = 9
LARGEST_FILE = 2_000_000

#: Example inputs by name, in the order in which the network takes them.
Inputs = Mapping[str, torch.Tensor]


def write(network: torch.nn.Module, shape: tuple[int, ...], output: str, model: str, version: int) -> Path:
    """Export `network`, which takes UINT8 [batch, *shape] as `images`, and check the file against it."""
    examples = [
        {"images": torch.randint(0, 256, (batch, *shape), dtype=torch.uint8)} for batch in (2, 1, 3, 16)
    ]
    axes = {"images": {0: "batch"}, output: {0: "batch"}}
    return write_any(network, examples, output, axes, REPOSITORY / model / str(version), LARGEST_FILE)


def write_any(
    network: torch.nn.Module,
    examples: Sequence[Inputs],
    output: str,
    axes: Mapping[str, Mapping[int, str]],
    folder: Path,
    largest: int,
) -> Path:
    """Export `network` by the first of `examples`, and check the file against it with all of them.

    `axes` names those of inputs and output that may have any size; `largest` is in bytes.
    """
    path = folder / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    network = network.eval().to(memory_format=torch.contiguous_format)
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but it folds batch normalisation and keeps one plain file.
        warnings.simplefilter("ignore", DeprecationWarning)
        # What it says of traced branches and of indexing, the check against the network would find.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            network,
            tuple(examples[0].values()),
            path,
            input_names=list(examples[0]),
            output_names=[output],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    _lower_ir(path)
    _check(network, path, examples, largest)
    return path


def _lower_ir(path: Path) -> None:
    model = onnx.load(path)
    model.ir_version = min(model.ir_version, NEWEST_IR)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _check(network: torch.nn.Module, path: Path, examples: Sequence[Inputs], largest: int) -> None:
    """Refuse a file that is too large, or that answers otherwise than the network for any of the examples."""
    if path.stat().st_size > largest:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, more than {largest}")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for inputs in examples:
        with torch.inference_mode():
            expected = network(*inputs.values()).numpy()
        (actual,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-2)
