"""Streams over a fake Triton: what its failures come to."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio
import httpx
import numpy as np
import pytest
from exposition import Exposition
from support.fake_triton import FakeTriton, Request, Response, answer, decoupled, failing


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


@pytest.mark.parametrize("path", ["generate", "generate_stream"])
async def test_what_a_model_that_answers_once_refuses_is_the_callers_to_mend(
    gateway: httpx.AsyncClient, triton: FakeTriton, path: str
) -> None:
    triton.infer = failing(grpc.StatusCode.INVALID_ARGUMENT, "prompt too long: 5000 > 4096")
    reply = await gateway.post(f"/v2/models/pets/{path}", json={"images": [0] * 192})
    assert reply.status_code == 400, reply.text
    assert "The model refuses these tensors: prompt too long: 5000 > 4096" in reply.json()["error"]


async def test_a_stream_that_its_caller_gave_too_little_time_says_nothing_of_the_version(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    await tell(gateway, triton, lambda _: asyncio.sleep(1))
    reply = await gateway.post(
        "/v2/models/teller/generate_stream", json={"images": [0] * 192}, headers={"x-request-timeout": "500"}
    )
    assert reply.status_code == 200, reply.text
    events = reply.text.strip().split("\n\n")
    assert ["error" in event for event in events] == [False, True]
    metrics = Exposition((await gateway.get("/metrics")).text)
    assert metrics.total("gateway_attempts_total", model="teller", outcome="ok") == 1
    assert metrics.total("gateway_attempts_total", model="teller", outcome="error") == 0


async def test_a_stream_that_breaks_off_counts_once_and_as_a_failure(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    await tell(gateway, triton, lambda call: call.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed"))
    reply = await gateway.post("/v2/models/teller/generate_stream", json={"images": [0] * 192})
    events = reply.text.strip().split("\n\n")
    assert ["error" in event for event in events] == [False, True]
    metrics = Exposition((await gateway.get("/metrics")).text)
    assert metrics.total("gateway_attempts_total", model="teller") == 1
    assert metrics.total("gateway_attempts_total", model="teller", outcome="error") == 1


async def test_a_caller_who_leaves_between_two_answers_is_noticed_at_once(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    began, over = asyncio.Event(), asyncio.Event()

    async def stuck(_: grpc.aio.ServicerContext) -> None:
        began.set()
        await over.wait()

    await tell(gateway, triton, stuck)
    call = asyncio.create_task(gateway.post("/v2/models/teller/generate", json={"images": [0] * 192}))
    await began.wait()
    call.cancel()
    await until_counted(gateway, "gateway_requests_total", model="teller", code="499")
    over.set()


async def tell(
    gateway: httpx.AsyncClient,
    triton: FakeTriton,
    between: Callable[[grpc.aio.ServicerContext], Awaitable[object]],
) -> None:
    """Has a model `teller`, which does so between its first answer and the next ones."""
    made = 0

    async def infer(request: Request, context: grpc.aio.ServicerContext) -> Response:
        nonlocal made
        made += 1
        if made > 1:
            await between(context)
        return answer(request, np.array([[0.5, 0.3, 0.2]], np.float32))

    triton.infer = infer
    triton.models["teller"] = (decoupled("teller"), ["1"])
    await until_there(gateway, "teller")


async def until_counted(gateway: httpx.AsyncClient, metric: str, **labels: str) -> None:
    async with asyncio.timeout(10):
        while not Exposition((await gateway.get("/metrics")).text).total(metric, **labels):
            await asyncio.sleep(0.02)


async def until_there(gateway: httpx.AsyncClient, model: str) -> None:
    """The list of models is read every second."""
    async with asyncio.timeout(10):
        while (await gateway.get(f"/v2/models/{model}")).status_code != 200:
            await asyncio.sleep(0.1)
