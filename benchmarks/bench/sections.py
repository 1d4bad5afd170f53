"""What is measured, section by section; every answer is plain data that the report is written from."""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx
import perf_analyzer
import psutil
from connection import Address

from bench import clients, drives, quota, turns
from bench.contestants import Pace, Rows, Take, by_client, by_http
from bench.field import Field, Gateway
from bench.networks import CLASSIFIER, DETECTOR, DETECTORS, IDENTITY, SIDE, UINT8, Network
from bench.requests import Request, binary_tensor, json_tensor, picture, values
from bench.turns import TurnFailed, Watched

ON, OFF = "gateway, everything on", "gateway, all off"
HALF_A_CORE, NO_QUOTA = "half a core each", "no quota"
_PEERS_TOGETHER = 4  # pictures in flight where peers take their turns too
_MEMORY_SECONDS = 300  # whoever is slower has shown enough by then


def _http_paced(field: Field, address: Address, request: Request, watched: Watched, rate: float) -> Take:
    return lambda seconds: field.generator.turn(
        *(drives.http, address, request.raw(), seconds), watched=watched, seconds=seconds, rate=rate
    )


def _wrk(address: Address, request: Request, watched: Watched, in_flight: int) -> Take:
    return lambda seconds: turns.wrk(address, request, in_flight, seconds, watched)


def _grpc(field: Field, way: str, **load: Any) -> Take:
    target = f"{field.triton_grpc.host}:{field.triton_grpc.port}"
    array = values(1, 64)
    return lambda seconds: field.generator.turn(
        *(drives.triton, way, target, IDENTITY, "values", array, seconds),
        watched=field.watched(),
        seconds=seconds,
        **load,
    )


def calibration(field: Field, pace: Pace) -> Rows:
    """What grpc.aio's unary call costs on this core: bytes, the protobuf stub, tritonclient."""
    ways = ("raw", "stub", "tritonclient")
    return pace.by_turns("calibration", {way: _grpc(field, way, in_flight=pace.in_flight) for way in ways})


def _tensor_contestants(field: Field) -> dict[str, tuple[Address, Request, Watched]]:
    """Everyone who takes 64 floats over HTTP, in their own format."""
    as_json = json_tensor(IDENTITY, "values", values(1, 64))
    binary = binary_tensor(IDENTITY, "values", values(1, 64))
    on = field.watched(field.on.pid, redis=True)
    found = {
        ON: (field.on.address, binary.with_key(field.key), on),
        f"{ON}, JSON": (field.on.address, as_json.with_key(field.key), on),
        "Triton HTTP": (field.triton_http, binary, field.watched()),
        "Triton HTTP, JSON": (field.triton_http, as_json, field.watched()),
    }
    if field.off is not None:
        found[OFF] = (field.off.address, binary, field.watched(field.off.pid))
    for peer in field.peers:
        watched = field.watched(peer.process.popen.pid)
        found[peer.name] = (peer.address, peer.tensor, watched)
    return found


def tensor(field: Field, pace: Pace) -> Rows:
    """16 in flight, by wrk; Triton's gRPC by grpc.aio, which reaches its own limit first."""
    takes = {name: _wrk(*of, pace.in_flight) for name, of in _tensor_contestants(field).items()}
    takes["Triton gRPC"] = _grpc(field, "raw", in_flight=pace.in_flight)
    return pace.by_turns("tensor", takes)


def tensor_paced(field: Field, pace: Pace) -> Rows:
    """The same at a fixed rate, in an open loop."""
    takes = {name: _http_paced(field, *of, pace.rate) for name, of in _tensor_contestants(field).items()}
    takes["Triton gRPC"] = _grpc(field, "raw", rate=pace.rate)
    return pace.by_turns("tensor, paced", takes)


def added(field: Field, pace: Pace) -> dict[str, Any]:
    """Latency at half of the gateway's saturation, beside Triton's own gRPC at the same rate."""
    address, request, watched = _tensor_contestants(field)[ON]
    most = turns.wrk(address, request, pace.in_flight, pace.seconds, watched).rate
    takes = {
        ON: _http_paced(field, address, request, watched, most / 2),
        "Triton gRPC": _grpc(field, "raw", rate=most / 2),
    }
    return {"rate": most / 2, "rows": pace.by_turns("added", takes)}


def json(field: Field, pace: Pace) -> Rows:
    """1x3x224x224 floats as JSON, one at a time."""
    request = json_tensor(CLASSIFIER, "images", values(1, 3, SIDE, SIDE))
    on = field.watched(field.on.pid, redis=True)
    return pace.by_turns(
        "json-tensor",
        {
            ON: by_http(field.generator, field.on.address, request.with_key(field.key), on, 1),
            "Triton HTTP": by_http(field.generator, field.triton_http, request, field.watched(), 1),
        },
    )


def jpeg(field: Field, pace: Pace) -> dict[str, Rows]:
    """A photograph to labels, at each concurrency."""
    return {
        str(many): pace.by_turns(f"jpeg at {many}", _jpeg_contestants(field, many)) for many in pace.together
    }


def _jpeg_contestants(field: Field, many: int) -> dict[str, Take]:
    on = field.watched(field.on.pid, redis=True)
    sent = {
        name: picture(f"/v1/classify?model={model}", field.photo).with_key(field.key)
        for name, model in (("gateway", CLASSIFIER), ("gateway, uint8 network", CLASSIFIER + UINT8))
    }
    takes = {
        name: by_http(field.generator, field.on.address, request, on, many) for name, request in sent.items()
    }
    ways = {
        "client, JSON to Triton HTTP": (clients.classify_by_json, field.triton_http),
        "client, binary to Triton HTTP": (clients.classify_by_binary, field.triton_http),
        "client, Triton gRPC": (clients.classify_by_grpc, field.triton_grpc),
    }
    network = Network(CLASSIFIER, "FP32")
    for name, (make, where) in ways.items():
        takes[name] = by_client(
            field.generator, field.watched(), make, where, field.photo, network, in_flight=many
        )
    for peer in field.peers if many == _PEERS_TOGETHER else ():
        if peer.jpeg is not None:
            watched = field.watched(peer.process.popen.pid)
            takes[peer.name] = by_http(field.generator, peer.address, peer.jpeg, watched, many)
    return takes


def detect(field: Field, pace: Pace) -> Rows:
    """A scene to boxes, one at a time."""
    on = field.watched(field.on.pid, redis=True)
    sent = {
        name: picture(f"/v1/detect?model={model}", field.scene).with_key(field.key)
        for name, model in (("gateway, float", DETECTOR), ("gateway, uint8", DETECTOR + UINT8))
    }
    takes = {
        name: by_http(field.generator, field.on.address, request, on, 1) for name, request in sent.items()
    }
    for name, network in DETECTORS.items():
        arguments = (field.triton_grpc, field.scene, network)
        takes[f"client, Triton gRPC, {name}"] = by_client(
            field.generator, field.watched(), clients.detect_by_grpc, *arguments, in_flight=1
        )
    return pace.by_turns("detect", takes)


def transport(field: Field, pace: Pace) -> Rows:
    """The detector's tensors to Triton and back, straight."""
    grpc = {
        f"gRPC, {name}": by_client(
            field.generator, field.watched(), clients.transport, field.triton_grpc, network, in_flight=1
        )
        for name, network in DETECTORS.items()
    }
    memory = by_client(
        field.generator, field.watched(), clients.transport_in_memory, field.triton_grpc, in_flight=1
    )
    return pace.by_turns("transport", {**grpc, "system shared memory, float": memory})


def everything(field: Field, pace: Pace) -> dict[str, Rows]:
    """Everything on against all off."""
    found = _tensor_contestants(field)
    tensors = {name: _wrk(*found[name], pace.in_flight) for name in (ON, OFF) if name in found}
    request = picture(f"/v1/classify?model={CLASSIFIER}", field.photo)
    on = field.watched(field.on.pid, redis=True)
    pictures = {ON: by_http(field.generator, field.on.address, request.with_key(field.key), on, 4)}
    if field.off is not None:
        pictures[OFF] = by_http(field.generator, field.off.address, request, field.watched(field.off.pid), 4)
    return {
        "tensor": pace.by_turns("everything on, tensor", tensors),
        "jpeg": pace.by_turns("everything on, jpeg", pictures),
    }


def workers(field: Field, pace: Pace) -> dict[str, Rows]:
    """One worker and two on pictures: each with half a core, which leaves cores free, and without a quota."""
    request = picture(f"/v1/classify?model={CLASSIFIER}", field.photo).with_key(field.key)
    gateways = (field.on, field.pair)
    takes = {
        str(gateway.workers): by_http(
            field.generator, gateway.address, request, field.watched(gateway.pid, redis=True), pace.in_flight
        )
        for gateway in gateways
    }
    found = {NO_QUOTA: pace.by_turns("workers", takes)}
    try:
        with ExitStack() as exits:
            for gateway in gateways:
                exits.enter_context(quota.held_to(gateway.workers / 2, gateway.pid))
            found[HALF_A_CORE] = pace.by_turns("workers with a quota", takes)
    except OSError as error:
        pace.failures["workers with a quota"] = str(error)
    return found


def memory(field: Field, requests: int) -> dict[str, Any]:
    """Resident MB of the only worker, after each of ten parts of so many requests."""
    address, request, watched = _tensor_contestants(field)[ON]
    sizes, done = [_resident(field.on)], 0
    end = time.monotonic() + _MEMORY_SECONDS
    while done < requests and time.monotonic() < end:
        part = 0
        while part < requests / 10 and time.monotonic() < end:
            part += turns.wrk(address, request, 16, 4.0, watched).requests
        done += part
        sizes.append(_resident(field.on))
    return {"requests": done, "megabytes": sizes}


def _resident(gateway: Gateway) -> float:
    """Of the process that answers: the largest, where the supervisor has workers."""
    root = psutil.Process(gateway.pid)
    return float(max(p.memory_info().rss for p in (root, *root.children(recursive=True)))) / 1e6


def batches(field: Field, pace: Pace) -> dict[str, float]:
    """Images in a batch of a model that takes 40 ms for one and 2 ms for each image, 64 in flight.

    perf_analyzer is fetched by name, so it is left out where that cannot be done, and grpc.aio says the same.
    """
    seconds = 4 * pace.seconds / 3
    body = drives.noise(1, 1, 8, 8, datatype="uint8")
    request = binary_tensor("slow", "images", body).with_key(field.key)
    target = f"{field.triton_grpc.host}:{field.triton_grpc.port}"
    takes: dict[str, Callable[[float], object]] = {
        "gateway": by_http(field.generator, field.on.address, request, field.watched(), 64),
        "Triton gRPC": lambda seconds: field.generator.turn(
            *(drives.triton, "raw", target, "slow", "images", body, seconds),
            watched=field.watched(),
            seconds=seconds,
            in_flight=64,
        ),
    }
    found = {}
    if pace.warm_up:
        takes["perf_analyzer"] = lambda _: perf_analyzed(field)
    for name, take in takes.items():
        before = executed(field, "slow")
        try:
            take(seconds)
        except (TurnFailed, RuntimeError, OSError, subprocess.SubprocessError) as error:
            pace.failures[f"batches: {name}"] = str(error)[:300]
            continue
        inputs, executions = (b - a for a, b in zip(before, executed(field, "slow"), strict=True))
        found[name] = inputs / executions
    return found


def perf_analyzed(field: Field) -> None:
    """64 calls in flight for some seconds, by perf_analyzer over gRPC."""
    tool, environment = perf_analyzer.installed()
    target = f"{field.triton_grpc.host}:{field.triton_grpc.port}"
    command = [str(tool), "-m", "slow", "-u", target, "-i", "grpc", "--concurrency-range", "64"]
    subprocess.run(
        [*command, "--measurement-interval", "2000", "--stability-percentage", "100", "--max-trials", "3"],
        env={**os.environ, **environment},
        timeout=60,
        check=True,
        capture_output=True,
    )


def executed(field: Field, model: str) -> tuple[int, int]:
    """Inputs and executions so far, as Triton counts them."""
    url = f"http://{field.triton_http.host}:{field.triton_http.port}/v2/models/{model}/stats"
    entries = httpx.get(url, trust_env=False, timeout=10).json()["model_stats"]
    return sum(e["inference_count"] for e in entries), sum(e["execution_count"] for e in entries)
