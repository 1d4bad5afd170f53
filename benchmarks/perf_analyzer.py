"""Triton's own load generator, unmodified but for a key, through the gateway and straight into Triton.

perf_analyzer comes as the binary in the tritonclient wheel of Triton's own release, which needs two libraries beside
it: libcudart (a wheel; no GPU is needed) and libb64 (a Debian package). All is kept in .run/perf_analyzer.
"""

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from processes import RunningStack
from stack import RUN
from testbed import machine, started

FOLDER = RUN / "perf_analyzer"
PYTHON = RUN / "tools" / "bin" / "python"
CLIENT = "tritonclient==2.51.0"  # the release of the Triton that `make setup` installs
CUDA = "nvidia-cuda-runtime-cu12"
BASE64 = "libb64-0d"
MODEL = "digits_classifier"
_SECONDS = 300


class Run(NamedTuple):
    """One line of the table."""

    name: str
    arguments: Sequence[str]
    concurrency: int


def main() -> int:
    tool, environment = installed()
    print(machine())
    print(f"{'':34} {'in flight':>9} {'infer/s':>8} {'p50 ms':>7} {'p99 ms':>7}")
    with started(roomy=True) as bed:
        for run in runs(bed.stack):
            print(line(run, analyzed(tool, environment, run)), flush=True)
    return 0


def runs(stack: RunningStack) -> list[Run]:
    """Each form of a request, through the gateway and past it."""
    gateway = ["-u", stack.url.removeprefix("http://"), "-i", "http", "-H", f"X-API-Key: {stack.key}"]
    http = ["-u", f"{stack.at.triton_address}:{stack.at.triton_http_port}", "-i", "http"]
    grpc = ["-u", f"{stack.at.triton_address}:{stack.at.triton_grpc_port}", "-i", "grpc"]
    as_json = ["--input-tensor-format=json", "--output-tensor-format=json"]
    ways = {
        "gateway, HTTP, binary tensors": gateway,
        "Triton, HTTP, binary tensors": http,
        "gateway, HTTP, JSON tensors": [*gateway, *as_json],
        "Triton, HTTP, JSON tensors": [*http, *as_json],
        "Triton, gRPC": grpc,
    }
    return [Run(name, way, concurrency) for concurrency in (1, 16) for name, way in ways.items()]


def analyzed(tool: Path, environment: Mapping[str, str], run: Run) -> dict[str, float]:
    """perf_analyzer's own summary of one run. Raises RuntimeError with its words where it gave up."""
    report = FOLDER / "report.csv"
    report.unlink(missing_ok=True)
    measure = ["--measurement-interval", "2000", "--stability-percentage", "100", "--max-trials", "10"]
    command = [str(tool), "-m", MODEL, *run.arguments, *measure, "-f", str(report)]
    done = subprocess.run(
        [*command, "--concurrency-range", str(run.concurrency)],
        env={**os.environ, **environment},
        timeout=_SECONDS,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{run.name}: perf_analyzer ended with {done.returncode}:\n{done.stdout}")
    names, values = (row.split(",") for row in report.read_text().splitlines()[:2])
    return {name: float(value) for name, value in zip(names, values, strict=True) if value}


def line(run: Run, found: Mapping[str, float]) -> str:
    milliseconds = (found[f"{name} latency"] / 1000 for name in ("p50", "p99"))
    p50, p99 = (f"{value:7.1f}" for value in milliseconds)
    return f"{run.name:34} {run.concurrency:9} {found['Inferences/Second']:8.0f} {p50} {p99}"


def installed() -> tuple[Path, dict[str, str]]:
    """The binary, and the environment that it finds its libraries by; fetched where they are not there yet."""
    tool = FOLDER / "client" / "tritonclient-2.51.0.data" / "data" / "bin" / "perf_analyzer"
    cuda = FOLDER / "cuda" / "nvidia" / "cuda_runtime" / "lib"
    base64 = FOLDER / "base64" / "usr" / "lib" / "x86_64-linux-gnu"
    if not all(path.exists() for path in (tool, cuda, base64)):
        wheel(CLIENT, FOLDER / "client")
        wheel(CUDA, FOLDER / "cuda")
        debian_package(BASE64, FOLDER / "base64")
        tool.chmod(0o755)
    return tool, {"LD_LIBRARY_PATH": f"{cuda}:{base64}"}


def wheel(name: str, folder: Path) -> None:
    """What the wheel holds, in `folder`; it is not installed."""
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([PYTHON, "-m", "pip", "download", *flags, "--dest", folder, name], check=True)
    for archive in folder.glob("*.whl"):
        zipfile.ZipFile(archive).extractall(folder)


def debian_package(name: str, folder: Path) -> None:
    """What the package holds, in `folder`; it is not installed, so nobody needs to be root."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", name], cwd=folder, check=True)
    for archive in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)


if __name__ == "__main__":
    sys.exit(main())
