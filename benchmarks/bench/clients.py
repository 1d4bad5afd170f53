"""Clients that prepare pictures themselves and talk to Triton, written as most programs that do so are.

They are contestants and generators in one: their own CPU time is part of what a picture costs.
"""

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from connection import Address
from numpy.typing import NDArray
from peers.boxes import found, letterboxed
from peers.preprocessing import best, tensor
from tritonclient.utils import InferenceServerException, shared_memory

from bench.networks import ANCHORS, DETECTOR_SIDE, DETECTORS, THINGS, Network
from bench.turns import Work

Ask = Callable[[], object]
Made = AbstractContextManager[Ask]


@contextmanager
def classify_by_json(triton: Address, jpeg: bytes, network: Network) -> Iterator[Ask]:
    """The tensor as a list of numbers in JSON, over HTTP."""

    def ask() -> object:
        array = tensor(jpeg, network.datatype)
        about = {"name": "images", "datatype": network.datatype, "shape": array.shape}
        body = json.dumps({"inputs": [{**about, "data": array.ravel().tolist()}]})
        connection.request("POST", f"/v2/models/{network.name}/infer", body)
        answer = json.loads(connection.getresponse().read())
        return best(np.array(answer["outputs"][0]["data"], np.float32))

    with closing(http.client.HTTPConnection(triton.host, triton.port, timeout=60)) as connection:
        yield ask


def classify_by_binary(triton: Address, jpeg: bytes, network: Network) -> Made:
    """Triton's own HTTP client, with the binary extension."""
    return _classify(tritonclient.http, triton, jpeg, network)


def classify_by_grpc(triton: Address, jpeg: bytes, network: Network) -> Made:
    """Triton's own gRPC client."""
    return _classify(tritonclient.grpc, triton, jpeg, network)


@contextmanager
def _classify(library: Any, triton: Address, jpeg: bytes, network: Network) -> Iterator[Ask]:
    def ask() -> object:
        array = tensor(jpeg, network.datatype)
        images = library.InferInput("images", array.shape, network.datatype)
        images.set_data_from_numpy(array)
        return best(client.infer(network.name, [images]).as_numpy(network.output)[0])

    with closing(library.InferenceServerClient(f"{triton.host}:{triton.port}")) as client:
        yield ask


@contextmanager
def detect_by_grpc(triton: Address, jpeg: bytes, network: Network) -> Iterator[Ask]:
    """Letterbox, gRPC, suppression of overlaps."""

    def ask() -> object:
        array, scale, left, top = letterboxed(jpeg, network.datatype)
        images = tritonclient.grpc.InferInput("images", array.shape, network.datatype)
        images.set_data_from_numpy(array)
        answer = client.infer(network.name, [images]).as_numpy(network.output)[0]
        return found(answer, scale, left, top)

    with _grpc(triton) as client:
        yield ask


@contextmanager
def transport(triton: Address, network: Network) -> Iterator[Ask]:
    """The detector's tensors there and back over gRPC, and nothing else."""
    array = _pixels(network.datatype)
    images = tritonclient.grpc.InferInput("images", array.shape, network.datatype)

    def ask() -> object:
        images.set_data_from_numpy(array)
        return client.infer(network.name, [images]).as_numpy(network.output)

    with _grpc(triton) as client:
        yield ask


@contextmanager
def transport_in_memory(triton: Address) -> Iterator[Ask]:
    """The same floats in system shared memory: written anew for each call, the answer read in place."""
    network = DETECTORS["float"]
    array, shape = _pixels(network.datatype), (1, 4 + THINGS, ANCHORS)
    images = tritonclient.grpc.InferInput("images", array.shape, network.datatype)
    scores = tritonclient.grpc.InferRequestedOutput(network.output)
    size = int(np.prod(shape)) * array.itemsize

    def ask() -> object:
        shared_memory.set_shared_memory_region(source, [array])
        client.infer(network.name, [images], outputs=[scores])
        return shared_memory.get_contents_as_numpy(target, np.float32, shape)

    with (
        _grpc(triton) as client,
        _region(client, "bench_in", array.nbytes) as source,
        _region(client, "bench_out", size) as target,
    ):
        images.set_shared_memory("bench_in", array.nbytes)
        scores.set_shared_memory("bench_out", size)
        yield ask


def _grpc(triton: Address) -> AbstractContextManager[Any]:
    return closing(tritonclient.grpc.InferenceServerClient(f"{triton.host}:{triton.port}"))


@contextmanager
def _region(client: Any, name: str, size: int) -> Iterator[Any]:
    """Shared memory that Triton knows by this name."""
    key = f"/{name}_{os.getpid()}"
    region = shared_memory.create_shared_memory_region(name, key, size)
    client.register_system_shared_memory(name, key, size)
    try:
        yield region
    finally:
        _unregister(client, name)
        shared_memory.destroy_shared_memory_region(region)


def _unregister(client: Any, name: str) -> None:
    """Triton may hold on to the memory for a moment after its answer."""
    for _ in range(100):
        try:
            client.unregister_system_shared_memory(name)
        except InferenceServerException:
            time.sleep(0.02)
        else:
            return


def _pixels(datatype: str) -> NDArray[Any]:
    shape = (1, 3, DETECTOR_SIDE, DETECTOR_SIDE)
    source = np.random.default_rng(0)
    if datatype == "UINT8":
        return source.integers(0, 256, shape, np.uint8)
    return source.random(shape, np.float32)


def threads(make: Callable[..., Made], arguments: tuple[object, ...], in_flight: int, seconds: float) -> Work:
    """So many such clients, a thread each, as a program that has several pictures at once would do it."""

    def one(_: int) -> list[float]:
        latencies = []
        with make(*arguments) as ask:
            ask()
            end = time.monotonic() + seconds
            while (began := time.monotonic()) < end:
                ask()
                latencies.append(time.monotonic() - began)
        return latencies

    def work() -> tuple[list[float], float]:
        began = time.monotonic()
        with ThreadPoolExecutor(in_flight) as pool:
            latencies = [each for some in pool.map(one, range(in_flight)) for each in some]
        return latencies, time.monotonic() - began

    return work
