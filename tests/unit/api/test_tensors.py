"""Where a body of tensors is worked on: what may be large goes to a thread, so that the event loop answers others."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.api.body import BodyReader
from gateway.api.context import Context, HttpRequest, KnownRequest, attach
from gateway.api.tensors import TensorIntake
from gateway.errors import Overloaded
from gateway.pool import WorkerPool
from gateway.telemetry.timeline import Timeline

MIB = 1024 * 1024
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
        yield TensorIntake(bodies, nobody, nobody, nobody, pool, nobody, limit=32 * MIB, json_limit=MIB)
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
