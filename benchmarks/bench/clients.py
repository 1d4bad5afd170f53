"""Clients that prepare pictures themselves and talk to Triton, written as most programs that do so are.

They are contestants and generators in one: their own CPU time is part of what a picture costs.
"""

import http.client
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from bench.networks import CLASSIFIER, DETECTOR, DETECTOR_SIDE, UINT8
from bench.turns import Work
from connection import Address
from numpy.typing import NDArray
from peers.boxes import found, letterboxed
from peers.preprocessing import best, tensor
from tritonclient.utils import shared_memory

Ask = Callable[[], object]


def classify_by_json(triton: Address, jpeg: bytes) -> Ask:
    """The tensor as a list of numbers in JSON, over HTTP."""
    connection = http.client.HTTPConnection(triton.host, triton.port, timeout=60)

    def ask() -> object:
        array = tensor(jpeg)
        inputs = {"name": "images", "datatype": "FP32", "shape": array.shape, "data": array.ravel().tolist()}
        connection.request("POST", f"/v2/models/{CLASSIFIER}/infer", json.dumps({"inputs": [inputs]}))
        answer = json.loads(connection.getresponse().read())
        return best(np.array(answer["outputs"][0]["data"], np.float32))

    return ask


def classify_by_binary(triton: Address, jpeg: bytes) -> Ask:
    """Triton's own HTTP client, with the binary extension."""
    client = tritonclient.http.InferenceServerClient(f"{triton.host}:{triton.port}")
    return _classify(client, tritonclient.http, jpeg)


def classify_by_grpc(triton: Address, jpeg: bytes) -> Ask:
    """Triton's own gRPC client."""
    client = tritonclient.grpc.InferenceServerClient(f"{triton.host}:{triton.port}")
    return _classify(client, tritonclient.grpc, jpeg)


def _classify(client: Any, library: Any, jpeg: bytes) -> Ask:
    def ask() -> object:
        array = tensor(jpeg)
        images = library.InferInput("images", array.shape, "FP32")
        images.set_data_from_numpy(array)
        return best(client.infer(CLASSIFIER, [images]).as_numpy("scores")[0])

    return ask


def detect_by_grpc(triton: Address, jpeg: bytes, datatype: str = "FP32") -> Ask:
    """Letterbox, gRPC, suppression of overlaps."""
    client = tritonclient.grpc.InferenceServerClient(f"{triton.host}:{triton.port}")
    model = DETECTOR if datatype == "FP32" else DETECTOR + UINT8

    def ask() -> object:
        array, scale, left, top = letterboxed(jpeg, datatype)
        images = tritonclient.grpc.InferInput("images", array.shape, datatype)
        images.set_data_from_numpy(array)
        answer = client.infer(model, [images]).as_numpy("scores")[0]
        return found(answer, scale, left, top)

    return ask


def detect_by_grpc_uint8(triton: Address, jpeg: bytes) -> Ask:
    return detect_by_grpc(triton, jpeg, "UINT8")


def transport(triton: Address, way: str) -> Ask:
    """The detector's tensors there and back and nothing else: `float`, `uint8`, or float in `shared` memory."""
    client = tritonclient.grpc.InferenceServerClient(f"{triton.host}:{triton.port}")
    array = _pixels("UINT8" if way == "uint8" else "FP32")
    datatype = "UINT8" if way == "uint8" else "FP32"
    images = tritonclient.grpc.InferInput("images", array.shape, datatype)
    model = DETECTOR + UINT8 if way == "uint8" else DETECTOR
    if way == "shared":
        return _shared(client, model, images, array)

    def ask() -> object:
        images.set_data_from_numpy(array)
        return client.infer(model, [images]).as_numpy("scores")

    return ask


def _pixels(datatype: str) -> NDArray[Any]:
    shape = (1, 3, DETECTOR_SIDE, DETECTOR_SIDE)
    source = np.random.default_rng(0)
    if datatype == "UINT8":
        return source.integers(0, 256, shape, np.uint8)
    return source.random(shape, np.float32)


def _shared(client: Any, model: str, images: Any, array: NDArray[Any]) -> Ask:
    """Both tensors in system shared memory; the pixels are written anew for each call, the answer is read in place."""
    shape = (1, 84, 8400)
    size = int(np.prod(shape)) * 4
    regions = {}
    for name, length in (("bench_in", array.nbytes), ("bench_out", size)):
        with suppress(Exception):  # what an earlier run left
            client.unregister_system_shared_memory(name)
        regions[name] = shared_memory.create_shared_memory_region(name, f"/{name}", length)
        client.register_system_shared_memory(name, f"/{name}", length)
    images.set_shared_memory("bench_in", array.nbytes)
    scores = tritonclient.grpc.InferRequestedOutput("scores")
    scores.set_shared_memory("bench_out", size)

    def ask() -> object:
        shared_memory.set_shared_memory_region(regions["bench_in"], [array])
        client.infer(model, [images], outputs=[scores])
        return shared_memory.get_contents_as_numpy(regions["bench_out"], np.float32, shape)

    return ask


def client(make: Callable[..., Ask], arguments: tuple[object, ...], in_flight: int, seconds: float) -> Work:
    """So many such clients, a thread each, as a program that has several pictures at once would do it."""

    def loop(ask: Ask, end: float) -> list[float]:
        latencies = []
        while (began := time.monotonic()) < end:
            ask()
            latencies.append(time.monotonic() - began)
        return latencies

    def one(_: int) -> list[float]:
        ask = make(*arguments)
        ask()
        return loop(ask, time.monotonic() + seconds)

    def work() -> tuple[list[float], float]:
        with ThreadPoolExecutor(in_flight) as threads:
            latencies = [each for found in threads.map(one, range(in_flight)) for each in found]
        return latencies, seconds

    return work
