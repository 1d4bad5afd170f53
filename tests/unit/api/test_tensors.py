"""Where a body of tensors is worked on: what may be large goes to a thread, so that the event loop answers others."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.api.body import BodyReader
from gateway.api.context import Context, HttpRequest, KnownRequest, attach
from gateway.api.tensors import TensorBounds, TensorIntake
from gateway.domain import ServedModel, TensorSpec
from gateway.errors import BodyTooLarge, Overloaded
from gateway.pool import WorkerPool
from gateway.telemetry.timeline import Timeline
from gateway.translate import generate

MIB = 1024 * 1024
MODEL = ServedModel(
    "m", ("1",), 0, (TensorSpec("n", "INT32", (-1,)),), (TensorSpec("out", "FP32", (1,)),), {}
)
BUSY = pytest.raises(Overloaded, match="waiting to be translated")


@pytest.fixture
async def intake() -> AsyncIterator[TensorIntake]:
    """With a pool that has no place left, so that what needs a thread is refused."""
    gate = threading.Event()
    nobody: Any = None
    with WorkerPool(threads=1, queue=0) as pool:
        held = asyncio.create_task(pool.run(gate.wait))
        await asyncio.sleep(0)
        bodies = BodyReader(limit=MIB, budget=64 * MIB, seconds=1)
        yield TensorIntake(
            bodies, nobody, nobody, nobody, pool, nobody, TensorBounds(body=32 * MIB, json=MIB, image=nobody)
        )
        gate.set()
        await held


def request(body: bytes, coding: str) -> HttpRequest:
    scope: Any = {"type": "http", "headers": [(b"content-encoding", coding.encode())]}
    attach(scope, Context("id", 0.0, Timeline(lambda: 0.0)))

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return KnownRequest(scope, receive)


async def test_what_is_packed_is_unpacked_on_a_thread_however_small_it_is(intake: TensorIntake) -> None:
    packed = gzip.compress(bytes(32 * MIB))
    assert len(packed) < 64 * 1024
    with BUSY:
        async with intake.read(request(packed, "gzip")):
            pass
    async with intake.read(request(packed, "identity")) as body:
        assert body == packed


async def test_small_json_is_read_at_once_and_large_json_on_a_thread(intake: TensorIntake) -> None:
    async def read(numbers: int) -> int:
        body = b'{"n": [' + b"7," * (numbers - 1) + b"7]}"
        asked = await intake.from_json(len(body), generate.parse, body, MODEL)
        return asked.inputs[0].shape[0]

    assert await read(3) == 3
    with BUSY:
        await read(50_000)
    with pytest.raises(BodyTooLarge, match="binary data"):
        await read(MIB)
