"""Writes a trained network as an ONNX file that Triton's onnxruntime backend and onnxruntime 1.17 can load."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
OPSET = 17
NEWEST_IR = 9
LARGEST_FILE = 2_000_000


def write(network: torch.nn.Module, shape: tuple[int, ...], output: str, model: str, version: int) -> Path:
    """Export `network`, which takes UINT8 [batch, *shape] as `images`, and check the file against it."""
    path = REPOSITORY / model / str(version) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    network = network.eval().to(memory_format=torch.contiguous_format)
    example = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but it folds batch normalisation and keeps one plain file.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=["images"],
            output_names=[output],
            dynamic_axes={"images": {0: "batch"}, output: {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    _lower_ir(path)
    _check(network, path, shape)
    return path


def _lower_ir(path: Path) -> None:
    model = onnx.load(path)
    model.ir_version = min(model.ir_version, NEWEST_IR)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _check(network: torch.nn.Module, path: Path, shape: tuple[int, ...]) -> None:
    """Refuse a file that is too large, or that answers otherwise than the network for any batch size."""
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, more than {LARGEST_FILE}")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3, 16):
        images = torch.randint(0, 256, (batch, *shape), dtype=torch.uint8)
        with torch.inference_mode():
            expected = network(images).numpy()
        (actual,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-2)
