"""/v1/detect/stream over a real WebSocket: the newest frame wins, every frame is a request, and how a stream ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import grpc
import httpx
import numpy as np
import pytest
from exposition import Exposition
from receiver import receiving
from stack import Addresses, create_key
from support.fake_triton import CLASSIFIER, Behaviour, FakeTriton, Request, Response, answer, config, serving
from support.pictures import encoded, photo
from support.serving import Serve, served, until_ready
from support.sockets import Closed, Refused, Socket, connected, opened

PATH = "/v1/detect/stream"
PATH_OF_CLASSES = "/v1/classify/stream"
PICTURE = encoded(photo(20, 10), "JPEG")
PAGE = "https://shop.example"


async def one_dog(request: Request, _: grpc.aio.ServicerContext) -> Response:
    """On the left half of a picture of 20 x 10."""
    output = np.zeros((1, 6, 5), np.float32)
    output[0, :, 3] = [2, 4, 4, 4, 0.1, 0.9]
    return answer(request, output)


@pytest.fixture
async def triton(triton: FakeTriton) -> FakeTriton:
    triton.infer = one_dog
    return triton


@asynccontextmanager
async def ready(triton: FakeTriton, serve: Serve, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(triton) as url, serve(url, **settings) as client:
        await until_ready(client)
        yield client


def streaming(client: httpx.AsyncClient, path: str = PATH) -> AbstractAsyncContextManager[Socket]:
    """A stream with the client's own key, in a header."""
    return connected(str(client.base_url), path, {"x-api-key": client.headers["x-api-key"]})


async def token(client: httpx.AsyncClient, *origins: str) -> dict[str, str]:
    made = await client.post("/v1/tokens", json={"origins": list(origins)})
    assert made.status_code == 201, made.text
    answer: dict[str, str] = made.json()
    return answer


async def total(client: httpx.AsyncClient, name: str, **labels: str) -> float:
    return Exposition((await client.get("/metrics")).text).total(name, **labels)


async def until(client: httpx.AsyncClient, name: str, value: float, **labels: str) -> None:
    async with asyncio.timeout(10):
        while await total(client, name, **labels) != value:
            await asyncio.sleep(0.02)


async def test_a_frame_is_answered_as_the_same_image_is_over_http(gateway: httpx.AsyncClient) -> None:
    over_http = (
        await gateway.post("/v1/detect", content=PICTURE, headers={"content-type": "image/jpeg"})
    ).json()
    async with streaming(gateway) as stream:
        for number in (1, 2):
            await stream.send(PICTURE)
            told = await stream.message()
            assert (told["type"], told["frame"], told["dropped"]) == ("result", number, 0)
            assert told["model"] == over_http["model"]
            assert told["result"] == over_http["results"][0]
            assert told["id"].endswith(f"-{number}")
            assert set(told["timing"]) >= {"auth", "limit", "decode", "queue", "triton", "post", "total"}
        assert stream.headers["x-request-id"] + "-2" == told["id"]


async def test_a_frame_is_a_trace_with_its_stages_and_joins_that_of_its_handshake(
    triton: FakeTriton, serve: Serve
) -> None:
    caller = f"00-{0xF4A3E:032x}-{7:016x}-01"
    with receiving() as receiver:
        async with ready(triton, serve, trace_endpoint=receiver.url, trace_ratio=0) as client:
            headers = {"x-api-key": client.headers["x-api-key"], "traceparent": caller}
            async with connected(str(client.base_url), PATH, headers) as stream:
                await stream.send(PICTURE)
                told = await stream.message()
                await stream.send(b"no picture")
                assert (await stream.message())["problem"]["code"] == "image_undecodable"
            async with streaming(client) as stream:  # not drawn, and nothing went wrong
                await stream.send(PICTURE)
                await stream.message()
        spans = receiver.spans
    first, second = sorted((span for span in spans if span.kind == "server"), key=lambda span: span.start)
    assert {span.trace_id for span in spans} == {f"{0xF4A3E:032x}"}
    assert first.name == second.name == f"GET {PATH}"
    assert first.parent_id == second.parent_id == f"{7:016x}"
    assert first.attributes["gateway.request_id"] == told["id"]
    assert second.attributes["gateway.problem"] == "image_undecodable"
    stages = {span.attributes["gateway.stage"] for span in spans if span.parent_id == first.span_id}
    assert stages == {"auth", "limit", "decode", "queue", "triton", "post"}
    call = next(span for span in spans if span.kind == "client")
    assert triton.requests[0].id == told["id"]
    assert call.attributes["gateway.model"] == "finder"


async def test_images_are_classified_in_the_same_way(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    triton.infer = FakeTriton.infer
    async with streaming(gateway, PATH_OF_CLASSES) as stream:
        await stream.send_options(top_k=1)
        await stream.send(PICTURE)
        told = await stream.message()
        assert [each["label"] for each in told["result"]["predictions"]] == ["cat"]


class Gate:
    """A model that holds each call until it is opened."""

    def __init__(self, model: Behaviour = one_dog) -> None:
        self._model = model
        self.open = asyncio.Event()
        self.holding = asyncio.Event()

    async def infer(self, request: Request, context: grpc.aio.ServicerContext) -> Response:
        self.holding.set()
        await self.open.wait()
        return await self._model(request, context)


async def test_the_newest_frame_wins_and_the_next_answer_tells_how_many_went(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    gate = Gate()
    triton.infer = gate.infer
    async with streaming(gateway) as stream:
        await stream.send(PICTURE)
        await gate.holding.wait()
        for _ in range(4):
            await stream.send(PICTURE)
        await until(gateway, "gateway_stream_frames_dropped_total", 3)
        gate.open.set()
        told = [await stream.message() for _ in range(2)]
        assert [(each["frame"], each["dropped"]) for each in told] == [(1, 0), (5, 3)]
    assert len(triton.requests) == 2


async def test_options_hold_for_the_frames_after_them(gateway: httpx.AsyncClient) -> None:
    async with streaming(gateway) as stream:
        await stream.send_options(model="finder", min_score=0.95)
        await stream.send(PICTURE)
        assert (await stream.message())["result"]["detections"] == []
        await stream.send_options(min_score=0.5)
        await stream.send(PICTURE)
        assert len((await stream.message())["result"]["detections"]) == 1
        await stream.send_options(version="7")
        await stream.send(PICTURE)
        assert (await stream.message())["problem"]["code"] == "version_not_found"
        await stream.send_options()
        await stream.send(PICTURE)
        assert (await stream.message())["type"] == "result"


@pytest.mark.parametrize(
    ("text", "code", "closed"),
    [
        ("{", "malformed_json", 4400),
        ("[" * 3000, "malformed_json", 4400),
        ("[]", "validation_failed", 4422),
        ('{"colour": "red"}', "validation_failed", 4422),
        ('{"min_score": 7}', "validation_failed", 4422),
        ("x" * 5000, "body_too_large", 4413),
        ("ß" * 2500, "body_too_large", 4413),
    ],
    ids=[
        "no JSON",
        "deep JSON",
        "no object",
        "an unknown option",
        "a wrong value",
        "too long",
        "too long in bytes alone",
    ],
)
async def test_options_that_are_none_end_the_stream(
    gateway: httpx.AsyncClient, text: str, code: str, closed: int
) -> None:
    async with streaming(gateway) as stream:
        await stream.send(text)
        assert await stream.ends_with() == (code, closed)


async def test_a_page_brings_its_token_as_a_subprotocol_that_is_not_echoed(
    gateway: httpx.AsyncClient,
) -> None:
    mine = (await token(gateway, PAGE, str(gateway.base_url)))["token"]
    offered = ["gateway.stream.v1", f"bearer.{mine}"]
    own_page = {"origin": str(gateway.base_url)}
    async with connected(str(gateway.base_url), PATH, own_page, offered) as stream:
        assert stream.accepted == "gateway.stream.v1"
        await stream.send(PICTURE)
        assert (await stream.message())["type"] == "result"


async def test_a_page_of_another_host_needs_to_be_one_that_may_call(triton: FakeTriton, serve: Serve) -> None:
    async with ready(triton, serve, cors_origins=PAGE) as client:
        mine = (await token(client, PAGE, "https://evil.example"))["token"]
        offered = ["gateway.stream.v1", f"bearer.{mine}"]
        url = str(client.base_url)
        async with connected(url, PATH, {"origin": PAGE}, offered) as stream:
            await stream.send(PICTURE)
            assert (await stream.message())["type"] == "result"
        for evil in ("https://evil.example", "http://["):
            async with connected(url, PATH, {"origin": evil}, offered) as stream:
                assert await stream.ends_with() == ("forbidden", 4403)
        assert await total(client, "gateway_problems_total", problem="forbidden") == 2
        assert await total(client, "gateway_requests_total", route=PATH, code="403") == 2


async def test_whoever_may_not_call_is_told_why_and_shut_out(gateway: httpx.AsyncClient) -> None:
    url, key = str(gateway.base_url), gateway.headers["x-api-key"]
    elsewhere = (await token(gateway, "https://other.example"))["token"]
    own = {"origin": url}
    refused = [
        ({}, [], "unauthenticated", 4401),
        ({"x-api-key": key[:-1] + "!"}, [], "invalid_key", 4401),
        (own, [f"bearer.{key}"], "unauthenticated", 4401),
        (own, [f"bearer.{elsewhere}"], "invalid_token", 4401),
        (own, ["bearer.nonsense"], "invalid_token", 4401),
        ({"x-api-key": key, **own}, [f"bearer.{elsewhere}"], "ambiguous_credentials", 4400),
        ({"authorization": f"Bearer {key}"}, [f"bearer.{elsewhere}"], "ambiguous_credentials", 4400),
    ]
    for headers, offered, code, closed in refused:
        async with connected(url, PATH, headers, ["gateway.stream.v1", *offered]) as stream:
            assert await stream.ends_with() == (code, closed)


async def test_options_in_the_address_are_refused(gateway: httpx.AsyncClient) -> None:
    async with streaming(gateway, f"{PATH}?min_score=0.5") as stream:
        assert await stream.ends_with() == ("validation_failed", 4422)


async def test_a_token_that_is_ended_opens_the_door_no_more(
    triton: FakeTriton, serve: Serve, redis: Addresses
) -> None:
    admin = create_key(redis, "operators", "admin:keys")
    async with ready(triton, serve) as client:
        made = await token(client, str(client.base_url))
        offered = ["gateway.stream.v1", f"bearer.{made['token']}"]
        async with connected(str(client.base_url), PATH, {"origin": str(client.base_url)}, offered) as stream:
            await stream.send(PICTURE)
            assert (await stream.message())["type"] == "result"
            ended = await client.delete(f"/admin/v1/tokens/{made['id']}", headers={"x-api-key": admin})
            assert ended.status_code == 204
            await stream.send(PICTURE)
            assert await stream.ends_with() == ("invalid_token", 4401)
            assert await total(client, "gateway_problems_total", problem="invalid_token") == 1


@pytest.mark.parametrize(
    ("frame", "code"),
    [(b"nonsense", "image_undecodable"), (b"", "image_empty"), (b"\xff" * 1500, "body_too_large")],
    ids=["no image", "empty", "too large"],
)
async def test_a_bad_frame_is_told_and_the_stream_goes_on(
    triton: FakeTriton, serve: Serve, frame: bytes, code: str
) -> None:
    async with ready(triton, serve, max_frame_bytes=1024) as client, streaming(client) as stream:
        await stream.send(frame)
        told = await stream.message()
        assert (told["type"], told["frame"], told["problem"]["code"]) == ("problem", 1, code)
        assert told["problem"]["type"] == f"/problems/{code}"
        await stream.send(PICTURE)
        assert (await stream.message())["frame"] == 2
        await until(client, "gateway_problems_total", 1, problem=code)


async def test_a_frame_far_beyond_the_bound_ends_the_stream(triton: FakeTriton, serve: Serve) -> None:
    async with ready(triton, serve, max_frame_bytes=1024) as client, streaming(client) as stream:
        await stream.send(b"\xff" * 5000)
        assert await stream.ends_with() == (None, 1009)


@pytest.mark.parametrize("bound", ["stream_idle", "stream_seconds"])
async def test_a_stream_is_closed_when_its_time_is_up(triton: FakeTriton, serve: Serve, bound: str) -> None:
    async with ready(triton, serve, **{bound: 0.2}) as client, streaming(client) as stream:
        assert await stream.ends_with() == ("stream_ended", 4408)


async def test_frames_beyond_the_quota_wait_for_it(triton: FakeTriton, redis: Addresses) -> None:
    slow = create_key(redis, "slow", "infer", rate="2/1:2")
    async with serving(triton) as url, served(redis, slow, url) as client:
        await until_ready(client)
        async with streaming(client) as stream:
            told = []
            while "problem" not in [each["type"] for each in told]:
                await stream.send(PICTURE)
                told.append(await stream.message())
            assert told[-1]["problem"]["code"] == "rate_limited"
            assert 0 < told[-1]["retry_after"] <= 1
            await stream.send(PICTURE)
            assert (await stream.message())["type"] == "result"


async def test_a_stream_does_not_wait_for_long(triton: FakeTriton, redis: Addresses) -> None:
    spent = create_key(redis, "spent", "infer", rate="1/86400:1")
    async with serving(triton) as url, served(redis, spent, url) as client:
        await until_ready(client)
        async with streaming(client) as stream:
            await stream.send(PICTURE)
            assert (await stream.message())["type"] == "result"
            await stream.send(PICTURE)
            assert await stream.ends_with() == ("rate_limited", 4429)


async def test_one_caller_has_a_quarter_of_the_places(triton: FakeTriton, serve: Serve) -> None:
    async with ready(triton, serve, max_streams=4) as client, streaming(client) as first:
        await first.send(PICTURE)
        await first.message()
        async with streaming(client) as second:
            assert await second.ends_with() == ("rate_limited", 4429)
        await first.leave()
        await until(client, "gateway_streams", 0)
        async with streaming(client) as third:
            await third.send(PICTURE)
            assert (await third.message())["type"] == "result"


async def test_one_tenant_has_half_of_the_places(triton: FakeTriton, serve: Serve, redis: Addresses) -> None:
    keys = [create_key(redis, "crowd", "infer") for _ in range(3)]
    async with ready(triton, serve, max_streams=4) as client, AsyncExitStack() as streams:

        async def open_with(key: str) -> Socket:
            return await streams.enter_async_context(
                connected(str(client.base_url), PATH, {"x-api-key": key})
            )

        for key in keys[:2]:
            stream = await open_with(key)
            await stream.send(PICTURE)
            assert (await stream.message())["type"] == "result"
        assert await (await open_with(keys[2])).ends_with() == ("rate_limited", 4429)
        other = await open_with(client.headers["x-api-key"])
        await other.send(PICTURE)
        assert (await other.message())["type"] == "result"


async def test_options_do_not_keep_a_stream_open(triton: FakeTriton, serve: Serve) -> None:
    async with ready(triton, serve, stream_idle=0.3) as client, streaming(client) as stream:
        end = asyncio.create_task(stream.ends_with())
        async with asyncio.timeout(10):
            while not end.done():
                await stream.send_options(min_score=0.5)
                await asyncio.sleep(0.02)
        assert await end == ("stream_ended", 4408)


async def test_frames_keep_a_stream_open(triton: FakeTriton, serve: Serve) -> None:
    async with ready(triton, serve, stream_idle=1) as client, streaming(client) as stream:
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            await stream.send(PICTURE)
            assert (await stream.message())["type"] == "result"


async def test_without_a_triton_each_frame_is_told_when_to_come_again(serve: Serve) -> None:
    async with serve("127.0.0.1:1") as client, streaming(client) as stream:
        await stream.send(PICTURE)
        told = await stream.message()
        assert (told["problem"]["status"], told["problem"]["code"]) == (503, "model_unavailable")
        assert told["retry_after"] > 0


async def test_a_triton_that_comes_back_is_used_again(triton: FakeTriton, serve: Serve) -> None:
    async with ready(triton, serve) as client, streaming(client) as stream:
        models = dict(triton.models)
        triton.models.clear()
        while (await client.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.02)
        await stream.send(PICTURE)
        assert (await stream.message())["type"] == "problem"
        triton.models.update(models)
        await until_ready(client)
        await stream.send(PICTURE)
        assert (await stream.message())["type"] == "result"


async def test_a_frame_that_there_is_no_room_for_is_told_of_where_nobody_else_waits(
    triton: FakeTriton, serve: Serve
) -> None:
    room = {"max_body_bytes": 2048, "max_buffered_bytes": 2048, "max_frame_bytes": 4096}
    async with ready(triton, serve, **room) as client, streaming(client) as stream:
        await stream.send(bytes(3000))
        told = await stream.message()
        assert (told["frame"], told["dropped"], told["problem"]["code"]) == (1, 0, "overloaded")
        assert told["retry_after"] >= 1
        await stream.send(PICTURE)
        assert (await stream.message())["type"] == "result"


async def test_a_caller_who_leaves_gives_everything_back(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    gate = Gate()
    triton.infer = gate.infer
    async with streaming(gateway) as stream:
        await stream.send(PICTURE)
        await gate.holding.wait()
        await stream.leave()
    await until(gateway, "gateway_streams", 0)
    gate.open.set()
    await until(gateway, "gateway_calls_in_flight", 0)
    await until(gateway, "gateway_requests_total", 1, route=PATH, code="499")


async def test_who_leaves_while_its_answers_go_out_is_no_bug(triton: FakeTriton, serve: Serve) -> None:
    """Each stream has an answer under way, larger than what lies between the two, and another behind it."""
    long = {**CLASSIFIER, "gateway.labels": "\n".join(letter * 4_000_000 for letter in "abc")}
    triton.models["wordy"] = (config("wordy", long, output=[3]), ["1"])
    async with ready(triton, serve) as client:
        for number in range(1, 7):
            gate = Gate(FakeTriton.infer)
            triton.infer = gate.infer
            async with streaming(client, PATH_OF_CLASSES) as stream:
                await stream.send_options(model="wordy")
                await stream.send(PICTURE)
                await gate.holding.wait()
                await stream.send(PICTURE)
                await stream.send(PICTURE)
                await until(client, "gateway_stream_frames_dropped_total", number)
                gate.open.set()
                await until(client, "gateway_requests_total", 2 * number, route=PATH_OF_CLASSES, code="200")
                await stream.leave()
            await until(client, "gateway_streams", 0)
        assert await total(client, "gateway_requests_total", code="500") == 0


async def test_the_handshake_and_each_frame_count_as_requests(gateway: httpx.AsyncClient) -> None:
    async with streaming(gateway) as stream:
        await until(gateway, "gateway_streams", 1)
        for _ in range(3):
            await stream.send(PICTURE)
            await stream.message()
        assert await total(gateway, "gateway_requests_total", route=PATH, code="101") == 1
        assert await total(gateway, "gateway_requests_total", route=PATH, code="200", model="finder") == 3


async def test_a_path_without_a_stream_is_a_problem_like_everywhere_else(gateway: httpx.AsyncClient) -> None:
    for path in (
        "/nowhere",
        "/v1/classify",
        "/v1/detect//stream",
        "/v1%2fdetect/stream",
        "/v1/detect%5Cstream",
    ):
        async with opened(str(gateway.base_url), path) as (_, refused):
            assert isinstance(refused, Refused)
            assert refused.status == 404
            assert b'"code":"not_found"' in refused.body


async def test_a_plain_request_at_a_streams_path_is_told_to_upgrade(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.get(PATH)
    assert (answer.status_code, answer.json()["code"]) == (426, "upgrade_required")
    assert (answer.headers["upgrade"], answer.headers["connection"]) == ("websocket", "Upgrade")
    assert (await gateway.head(PATH)).status_code == 426
    posted = await gateway.post(PATH, content=PICTURE)
    assert (posted.status_code, posted.json()["code"]) == (405, "method_not_allowed")
    assert set(posted.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


async def test_a_gateway_that_stops_says_so(triton: FakeTriton, serve: Serve) -> None:
    async with serving(triton) as url:
        async with serve(url) as client:
            await until_ready(client)
            stopping = streaming(client)
            stream = await stopping.__aenter__()
            await stream.send(PICTURE)
            await stream.message()
        assert await stream.receive() == Closed(1012, "")
        await stopping.__aexit__(None, None, None)
