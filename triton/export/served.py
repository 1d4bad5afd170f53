"""Writes a large network into the model repository, in the forms that it is served in, and says how true they are."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_file
import onnxruntime
import torch

if TYPE_CHECKING:
    from architectures import Architecture

#: Where the inputs and the framework's own answers are kept, for whoever compares what is served with them.
EXPECTED = Path(__file__).resolve().parents[2] / ".run" / "export"
BATCHES = (1, 2, 3, 8, 16)
LARGEST = 700_000_000
SEED = 50
TIE = 1e-5


def weights_of(description: str | None) -> bool:
    """The command line of an export script: whether the weights are pretrained ones."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--weights",
        choices=("random", "pretrained"),
        default="random",
        help="random: the true architecture anywhere; pretrained: from its hub, which has to be reached",
    )
    return bool(parser.parse_args().weights == "pretrained")


def export(architecture: Architecture, *, pretrained: bool, version: int = 1) -> None:
    """Writes model.onnx, and model.pt where it is wanted, and prints the parity of each with the framework.

    Raises AssertionError or ValueError for a file that answers otherwise than the network.
    """
    torch.manual_seed(SEED)
    network = architecture.build(pretrained).eval()
    folder = onnx_file.REPOSITORY / architecture.model / str(version)
    examples = [architecture.examples(batch) for batch in BATCHES]
    path = onnx_file.write_any(network, examples, architecture.output, architecture.axes, folder, LARGEST)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    print_parity(
        architecture,
        network,
        path,
        lambda inputs: session.run(None, {name: each.numpy() for name, each in inputs.items()})[0],
    )
    if architecture.script:
        script = folder / "model.pt"
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the parity below would find it
            torch.jit.trace(network, tuple(examples[1].values())).save(script)
        traced = torch.jit.load(script).eval()
        print_parity(architecture, network, script, lambda inputs: traced(*inputs.values()).detach().numpy())
    keep(architecture, network)


def print_parity(
    architecture: Architecture,
    network: torch.nn.Module,
    path: Path,
    answer: Callable[[onnx_file.Inputs], np.ndarray],
) -> None:
    """One line: how far the file's scores lie from the network's, and how often both agree on the best class.

    Classes whose scores differ by less than `TIE` are as good as each other: random weights make many of them.
    """
    furthest, same, count = 0.0, 0, 0
    for batch in BATCHES:
        inputs = architecture.examples(batch)
        with torch.inference_mode():
            expected = network(*inputs.values()).numpy()
        actual = answer(inputs)
        furthest = max(furthest, float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 1.0)))
        classes, found = expected[:, architecture.first_class :], actual[:, architecture.first_class :]
        chosen = np.take_along_axis(classes, found.argmax(axis=1, keepdims=True), axis=1)
        missed = classes.max(axis=1, keepdims=True) - chosen
        same += int((missed < TIE).sum())
        count += missed.size
    place = path.relative_to(onnx_file.REPOSITORY)
    print(
        f"{place}: {path.stat().st_size / 1e6:.1f} MB, furthest score {furthest:.1e}, best class {same} of {count}"
    )
    if furthest > architecture.tolerance:
        raise ValueError(f"{place} answers otherwise than the network")


def keep(architecture: Architecture, network: torch.nn.Module) -> None:
    """Inputs of a batch of 8 with the framework's own answer, beside the repository."""
    inputs = architecture.examples(8)
    with torch.inference_mode():
        answer = network(*inputs.values()).numpy()
    EXPECTED.mkdir(parents=True, exist_ok=True)
    arrays = {name: each.numpy() for name, each in inputs.items()}
    np.savez(EXPECTED / f"{architecture.model}.npz", **arrays, **{architecture.output: answer})
