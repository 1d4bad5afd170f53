"""What a request costs, how urgent it is, how long it has, and what a caller who leaves still holds."""

import asyncio
import time

import grpc
import httpx
import numpy as np
import pytest
from exposition import Exposition
from stack import Addresses, create_key
from support.fake_triton import CLASSIFIER, FakeTriton, Request, Response, answer, config, decoupled, serving
from support.pictures import encoded, photo
from support.serving import Serve, until_ready

PNG = encoded(photo(20, 10))
RAW = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def free_key(redis: Addresses) -> str:
    """Four requests in flight, and nothing above batch."""
    return create_key(redis, "thrifty", "infer", tier="free")


@pytest.fixture(scope="module")
def counted_key(redis: Addresses) -> str:
    """One unit in a thousand seconds, so that what a request takes is seen."""
    return create_key(redis, "photographers", "infer", rate="1/1000:100")


def left(reply: httpx.Response) -> int:
    return int(reply.headers["ratelimit"].split("r=")[1].split(";")[0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_each_full_megapixel_costs_a_unit_more(
    counted_key: str, gateway: httpx.AsyncClient, kind: str
) -> None:
    key = {"x-api-key": counted_key}
    large = {"content-type": f"image/{kind.lower()}", **key}
    before = left(await gateway.get("/v1/models", headers=key))
    reply = await gateway.post("/v1/classify", content=encoded(photo(2000, 1250), kind), headers=large)
    assert reply.status_code == 200
    assert before - left(reply) == 3


async def test_a_field_asks_for_a_class_and_goes_before_the_header(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    for asked, level in (("interactive", 1), ("standard", 2), ("batch", 3)):
        reply = await gateway.post(
            f"/v1/classify?priority={asked}", content=PNG, headers={**RAW, "priority": "u=3"}
        )
        assert triton.requests[-1].parameters["priority"].uint64_param == level
        assert reply.headers["priority"] == f"u={2 * level - 1}"


async def test_a_field_never_asks_for_more_than_the_ceiling(
    free_key: str, gateway: httpx.AsyncClient
) -> None:
    reply = await gateway.post(
        "/v1/classify?priority=interactive", content=PNG, headers={**RAW, "x-api-key": free_key}
    )
    assert reply.headers["priority"] == "u=5"


@pytest.mark.parametrize("wrong", ["root", "-1", "1000000000", "true"])
async def test_a_class_that_is_none_is_refused(gateway: httpx.AsyncClient, wrong: str) -> None:
    reply = await gateway.post(f"/v1/classify?priority={wrong}", content=PNG, headers=RAW)
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "?priority")


async def test_a_model_may_say_how_long_its_requests_have(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    hasty = {**CLASSIFIER, "gateway.default": "false", "gateway.timeout_ms": "300"}
    triton.models["hasty"] = (config("hasty", hasty, output=[3]), ["1"])
    triton.infer = slow
    await until_known(gateway, "hasty")
    started = time.monotonic()
    late = await gateway.post("/v1/classify?model=hasty", content=PNG, headers=RAW)
    assert late.status_code == 504
    assert 0.25 < time.monotonic() - started < SLOW
    patient = {**RAW, "x-request-timeout": "1900"}
    assert (await gateway.post("/v1/classify?model=hasty", content=PNG, headers=patient)).status_code == 200


async def test_a_caller_who_leaves_keeps_the_place_in_flight_until_the_call_ends(
    free_key: str, gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    triton.infer = slow
    headers = {**RAW, "x-api-key": free_key}

    async def leave() -> None:
        with pytest.raises(httpx.ReadTimeout):
            await gateway.post("/v1/classify", content=PNG, headers=headers, timeout=0.3)

    await asyncio.gather(*(leave() for _ in range(4)))
    refused = await gateway.get("/v1/models", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    async with asyncio.timeout(SLOW + 10):
        while (await gateway.get("/v1/models", headers=headers)).status_code != 200:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("version", "survives"), [("2.51.0", True), ("2.58.9", True), ("2.59.0", False), ("3.0.0", False)]
)
async def test_a_call_whose_caller_left_is_cancelled_only_where_triton_can_bear_it(
    triton: FakeTriton, serve: Serve, version: str, survives: bool
) -> None:
    ended: asyncio.Queue[bool] = asyncio.Queue()

    async def watched(request: Request, context: grpc.aio.ServicerContext) -> Response:
        try:
            reply = await slow(request, context)
        except asyncio.CancelledError:
            ended.put_nowait(False)
            raise
        ended.put_nowait(True)
        return reply

    triton.infer, triton.version = watched, version
    async with serving(triton) as url, serve(url, request_timeout=2) as client:
        await until_ready(client)
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/classify", content=PNG, headers=RAW, timeout=0.3)
        async with asyncio.timeout(3):
            assert await ended.get() is survives


@pytest.mark.parametrize(("version", "answers"), [("2.51.0", 2), ("2.59.0", 1)])
async def test_a_stream_whose_caller_left_is_cancelled_only_where_triton_can_bear_it(
    triton: FakeTriton, serve: Serve, version: str, answers: int
) -> None:
    """The second answer is made only where the call goes on."""
    made = 0
    left = asyncio.Event()

    async def watched(request: Request, _: grpc.aio.ServicerContext) -> Response:
        nonlocal made
        if made:
            await left.wait()
            await asyncio.sleep(0.5)
        made += 1
        return answer(request, np.array([[0.5, 0.3, 0.2]], np.float32))

    triton.infer, triton.version = watched, version
    triton.models["teller"] = (decoupled("teller"), ["1"])
    async with serving(triton) as url, serve(url) as client:
        await until_ready(client)
        path, document = "/v2/models/teller/generate_stream", {"images": [0] * 192}
        async with client.stream("POST", path, json=document) as reply:
            assert reply.status_code == 200, await reply.aread()
            await anext(reply.aiter_bytes())
        left.set()
        name = "gateway_calls_in_flight"
        async with asyncio.timeout(10):
            while Exposition((await client.get("/metrics")).text).total(name, model="teller"):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.6)
    assert made == answers


SLOW = 0.9  # seconds


async def slow(request: Request, _: object) -> Response:
    await asyncio.sleep(SLOW)
    return answer(request, np.array([[0.5, 0.3, 0.2]], np.float32))


async def until_known(gateway: httpx.AsyncClient, model: str) -> None:
    async with asyncio.timeout(5):
        while model not in (await gateway.get("/v1/models")).text:
            await asyncio.sleep(0.05)
