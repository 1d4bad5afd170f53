# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#   "nvidia-pytriton==0.7.0",
#   # With numpy 2 this release of Triton's Python backend answers OK with empty tensors.
#   "numpy>=1.26,<2",
#   "onnxruntime>=1.20",
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
PYTHONS = ((3, 11), (3, 12))
OLDEST_GLIBC = (2, 35)
STUB = "triton_python_backend_stub"

# A stub segfaulted, and took the server with it, when batches outgrew the default of 1 MB. Pages are only
# taken as they are used.
SHARED_MEMORY_BYTES = 256 * 1024 * 1024


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
        check_ports(options.address, ports)
    except LaunchError as error:
        sys.exit(f"triton/launch.py: {error}")
    command = [
        str(wheel.server),
        *server_flags(home, options.repository, options.profile, options.address, ports),
        *options.server_arguments,
    ]
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
    add("--state", type=Path, default=HERE.parent / ".run" / "triton", help="folder for links to the wheel")
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
            f"Triton's Python backend needs Python {supported} here (numpy < 2 has no wheels for later ones), "
            f"this is {platform.python_version()}"
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
                f"cannot listen on {address} port {number}: {error.strerror}; "
                f"stop what uses it or set {variable} to another port"
            ) from None


def server_flags(home: Path, repository: Path, profile: str, address: str, ports: Ports) -> list[str]:
    return [
        f"--model-repository={repository.resolve()}",
        f"--model-config-name={profile}",
        # Explicit control lets models be loaded and unloaded by name; all are loaded at the start.
        "--model-control-mode=explicit",
        "--load-model=*",
        # One bad model must not keep the others from serving; its reason is in the repository index.
        "--exit-on-error=false",
        "--exit-timeout-secs=3",
        f"--backend-directory={home / 'backends'}",
        # Python-based backends such as onnxruntime take this one too.
        f"--backend-config=python,shm-default-byte-size={SHARED_MEMORY_BYTES}",
        f"--http-address={address}",
        f"--grpc-address={address}",
        f"--metrics-address={address}",
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
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
