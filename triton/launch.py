# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#   "nvidia-pytriton==0.7.0",
#   # With numpy 2 this release of Triton's Python backend answers OK with empty tensors.
#   "numpy>=1.26,<2",
#   "onnxruntime>=1.20",
#   "pillow>=12",
# ]
#
# [tool.uv]
# # The wheel is used for the server binary it carries; its Python package, and what that imports, is not.
# exclude-dependencies = [
#   "grpcio",
#   "importlib-metadata",
#   "pyzmq",
#   "sh",
#   "tritonclient",
#   "typer",
#   "typing-inspect",
#   "wrapt",
# ]
# ///
"""Starts the real tritonserver on CPU, from the nvidia-pytriton wheel, on this project's model repository.

Run it with the Python that triton/requirements.txt is installed in. It checks what the server would only
complain about late or obscurely, then becomes the server (execve), so that signals reach it directly.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
WHEEL = "nvidia-pytriton"
PYTHONS = ((3, 11), (3, 12))  # the wheel has stubs for more, but numpy < 2 ends here
OLDEST_GLIBC = (2, 35)
STUB = "triton_python_backend_stub"

# Each model instance takes its shared memory at once, not as it fills, and grows it when a batch needs more.
# 64 MiB holds several batches of small images; where /dev/shm is small (64 MB in a container that is not told
# otherwise) sixteen instances must share it. The server's own default, 1 MiB, is the least that works.
SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_MOST = 64 * 1024 * 1024
SHARED_MEMORY_LEAST = 1024 * 1024
SHARED_MEMORY_INSTANCES = 16


class LaunchError(Exception):
    """The server cannot be started here; the message is one line and says what to do."""


@dataclass(frozen=True)
class Ports:
    """Where the server listens, by the name of the environment variable that sets it."""

    http: int
    grpc: int
    metrics: int

    def by_variable(self) -> dict[str, int]:
        return {
            "TRITON_HTTP_PORT": self.http,
            "TRITON_GRPC_PORT": self.grpc,
            "TRITON_METRICS_PORT": self.metrics,
        }


@dataclass(frozen=True)
class Wheel:
    """The parts of the installed nvidia-pytriton wheel that are used."""

    version: str
    server: Path
    python_backend: Path
    stub: Path
    libraries: Path


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    ports = Ports(options.http_port, options.grpc_port, options.metrics_port)
    try:
        check_platform()
        wheel = find_wheel()
        check_numpy()
        check_repository(options.repository)
        home = assemble(wheel, find_libpython(), HERE / "backends", options.state)
        remove_abandoned_memory()
        share = shared_memory_share(shutil.disk_usage(SHARED_MEMORY).free)
        check_ports(options.address, ports)
    except LaunchError as error:
        sys.exit(f"triton/launch.py: {error}")
    command = [
        str(wheel.server),
        *server_flags(home, options.repository, options.profile, share),
        *address_flags(options.address, ports),
        *control_flags(options.repository, options.server_arguments),
        *options.server_arguments,
    ]
    sys.stderr.write(
        f"Starting tritonserver ({WHEEL} {wheel.version}) on {options.repository}, profile {options.profile}: "
        f"HTTP {options.address}:{ports.http}, gRPC :{ports.grpc}, metrics :{ports.metrics}\n"
    )
    os.execve(command[0], command, server_environment(os.environ, wheel, home))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Start tritonserver on CPU on a model repository.")
    add, env = parser.add_argument, os.environ.get
    add("--repository", type=Path, default=env("MODEL_REPOSITORY") or HERE.parent / "model_repository")
    add("--profile", default="cpu", help="use <model>/configs/<profile>.pbtxt in place of config.pbtxt")
    add("--address", default=env("TRITON_ADDRESS") or "127.0.0.1", help="for all three ports")
    add("--http-port", type=port, default=env("TRITON_HTTP_PORT") or "8000")
    add("--grpc-port", type=port, default=env("TRITON_GRPC_PORT") or "8001")
    add("--metrics-port", type=port, default=env("TRITON_METRICS_PORT") or "8002")
    add("--state", type=Path, default=HERE.parent / ".run" / "triton", help="folder for what is laid out")
    add("server_arguments", nargs="*", metavar="-- TRITONSERVER_ARGUMENT")
    return parser.parse_args(arguments)


def port(text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port (1 to 65535)")


def check_platform() -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise LaunchError(
            f"tritonserver from the {WHEEL} wheel runs on Linux x86-64 only, this is {sys.platform} "
            f"{platform.machine()}: use a Linux x86-64 machine or container"
        )
    if sys.version_info[:2] not in PYTHONS:
        supported = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        raise LaunchError(
            f"Triton's Python backend needs Python {supported} here, this is {platform.python_version()}: "
            "make the environment with one of these"
        )
    library, version = platform.libc_ver()
    if library != "glibc" or tuple(map(int, version.split(".")[:2])) < OLDEST_GLIBC:
        raise LaunchError(
            f"tritonserver needs glibc >= {'.'.join(map(str, OLDEST_GLIBC))} (Debian 12, Ubuntu 22.04 or later), "
            f"this system has {library or 'another C library'} {version}".rstrip()
        )


def find_wheel() -> Wheel:
    advice = f"install triton/requirements.txt into the environment of {sys.executable}"
    try:
        distribution = importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise LaunchError(f"{WHEEL} is not installed: {advice}") from None
    site = Path(str(distribution.locate_file("")))
    server = site / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheel = Wheel(
        version=distribution.version,
        server=server / "bin" / "tritonserver",
        python_backend=server / "backends" / "python",
        stub=server / "python_backend_stubs" / version / STUB,
        libraries=site / "nvidia_pytriton.libs",
    )
    for part in (wheel.server, wheel.python_backend, wheel.stub, wheel.libraries):
        if not part.exists():
            raise LaunchError(f"{WHEEL} {distribution.version} lacks {part.relative_to(site)}: {advice}")
    return wheel


def check_numpy() -> None:
    """Refuse numpy 2, which is not noticed otherwise: answers are OK and their tensors empty."""
    try:
        version = importlib.metadata.version("numpy")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    if not version.startswith("1."):
        raise LaunchError(
            f"Triton's Python backend needs numpy < 2, found {version}: use triton/requirements.txt"
        )


def check_repository(repository: Path) -> None:
    if not repository.is_dir():
        raise LaunchError(
            f"model repository {repository} is not a folder: set MODEL_REPOSITORY or --repository"
        )


def find_libpython() -> Path | None:
    """The running interpreter's shared library, which the stub links; None if the loader finds it unaided."""
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    library, multiarch = sysconfig.get_config_vars("LIBDIR", "MULTIARCH")
    folders = [Path(sys.base_prefix, "lib"), Path(library or "/usr/lib"), Path("/usr/lib", multiarch or "")]
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    try:
        ctypes.CDLL(name)
    except OSError:
        package = name.removesuffix(".so.1.0")
        raise LaunchError(
            f"{name} not found, which Triton's Python backend links: install it (Debian, Ubuntu: apt install "
            f"{package}) or make the environment from a Python built with it (uv python install)"
        ) from None
    return None


def assemble(wheel: Wheel, libpython: Path | None, backends: Path, state: Path) -> Path:
    """Lay out what the server wants side by side (backends, stub, libpython), and return that folder.

    The installed wheel stays untouched. The folder is named after its content and appears by one rename, so
    that servers started at the same time share it or have their own, and never see half of one.
    """
    # Copies, because the server refuses a library whose real path lies outside its backend's folder.
    copies = {part.name: part for part in wheel.python_backend.iterdir() if part.is_file()} | {
        STUB: wheel.stub
    }
    links = {f"backends/{folder.name}": folder for folder in backends.iterdir() if folder.is_dir()}
    if libpython:
        links[f"lib/{libpython.name}"] = libpython
    content = [wheel.version, sorted(copies.items()), sorted(links.items())]
    home = state.resolve() / hashlib.sha256(repr(content).encode()).hexdigest()[:12]
    if not home.is_dir():
        try:
            create_folder(home, {f"backends/python/{name}": part for name, part in copies.items()}, links)
        except OSError as error:
            raise LaunchError(
                f"cannot write {state}: {error.strerror}; choose a folder with --state"
            ) from None
    return home


def create_folder(folder: Path, copies: Mapping[str, Path], links: Mapping[str, Path]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name in (*copies, *links):
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
        for name, source in copies.items():
            shutil.copy(source, draft / name)
        for name, target in links.items():
            (draft / name).symlink_to(target)
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft)
        # Another server that starts now may have made the same folder first.
        if not folder.is_dir():
            raise


def check_ports(address: str, ports: Ports) -> None:
    """Refuse a taken port now: the server would load all models first, then fail in the middle of its log."""
    numbers = ports.by_variable()
    if len(set(numbers.values())) < len(numbers):
        listed = ", ".join(f"{variable} {number}" for variable, number in numbers.items())
        raise LaunchError(f"the three ports must differ: {listed}")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for variable, number in numbers.items():
        try:
            socket.create_server((address, number), family=family).close()
        except OSError as error:
            raise LaunchError(
                f"cannot listen on {address} port {number}: {str(error.strerror).partition(' (')[0]}; "
                f"stop what uses it or set {variable} to another port"
            ) from None


def memory_prefix(process: int) -> str:
    """What the names of a server's regions in /dev/shm begin with; the server keeps this process's id.

    Containers may share /dev/shm and number their processes each for itself, so the name tells them apart.
    """
    return f"triton-{Path('/proc/self/ns/pid').stat().st_ino}-{process}-"


def remove_abandoned_memory() -> None:
    """Free what servers left in /dev/shm that were killed together with their model processes."""
    prefix = memory_prefix(0).removesuffix("0-")
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        process = region.name.removeprefix(prefix).partition("-")[0]
        if not Path("/proc", process).exists():
            # Another server that starts now may free it first; another user's stays.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                region.unlink()


def shared_memory_share(free: int) -> int:
    """Bytes for each model instance, of the bytes free in /dev/shm."""
    share = min(SHARED_MEMORY_MOST, free // SHARED_MEMORY_INSTANCES)
    if share < SHARED_MEMORY_LEAST:
        needed = SHARED_MEMORY_LEAST * SHARED_MEMORY_INSTANCES
        raise LaunchError(
            f"{SHARED_MEMORY} has {free >> 20} MiB free, Triton's Python backend needs {needed >> 20}: "
            f"remove what fills it, or give the container more (docker run --shm-size)"
        )
    return share


def server_flags(home: Path, repository: Path, profile: str, shared_memory: int) -> list[str]:
    return [
        f"--model-repository={repository.resolve()}",
        f"--model-config-name={profile}",
        # One bad model keeps neither the others nor the server's readiness down; its reason is in the index.
        "--exit-on-error=false",
        "--strict-readiness=false",
        # Completing configs starts one more Python process per version, to find that nothing is missing: 2.7 s
        # of 3.8 s until six versions served. A config says all of its inputs and outputs here.
        "--disable-auto-complete-config",
        "--exit-timeout-secs=3",
        f"--backend-directory={home / 'backends'}",
        # Python-based backends such as onnxruntime take these two too.
        f"--backend-config=python,shm-default-byte-size={shared_memory}",
        f"--backend-config=python,shm-region-prefix-name={memory_prefix(os.getpid())}",
        # There is no GPU to measure, nor to copy to.
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
        # Warnings and errors only: the rest is some fifty lines of wide tables at each start.
        "--log-info=false",
        "--log-format=ISO8601",
    ]


def control_flags(repository: Path, arguments: Sequence[str]) -> list[str]:
    """Explicit control lets models be loaded and unloaded by name; all that are there are loaded at the start.

    Other modes load all by themselves, and refuse to start where they are told which.
    """
    if any(argument.startswith("--model-control-mode=") for argument in arguments):
        return []
    names = models_with_versions(repository)
    return ["--model-control-mode=explicit", *(f"--load-model={name}" for name in names)]


def models_with_versions(repository: Path) -> list[str]:
    """By name; a version is a folder called by its number that holds something: others are still to be exported."""
    return sorted(
        folder.name
        for folder in repository.iterdir()
        if any(version.name.isdecimal() and any(version.iterdir()) for version in folder.glob("*/"))
    )


def address_flags(address: str, ports: Ports) -> list[str]:
    return [
        f"--http-address={address}",
        f"--grpc-address={address}",
        f"--metrics-address={address}",
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-port={ports.metrics}",
    ]


def server_environment(inherited: Mapping[str, str], wheel: Wheel, home: Path) -> dict[str, str]:
    """The environment in which the stubs find their libraries, this Python, and no GPU."""
    environment = dict(inherited)
    # Either would put another Python's packages before those of this environment.
    for name in ("PYTHONHOME", "PYTHONPATH"):
        environment.pop(name, None)
    paths = [str(wheel.libraries), str(home / "lib"), inherited.get("LD_LIBRARY_PATH", "")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
    # The stub's interpreter takes the first python3 on PATH for itself, and its packages from there. The
    # path is not resolved: a virtual environment's python is a link out of it.
    scripts = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join(filter(None, [scripts, inherited.get("PATH", "")]))
    environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


if __name__ == "__main__":
    main(sys.argv[1:])
