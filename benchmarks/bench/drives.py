"""Ways to make load: HTTP requests made beforehand, and Triton's gRPC with messages made beforehand or by its clients.

Each answers the work of one turn, to be done in the generator's process (`turns.turn`).
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc.aio
import uvloop
from connection import Address
from figures import OK
from load import Closed, Load, Open, arrivals, generate
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, service_pb2, service_pb2_grpc

from bench.turns import TurnFailed, Work

METHOD = "/inference.GRPCInferenceService/ModelInfer"
_LARGEST = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]

Call = Callable[[], Awaitable[object]]


def http(address: Address, request: bytes, seconds: float, *, in_flight: int = 0, rate: float = 0.0) -> Work:
    """So many clients in a closed loop, or an open one at this rate."""
    stream = Closed("all", request, in_flight) if in_flight else Open("all", request, rate)

    def work() -> tuple[list[float], float]:
        load = Load(address, [stream], seconds)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            samples = runner.run(generate(load, lambda _: None))
        if bad := [sample.status for sample in samples if sample.status != OK]:
            raise TurnFailed(f"{len(bad)} of {len(samples)} answers are no success, for instance {bad[0]}")
        return [sample.latency for sample in samples], max(sample.due + sample.latency for sample in samples)

    return work


def message(model: str, name: str, array: NDArray[Any]) -> service_pb2.ModelInferRequest:
    """What Triton's gRPC takes, with the tensor raw."""
    datatype = {"float32": "FP32", "uint8": "UINT8"}[str(array.dtype)]
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=array.shape)
    return service_pb2.ModelInferRequest(
        model_name=model, inputs=[tensor], raw_input_contents=[array.tobytes()]
    )


@asynccontextmanager
async def calls(way: str, target: str, model: str, name: str, array: NDArray[Any]) -> Any:
    """One call to Triton: `raw` sends bytes, `stub` makes a message each time, `tritonclient` all of its objects."""
    if way == "tritonclient":
        async with tritonclient.grpc.aio.InferenceServerClient(target) as client:
            yield lambda: _by_client(client, model, name, array)
        return
    async with grpc.aio.insecure_channel(target, options=_LARGEST) as channel:
        if way == "raw":
            data = message(model, name, array).SerializeToString()
            unary: Any = channel.unary_unary(METHOD)
            yield lambda: unary(data)
        else:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            yield lambda: stub.ModelInfer(message(model, name, array))


async def _by_client(client: Any, model: str, name: str, array: NDArray[Any]) -> object:
    tensor = InferInput(name, array.shape, "FP32")
    tensor.set_data_from_numpy(array)
    answer = await client.infer(model, [tensor])
    return answer.as_numpy("same")


def triton(
    way: str,
    target: str,
    model: str,
    name: str,
    array: NDArray[Any],
    seconds: float,
    *,
    in_flight: int = 0,
    rate: float = 0.0,
) -> Work:
    """Calls to Triton itself, by one of the ways of `calls`."""

    async def run() -> tuple[list[float], float]:
        async with calls(way, target, model, name, array) as call:
            await call()
            began = time.monotonic()
            load = _closed(call, in_flight, seconds) if in_flight else _open(call, rate, seconds)
            return await load, time.monotonic() - began

    def work() -> tuple[list[float], float]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run())

    return work


async def _closed(call: Call, in_flight: int, seconds: float) -> list[float]:
    end = time.monotonic() + seconds
    latencies: list[float] = []

    async def client() -> None:
        while (began := time.monotonic()) < end:
            await call()
            latencies.append(time.monotonic() - began)

    await asyncio.gather(*(client() for _ in range(in_flight)))
    return latencies


async def _open(call: Call, rate: float, seconds: float) -> list[float]:
    """Latencies from when each call was due, as in `load.py`."""
    begins = time.monotonic()
    latencies: list[float] = []

    async def one(due: float) -> None:
        await call()
        latencies.append(time.monotonic() - begins - due)

    async with asyncio.TaskGroup() as group:
        for due in arrivals(Open("all", b"", rate), seconds, random.Random("1 all")):
            if (early := begins + due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            group.create_task(one(due))
    return latencies


def noise(*shape: int, datatype: str = "float32") -> NDArray[Any]:
    """An input of this shape."""
    source = np.random.default_rng(2)
    if datatype == "uint8":
        return source.integers(0, 256, shape, np.uint8)
    return source.normal(size=shape).astype(np.float32)
