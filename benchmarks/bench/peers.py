"""The other contestants: each in an environment of its own, from a locked file, forwarding to the same Triton.

`python -m bench.peers` installs them; the bench itself leaves out, with the reason, what is not there.
"""

import base64
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import perf_analyzer
import psutil
from connection import Address
from processes import Process, running
from stack import ROOT, RUN, Addresses, Part, StackError, free_port

from bench.networks import CLASSIFIER, IDENTITY
from bench.requests import JSON, Request, json_tensor, picture, values

NAMES = ("mlserver", "bentoml", "litserve", "kserve")
_READY_SECONDS = 90
_BENCHMARKS = ROOT / "benchmarks"


@dataclass(frozen=True)
class Peer:
    """A running contestant and how it is asked; `jpeg` is None where it takes no pictures."""

    name: str
    version: str
    address: Address
    process: Process
    tensor: Request
    jpeg: Request | None


def python(name: str) -> Path:
    return RUN / "bench" / name / "bin" / "python"


def _interpreter() -> str:
    """The gateway's own, so that none has a faster one; or one that fits the peers."""
    return str(Path(sys.executable).resolve()) if sys.version_info < (3, 13) else ">=3.11,<3.13"


def install() -> None:
    """Each peer's environment, from requirements/bench-<name>.txt with its hashes."""
    uv, interpreter = str(RUN / "tools" / "bin" / "uv"), _interpreter()
    for name in NAMES:
        folder, lock = RUN / "bench" / name, ROOT / "requirements" / f"bench-{name}.txt"
        stamp, wanted = folder / "installed.txt", f"{interpreter}\n{lock.read_text()}"
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        print(f"installing {name}", flush=True)
        environment = [uv, "venv", "--quiet", "--clear", "--no-project", "--python", interpreter]
        subprocess.run([*environment, str(folder)], check=True)
        sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python(name))]
        subprocess.run([*sync, str(lock)], check=True)
        stamp.write_text(wanted)
    try:
        perf_analyzer.installed()
    except (subprocess.SubprocessError, OSError) as error:
        print(f"without perf_analyzer: {error}", flush=True)


@contextmanager
def started(name: str, at: Addresses, jpeg: bytes) -> Iterator[Peer]:
    """The peer, once it answers. Raises StackError with the reason where it does not come to that."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        part = _PARTS[name](at, port, Path(folder))
        tensor, picture_of = _REQUESTS[name](jpeg)
        with running(part) as process:
            peer = Peer(name, _version(name), Address("127.0.0.1", port), process, tensor, picture_of)
            try:
                _wait(peer)
                yield peer
            finally:
                _stop(process)


def _stop(process: Process) -> None:
    """With all the processes that it started: not every peer ends its own."""
    started = (
        psutil.Process(process.popen.pid).children(recursive=True) if process.popen.poll() is None else []
    )
    process.stop()
    for child in started:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _wait(peer: Peer) -> None:
    """Returns once it does its work."""
    end = time.monotonic() + _READY_SECONDS
    problem = ""
    while time.monotonic() < end and peer.process.popen.poll() is None:
        try:
            problem = _refusal(peer)
        except OSError as error:
            problem = str(error)
        if not problem:
            return
        time.sleep(0.2)
    tail = peer.process.log.read_text()[-500:]
    raise StackError(f"{peer.name} does not answer: {problem}; its last words: {tail}")


def _refusal(peer: Peer) -> str:
    """What it says instead of an answer, to any of its requests; empty where there is nothing to say."""
    for request in filter(None, (peer.tensor, peer.jpeg)):
        connection = http.client.HTTPConnection(peer.address.host, peer.address.port, timeout=10)
        connection.request(request.method, request.path, request.body, dict(request.headers))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != http.client.OK:
            return f"{answer.status} {text[:300].decode(errors='replace')}"
    return ""


def _version(name: str) -> str:
    """What is installed, by the package's own word."""
    if name == "nginx":
        done = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True)
        return done.stderr.strip().rpartition("/")[2]
    script = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run([python(name), "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _environment(at: Addresses) -> Mapping[str, str]:
    return {
        "PYTHONPATH": str(_BENCHMARKS),
        "TRITON_GRPC": f"{at.triton_address}:{at.triton_grpc_port}",
        "BENTOML_DO_NOT_TRACK": "true",
    }


def _installed(name: str) -> str:
    if not python(name).exists():
        raise StackError(f"{name} is not installed: run `make bench-peers`")
    return str(python(name))


def _mlserver(at: Addresses, port: int, folder: Path) -> Part:
    program = _installed("mlserver")
    script = str(_BENCHMARKS / "peers" / "on_mlserver.py")
    subprocess.run(
        [program, script, str(folder), str(port)],
        check=True,
        env=dict(_environment(at)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return Part(
        "mlserver", [str(Path(program).with_name("mlserver")), "start", str(folder)], _environment(at)
    )


def _bentoml(at: Addresses, port: int, folder: Path) -> Part:
    program = _installed("bentoml")
    command = [program, "-m", "bentoml", "serve", "peers.on_bentoml:Forwarder", "--host", "127.0.0.1"]
    return Part("bentoml", [*command, "--port", str(port)], {**_environment(at), "BENTOML_HOME": str(folder)})


def _litserve(at: Addresses, port: int, _: Path) -> Part:
    script = str(_BENCHMARKS / "peers" / "on_litserve.py")
    return Part("litserve", [_installed("litserve"), script, str(port)], _environment(at))


def _kserve(at: Addresses, port: int, _: Path) -> Part:
    script = str(_BENCHMARKS / "peers" / "on_kserve.py")
    flags = ["--http_port", str(port), "--enable_grpc", "false", "--predictor_protocol", "grpc-v2"]
    predictor = ["--predictor_host", f"{at.triton_address}:{at.triton_grpc_port}"]
    return Part("kserve", [_installed("kserve"), script, *flags, *predictor], _environment(at))


_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream triton {{ server {triton}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://triton;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def _nginx(at: Addresses, port: int, folder: Path) -> Part:
    """A proxy that translates nothing, in front of Triton's HTTP: the floor."""
    if shutil.which("nginx") is None:
        raise StackError("there is no nginx: apt-get install nginx")
    triton = f"{at.triton_address}:{at.triton_http_port}"
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, triton=triton, port=port))
    return Part("nginx", ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf"), "-p", str(folder)])


_PARTS: Mapping[str, Callable[[Addresses, int, Path], Part]] = {
    "mlserver": _mlserver,
    "bentoml": _bentoml,
    "litserve": _litserve,
    "kserve": _kserve,
    "nginx": _nginx,
}


def _json(path: str, content: object) -> Request:
    return Request(path, json.dumps(content).encode(), {"Content-Type": JSON})


def _to_mlserver(jpeg: bytes) -> tuple[Request, Request]:
    text = base64.b64encode(jpeg).decode()
    about = {"shape": [1], "parameters": {"content_type": "base64"}}
    image = {"name": "image", "datatype": "BYTES", "data": [text], **about}
    tensor = json_tensor("tensor", "values", values(1, 64))
    return tensor, _json("/v2/models/picture/infer", {"inputs": [image]})


def _to_bentoml(jpeg: bytes) -> tuple[Request, Request]:
    return _json("/tensor", {"data": values(64).tolist()}), picture("/classify", jpeg)


def _to_litserve(jpeg: bytes) -> tuple[Request, Request]:
    text = base64.b64encode(jpeg).decode()
    return _json("/tensor", {"data": values(64).tolist()}), _json("/classify", {"image": text})


def _to_kserve(jpeg: bytes) -> tuple[Request, Request]:
    instances = [{"image": {"b64": base64.b64encode(jpeg).decode()}}]
    tensor = json_tensor(IDENTITY, "values", values(1, 64))
    return tensor, _json(f"/v1/models/{CLASSIFIER}:predict", {"instances": instances})


def _to_nginx(_: bytes) -> tuple[Request, None]:
    return json_tensor(IDENTITY, "values", values(1, 64)), None


_REQUESTS: Mapping[str, Callable[[bytes], tuple[Request, Request | None]]] = {
    "mlserver": _to_mlserver,
    "bentoml": _to_bentoml,
    "litserve": _to_litserve,
    "kserve": _to_kserve,
    "nginx": _to_nginx,
}


if __name__ == "__main__":
    install()
    sys.exit(0)
