"""The three large architectures through the gateway: are the answers the framework's, what do batches gain, and what
does a picture cost from JPEG to answer?

`make export-models` has to have written them; with random weights they cost what the trained ones do.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from bench import whole_picture
from bench.contestants import Pace
from bench.whole_picture import RESNET, YOLO
from figures import table
from numpy.typing import NDArray
from processes import RunningStack, running_stack
from stack import ROOT
from testbed import machine, roomy_access

OUTPUTS = {RESNET.name: RESNET.output, YOLO.name: YOLO.output, "bert_onnx": "logits"}
SECONDS = 6.0
CALLERS = 16
TIMEOUT_MS = "30000"

Arrays = Mapping[str, NDArray[Any]]
DATATYPES = {"uint8": "UINT8", "int64": "INT64"}


@dataclass(frozen=True)
class Case:
    """A model with a batch of 8 inputs and the framework's own answer to it."""

    model: str
    inputs: Arrays
    expected: NDArray[np.float32]

    def body(self, rows: NDArray[np.intp]) -> tuple[bytes, dict[str, str]]:
        """A binary request with these of the inputs."""
        tensors, behind = [], b""
        for name, array in self.inputs.items():
            piece = np.ascontiguousarray(array[rows])
            about = {"binary_data_size": piece.nbytes}
            datatype = DATATYPES[str(piece.dtype)]
            tensors.append({"name": name, "datatype": datatype, "shape": piece.shape, "parameters": about})
            behind += piece.tobytes()
        header = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
        return header + behind, {"Inference-Header-Content-Length": str(len(header))}

    def ask(self, client: httpx.Client, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        body, headers = self.body(rows)
        answer = client.post(f"/v2/models/{self.model}/infer", content=body, headers=headers)
        answer.raise_for_status()
        header = int(answer.headers["Inference-Header-Content-Length"])
        shape = json.loads(answer.content[:header])["outputs"][0]["shape"]
        return np.frombuffer(answer.content[header:], np.float32).reshape(shape)


def cases() -> list[Case]:
    found = []
    for model, output in OUTPUTS.items():
        path = ROOT / ".run" / "export" / f"{model}.npz"
        if not path.exists():
            sys.exit(f"{model} is not exported: run `make export-models`")
        arrays = dict(np.load(path))
        expected = arrays.pop(output)
        found.append(Case(model, arrays, expected))
    return found


@contextmanager
def repository() -> Iterator[Path]:
    """The three models alone."""
    with tempfile.TemporaryDirectory() as folder:
        for model in OUTPUTS:
            shutil.copytree(ROOT / "model_repository" / model, Path(folder, model))
        yield Path(folder)


def parity(client: httpx.Client, case: Case) -> tuple[float, str]:
    """How far the furthest score lies from the framework's, and how often the best class is the same (or as good)."""
    first = 4 if case.model == YOLO.name else 0
    rows = np.arange(len(case.expected))
    answers = [case.ask(client, rows), np.concatenate([case.ask(client, rows[at : at + 1]) for at in rows])]
    furthest, same, count = 0.0, 0, 0
    for actual in answers:
        furthest = max(furthest, float(np.abs(actual - case.expected).max()))
        classes = case.expected[:, first:]
        chosen = np.take_along_axis(classes, actual[:, first:].argmax(axis=1, keepdims=True), axis=1)
        same += int((classes.max(axis=1, keepdims=True) - chosen < 1e-5).sum())
        count += chosen.size
    return furthest, f"{same} of {count}"


def throughput(client: httpx.Client, case: Case, batch: int, callers: int = 1) -> float:
    """Inputs a second of so many callers who each send such batches, one after the other."""
    rows = np.resize(np.arange(len(case.expected)), batch)
    body, headers = case.body(rows)

    def send() -> None:
        answer = client.post(f"/v2/models/{case.model}/infer", content=body, headers=headers)
        if not answer.is_success:
            raise RuntimeError(f"{case.model}: {answer.status_code} {answer.text}")

    def loop(_: int) -> int:
        done = 0
        while time.monotonic() < end or not done:
            send()
            done += 1
        return done

    send()  # warms up
    began = time.monotonic()
    end = began + SECONDS
    with ThreadPoolExecutor(callers) as threads:
        requests = sum(threads.map(loop, range(callers)))
    return requests * batch / (time.monotonic() - began)


def executed(client: httpx.Client, model: str) -> tuple[int, int]:
    """Inputs and executions so far, as Triton counts them."""
    (entry,) = client.get(f"/v2/models/{model}/stats").json()["model_stats"]
    return entry["inference_count"], entry["execution_count"]


def measured(stack: RunningStack) -> None:
    headers = {"X-API-Key": stack.admin_key, "X-Request-Timeout": TIMEOUT_MS}
    limits = httpx.Limits(max_connections=CALLERS * 2)
    with httpx.Client(
        base_url=stack.url, headers=headers, timeout=60, limits=limits, trust_env=False
    ) as client:
        row = table("Parity with the framework", ["model", "furthest score", "best class the same"])
        for case in cases():
            furthest, same = parity(client, case)
            row(case.model, f"{furthest:.1e}", same)
        columns = [
            "model",
            "batch 1",
            "batch 8",
            "gain",
            "batch 16",
            "gain",
            f"{CALLERS} callers",
            "gain",
            "mean batch",
        ]
        row = table("Inputs a second", columns)
        for case in cases():
            rates = [throughput(client, case, batch) for batch in (1, 8, 16)]
            before = executed(client, case.model)
            together = throughput(client, case, 1, CALLERS)
            inputs, executions = (b - a for a, b in zip(before, executed(client, case.model), strict=True))
            gains = [f"{rate / rates[0]:.2f}x" for rate in (*rates, together)]
            cells = [f"{rates[0]:.1f}"]
            for rate, gain in zip((*rates[1:], together), gains[1:], strict=True):
                cells += [f"{rate:.1f}", gain]
            row(case.model, *cells, f"{inputs / executions:.1f}")


def main() -> None:
    print(f"On {machine()}.")
    with (
        repository() as folder,
        roomy_access() as access,
        running_stack(folder, access_file=access, request_timeout=TIMEOUT_MS[:-3]) as stack,
    ):
        measured(stack)
        whole_picture.measured(stack, Pace(rounds=3, seconds=SECONDS))


if __name__ == "__main__":
    main()
