"""What runs while the bench measures: Triton, Redis, the gateways and the peers."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from connection import Address
from processes import Process, RunningStack, running, running_stack, wait_ready
from receiver import receiving
from slow_model import SlowModel
from stack import ROOT, Addresses, Part, StackError, free_port, gateway
from testbed import roomy_access

from bench import networks, peers
from bench.peers import Peer
from bench.requests import photo
from bench.turns import Generator, Watched

_ROUTE = "  {model}:\n    stable: 1\n    canary: 2\n    weight: 10%\n"
_CATEGORY = ("nginx", *peers.NAMES)
CLASSIFY_SIZE, DETECT_SIZE = (640, 480), (1280, 720)


@dataclass(frozen=True)
class Gateway:
    """A running gateway: where it answers, and its processes."""

    address: Address
    process: Process
    workers: int = 1

    @property
    def pid(self) -> int:
        return self.process.popen.pid


@dataclass(frozen=True)
class Field:
    """All contestants. `on` has everything switched on, `off` nothing; `pair` is `on` with two workers. `settings` are
    those of `on`. `off` is None where it does not start."""

    stack: RunningStack
    settings: Mapping[str, object]
    generator: Generator
    on: Gateway
    off: Gateway | None
    pair: Gateway
    peers: tuple[Peer, ...]
    photo: bytes
    scene: bytes

    @property
    def key(self) -> str:
        return self.stack.key

    @property
    def triton_http(self) -> Address:
        return Address(self.stack.at.triton_address, self.stack.at.triton_http_port)

    @property
    def triton_grpc(self) -> Address:
        return Address(self.stack.at.triton_address, self.stack.at.triton_grpc_port)

    def watched(self, server: int | None = None, *, redis: bool = False) -> Watched:
        """Process trees to look at: Triton, the server in front of it where there is one, Redis where it is used."""
        watched = {"triton": self.stack.triton.popen.pid}
        if server is not None:
            watched["server"] = server
        if redis:
            watched["redis"] = self.stack.redis.popen.pid
        return watched


@contextmanager
def started(names: tuple[str, ...], missing: Callable[[str, str], None]) -> Iterator[Field]:
    """The field with these peers; `missing` hears which of them are not there, and why."""
    with ExitStack() as exits, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repository = SlowModel().write(networks.write(folder / "models"))
        collector = exits.enter_context(receiving())
        settings: dict[str, object] = {
            "access_file": exits.enter_context(roomy_access()),
            "routes_file": _routes(folder),
            "trace_endpoint": collector.url,
            "trace_ratio": 0.01,
            "workers": 1,
        }
        stack = exits.enter_context(running_stack(repository, **settings))
        picture = photo(*CLASSIFY_SIZE)
        yield Field(
            stack,
            settings,
            exits.enter_context(closing(Generator())),
            on=Gateway(Address(stack.at.gateway_host, stack.at.gateway_port), stack.gateway),
            off=_if_it_starts(exits, _open_door(stack.at), missing),
            pair=exits.enter_context(second(stack.at, {**settings, "workers": 2}, workers=2)),
            peers=_peers(exits, names, stack.at, picture, missing),
            photo=picture,
            scene=photo(*DETECT_SIZE),
        )


def _routes(folder: Path) -> Path:
    """A canary with a tenth of the callers, for the two networks of which everything on is measured."""
    file = folder / "routes.yaml"
    models = (networks.IDENTITY, networks.CLASSIFIER)
    file.write_text("routes:\n" + "".join(_ROUTE.format(model=model) for model in models))
    return file


def _peers(
    exits: ExitStack, names: tuple[str, ...], at: Addresses, jpeg: bytes, missing: Callable[[str, str], None]
) -> tuple[Peer, ...]:
    found = []
    for name in names:
        try:
            found.append(exits.enter_context(peers.started(name, at, jpeg)))
        except (StackError, OSError, RuntimeError) as error:
            missing(name, str(error))
    return tuple(found)


def _if_it_starts(
    exits: ExitStack, door: AbstractContextManager[Gateway], missing: Callable[[str, str], None]
) -> Gateway | None:
    try:
        return exits.enter_context(door)
    except StackError as error:
        missing("gateway, all off", str(error))
        return None


@contextmanager
def second(
    at: Addresses, settings: Mapping[str, object], *, workers: int = 1, source: Path = ROOT
) -> Iterator[Gateway]:
    """One more gateway beside the first, with the same Redis; of the checkout at `source`."""
    at = replace(at, gateway_port=free_port())
    part = gateway(at, **settings)
    part = replace(part, environment={**part.environment, "PYTHONPATH": str(source)})
    with running(part) as process:
        wait_ready(f"{at.gateway_url}/readyz", process)
        yield Gateway(Address(at.gateway_host, at.gateway_port), process, workers)


@contextmanager
def _open_door(at: Addresses) -> Iterator[Gateway]:
    port = free_port()
    command = [
        *(sys.executable, "-P", "-m", "uvicorn", "--factory", "open_door:create_app"),
        *("--host", at.gateway_host, "--port", str(port), "--loop", "uvloop", "--http", "httptools"),
        *("--log-level", "warning", "--no-access-log", "--app-dir", str(ROOT / "benchmarks")),
    ]
    with running(Part("open-door", command, gateway(at).environment)) as process:
        wait_ready(f"http://{at.gateway_host}:{port}/readyz", process)
        yield Gateway(Address(at.gateway_host, port), process)


def all_names() -> tuple[str, ...]:
    return _CATEGORY


def cores() -> int:
    return os.cpu_count() or 1
