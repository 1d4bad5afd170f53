"""/metrics and Server-Timing over HTTP: who may read them, what they count, and that they tell nothing of a caller."""

import asyncio
import re
from collections.abc import AsyncIterator

import grpc
import httpx
import numpy as np
import pytest
from exposition import Exposition
from stack import Addresses, create_key
from support.fake_triton import FakeTriton, Request, Response, answer, failing, serving
from support.pictures import encoded, photo
from support.serving import Serve, until_ready

PNG = encoded(photo(20, 10))
RAW = {"content-type": "image/png"}
PAGE = "https://shop.example"
SCORES = np.array([[0.5, 0.3, 0.2]], np.float32)
STAGES = ["auth", "limit", "body", "decode", "queue", "triton", "post"]


@pytest.fixture(scope="module")
def admin_key(redis: Addresses) -> str:
    return create_key(redis, "operators", "infer", "admin:canary")


@pytest.fixture
async def stranger(triton: FakeTriton, serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with a key, whose gateway opens /metrics to no network."""
    async with serving(triton) as url, serve(url, metrics_networks="") as client:
        await until_ready(client)
        yield client


async def scrape(client: httpx.AsyncClient) -> Exposition:
    reply = await client.get("/metrics")
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Exposition(reply.text)


async def until(client: httpx.AsyncClient, name: str, value: float, **labels: str) -> None:
    async with asyncio.timeout(5):
        while (await scrape(client)).total(name, **labels) != value:
            await asyncio.sleep(0.02)


async def classify(client: httpx.AsyncClient, query: str = "", **headers: str) -> httpx.Response:
    return await client.post(f"/v1/classify{query}", content=PNG, headers={**RAW, **headers})


async def test_requests_are_counted_by_route_version_class_and_code(gateway: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await classify(gateway)).status_code == 200
    assert (await classify(gateway, "?version=2", priority="u=7")).status_code == 200
    assert (await classify(gateway, "?model=nothing")).status_code == 404
    found = await scrape(gateway)
    route = {"route": "/v1/classify"}
    stable = {**route, "model": "pets", "version": "1", "variant": "stable", "code": "200"}
    assert found.total("gateway_requests_total", **stable) == 3
    assert found.total("gateway_requests_total", version="2", variant="pinned", priority="batch") == 1
    assert found.total("gateway_requests_total", **route, model="", code="404") == 1
    assert found.total("gateway_requests_total", **route) == 5
    assert found.total("gateway_problems_total", problem="model_not_found") == 1
    assert found.total("gateway_request_seconds_count", model="pets", version="1", variant="stable") == 3
    assert found.total("gateway_attempts_total", model="pets", version="1", outcome="ok") == 3
    for stage in STAGES:
        assert found.total("gateway_stage_seconds_count", route="/v1/classify", stage=stage) >= 4
    assert found.total("gateway_image_bytes_sum") == found.total("gateway_payload_bytes_sum") == 5 * len(PNG)


async def test_tensors_have_their_stages_under_one_route(gateway: httpx.AsyncClient) -> None:
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 3, 8, 8], "data": [0] * 192}
    for path in ("/v2/models/pets/infer", "/v2/models/pets/versions/1/infer"):
        reply = await gateway.post(path, json={"inputs": [tensor]})
        assert reply.status_code == 200, reply.text
    found = await scrape(gateway)
    for stage in ("auth", "limit", "body", "decode", "queue", "triton", "post"):
        assert (
            found.total("gateway_stage_seconds_count", route="/v2/models/{model}/infer", stage=stage) == 2
        ), stage


async def test_a_failure_counts_under_the_version_that_was_to_answer(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    triton.infer = failing(grpc.StatusCode.INTERNAL, "it broke")
    assert (await classify(gateway, "?version=2")).status_code == 502
    found = await scrape(gateway)
    assert found.total("gateway_requests_total", model="pets", version="2", variant="pinned", code="502") == 1
    assert found.total("gateway_attempts_total", model="pets", version="2", outcome="error") == 1


async def test_a_broken_connection_is_counted_as_a_retry_and_an_open_breaker_as_open(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    triton.infer = failing(grpc.StatusCode.UNAVAILABLE, "Socket closed")
    while (await classify(gateway)).status_code != 503:
        pass
    async with asyncio.timeout(10):
        while not (found := await scrape(gateway)).total("gateway_breaker_changes_total", state="open"):
            await classify(gateway)
    assert found.total("gateway_retries_total", model="pets", version="1") >= 1
    assert found.total("gateway_breakers", model="pets", version="1") == 1


async def test_who_left_before_the_answer_is_counted_as_such_and_their_call_until_it_ends(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def held(request: Request, _: object) -> Response:
        asked.set()
        await may_answer.wait()
        return answer(request, SCORES)

    triton.infer = held
    call = asyncio.create_task(classify(gateway))
    await asked.wait()
    await until(gateway, "gateway_requests_in_flight", 1)
    call.cancel()
    await until(gateway, "gateway_requests_total", 1, code="499")
    await until(gateway, "gateway_requests_in_flight", 0)
    await until(gateway, "gateway_calls_in_flight", 1, model="pets", version="1")
    may_answer.set()
    await until(gateway, "gateway_calls_in_flight", 0, model="pets", version="1")


async def test_the_route_that_applies_shows_with_its_generation(
    gateway: httpx.AsyncClient, admin_key: str
) -> None:
    admin, path = {"x-api-key": admin_key}, "/admin/v1/canaries/finder"
    standing = await gateway.get(path, headers=admin)
    document = {"stable": "1", "canary": None, "weight": 0}
    put = await gateway.put(path, json=document, headers={**admin, "if-match": standing.headers["etag"]})
    assert put.status_code == 200, put.text
    found = await scrape(gateway)
    assert found.total("gateway_canary_weight", model="finder") == 0
    assert found.total("gateway_route_generation", model="finder") == put.json()["generation"]
    for part in ("catalog", "keys", "denied_tokens", "routes", "limits"):
        assert found.total("gateway_fresh", part=part) == 1, part


async def test_a_network_that_is_named_needs_no_key_and_a_proxy_is_no_part_of_it(
    gateway: httpx.AsyncClient,
) -> None:
    gateway.headers.pop("x-api-key")
    assert (await gateway.get("/metrics")).status_code == 200
    for header in ("x-forwarded-for", "forwarded", "via", "x-real-ip"):
        assert (await gateway.get("/metrics", headers={header: "127.0.0.1"})).status_code == 401


async def test_without_a_network_it_takes_a_key_that_administers_something_and_costs_nothing(
    stranger: httpx.AsyncClient, admin_key: str
) -> None:
    refused = await stranger.get("/metrics")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    for _ in range(3):
        allowed = await stranger.get("/metrics", headers={"x-api-key": admin_key})
        assert allowed.status_code == 200
        assert "ratelimit" not in allowed.headers
    del stranger.headers["x-api-key"]
    assert (await stranger.get("/metrics")).status_code == 401


async def test_nothing_that_a_caller_writes_becomes_a_label(gateway: httpx.AsyncClient) -> None:
    planted = "Zz9Planted"
    await classify(gateway, f"?model={planted}")
    await classify(gateway, f"?version={planted}&{planted}={planted}")
    await classify(gateway, **{"x-request-id": planted, "x-canary": planted, "x-model-version": planted})
    await classify(gateway, **{"x-api-key": planted, "priority": planted, "user-agent": planted})
    for method, path in (("GET", f"/{planted}"), ("GET", f"/problems/{planted}"), (planted, "/v1/classify")):
        await gateway.request(method, path)
    reply = await gateway.get("/metrics")
    assert planted.lower() not in reply.text.lower()
    assert gateway.headers["x-api-key"] not in reply.text


async def test_an_answer_says_where_its_time_went(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    async def slowly(request: Request, _: object) -> Response:
        await asyncio.sleep(0.05)
        return answer(request, SCORES)

    triton.infer = slowly
    reply = await classify(gateway)
    spent = {
        name: float(ms) for name, ms in re.findall(r"([a-z]+);dur=([0-9.]+)", reply.headers["server-timing"])
    }
    assert list(spent) == [*STAGES, "total"]
    assert spent["triton"] >= 50
    assert sum(spent[stage] for stage in STAGES) <= spent["total"] + 0.1  # rounded to hundredths, each


async def test_who_is_not_known_learns_nothing_about_time(gateway: httpx.AsyncClient) -> None:
    refused = await gateway.get("/v1/models", headers={"x-api-key": "gw_dev_nobody"})
    assert refused.status_code == 401
    assert "server-timing" not in refused.headers
    assert "server-timing" not in (await gateway.get("/livez")).headers


async def test_pages_that_may_call_may_read_timings_and_others_may_not(
    triton: FakeTriton, serve: Serve
) -> None:
    async with serving(triton) as url, serve(url, cors_origins=PAGE) as client:
        await until_ready(client)
        theirs = await classify(client, origin=PAGE)
        assert theirs.headers["timing-allow-origin"] == PAGE
        assert "Server-Timing" in theirs.headers["access-control-expose-headers"]
        for headers in ({"origin": "https://evil.example"}, {}):
            assert "timing-allow-origin" not in (await classify(client, **headers)).headers
