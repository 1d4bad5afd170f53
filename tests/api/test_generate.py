"""Streams over a fake Triton: what its failures come to."""

import asyncio

import grpc
import httpx
from exposition import Exposition
from support.fake_triton import FakeTriton, failing


async def test_a_stream_of_a_model_whose_process_died_is_told_of_as_any_call(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    triton.infer = failing(grpc.StatusCode.INTERNAL, "Stub process 'pets_0_0' is not healthy.")
    reply = await gateway.post("/v2/models/pets/generate_stream", json={"images": [0] * 192})
    assert reply.status_code == 503
    assert list(reply.json()) == ["error"]
    async with asyncio.timeout(10):
        while not Exposition((await gateway.get("/metrics")).text).total(
            "gateway_model_healing_total", model="pets", outcome="found"
        ):
            await asyncio.sleep(0.05)
