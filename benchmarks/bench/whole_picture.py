"""A picture to its answer on the true architectures, one at a time: by the gateway, and by programs that do without it.

The near-empty networks of the bench show what the way costs; here is what that is beside a real network's arithmetic.
With random weights YOLOv8n finds nothing, so there is nothing to suppress.
"""

from collections.abc import Callable, Mapping
from contextlib import closing

from connection import Address
from figures import table
from processes import RunningStack

from bench import clients
from bench.contestants import Pace, Rows, Take, by_client, by_http
from bench.figures_of import Row
from bench.networks import Network
from bench.requests import Request, photo, picture
from bench.targets import GRPC_CLIENT, JSON_CLIENT
from bench.turns import Generator

RESNET = Network("resnet50_pytorch", "UINT8", "logits__0")
YOLO = Network("yolov8_tensorrt", "UINT8", "output0")
GATEWAY = "gateway"

Programs = Mapping[str, tuple[Callable[..., clients.Made], Address]]
"""Clients that prepare pictures themselves, and where Triton answers them."""


def measured(stack: RunningStack, pace: Pace) -> None:
    """Prints a table for each of the two; who dropped out is named below them."""
    http = Address(stack.at.triton_address, stack.at.triton_http_port)
    grpc = Address(stack.at.triton_address, stack.at.triton_grpc_port)
    classify: Programs = {
        JSON_CLIENT: (clients.classify_by_json, http),
        GRPC_CLIENT: (clients.classify_by_grpc, grpc),
    }
    detect: Programs = {GRPC_CLIENT: (clients.detect_by_grpc, grpc)}
    with closing(Generator()) as generator:
        for title, path, jpeg, network, programs in (
            ("A photograph of 640 x 480 to five labels", "/v1/classify", photo(640, 480), RESNET, classify),
            ("A scene of 1280 x 720 to boxes", "/v1/detect", photo(1280, 720), YOLO, detect),
        ):
            request = picture(f"{path}?model={network.name}", jpeg).with_key(stack.key)
            takes = _contestants(stack, generator, request, network, programs)
            _print(f"{title}, `{network.name}`", pace.by_turns(network.name, takes))
    for name, reason in pace.failures.items():
        print(f"\nNot measured: {name}: {reason}")


def _contestants(
    stack: RunningStack, generator: Generator, request: Request, network: Network, programs: Programs
) -> dict[str, Take]:
    triton = {"triton": stack.triton.popen.pid}
    address = Address(stack.at.gateway_host, stack.at.gateway_port)
    watched = {**triton, "server": stack.gateway.popen.pid}
    takes = {GATEWAY: by_http(generator, address, request, watched, 1)}
    for name, (make, where) in programs.items():
        takes[name] = by_client(generator, triton, make, where, request.body, network, in_flight=1)
    return takes


def _print(title: str, rows: Rows) -> None:
    found = {name: Row(turns) for name, turns in rows.items()}
    alone = found.get(GRPC_CLIENT, Row([])).p50
    columns = ["", "p50", "to the gRPC client's", "CPU us a picture: gateway", "Triton", "client"]
    row = table(title, columns)
    for name, figures in found.items():
        each = [f"{figures.cpu(part):.0f}" for part in ("server", "triton", "client")]
        row(name, f"{figures.p50:.1f} ms", f"{figures.p50 / alone:.2f}x", *each)
