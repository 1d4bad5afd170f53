"""HEAD, wherever GET is: the same answer without its body."""

import asyncio

import httpx
import pytest
import structlog
from exposition import Exposition
from stack import Addresses, create_key

_OF_EACH = {"date", "x-request-id", "server-timing", "ratelimit"}


def told(answer: httpx.Response) -> tuple[int, dict[str, str]]:
    """What has to be alike; the rest is of this very request."""
    return answer.status_code, {name: value for name, value in answer.headers.items() if name not in _OF_EACH}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/v1/models", 200),
        ("/v2/models/pets", 200),
        ("/v2/health/ready", 200),
        ("/", 200),
        ("/docs", 200),
        ("/docs/openapi.json", 200),
        ("/problems/image_empty", 200),
        ("/nowhere", 404),
        ("/v1/classify", 405),
    ],
)
async def test_head_answers_as_get_does_without_a_body(
    gateway: httpx.AsyncClient, path: str, status: int
) -> None:
    whole, head = await gateway.get(path), await gateway.head(path)
    assert told(head)[0] == status
    assert set(told(head)[1]) == set(told(whole)[1])
    if path != "/metrics":  # whose figures change
        assert told(head) == told(whole)
    assert (whole.content != b"", head.content) == (True, b"")


async def test_head_without_a_credential_is_401(gateway: httpx.AsyncClient) -> None:
    del gateway.headers["x-api-key"]
    answer = await gateway.head("/v1/models")
    assert (answer.status_code, answer.content) == (401, b"")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_head_at_a_stream_of_events_ends_with_its_headers(
    gateway: httpx.AsyncClient, redis: Addresses
) -> None:
    key = {"x-api-key": await asyncio.to_thread(create_key, redis, "operators", "infer", "admin:canary")}
    async with asyncio.timeout(10):
        while (answer := await gateway.head("/admin/v1/events", headers=key)).status_code == 401:
            await asyncio.sleep(0.02)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS"])
async def test_allow_has_head_beside_get(gateway: httpx.AsyncClient, method: str) -> None:
    allowed = {}
    for path in ("/v1/models", "/v1/classify"):
        allow = (await gateway.request(method, path)).headers["allow"]
        allowed[path] = set(allow.split(", "))
    assert allowed == {"/v1/models": {"GET", "HEAD", "OPTIONS"}, "/v1/classify": {"POST", "OPTIONS"}}


async def test_the_log_and_the_counts_tell_what_was_asked(gateway: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs() as lines:
        await gateway.head("/v1/models")
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["route"], line["status"]) == ("HEAD", "/v1/models", 200)
    counted = Exposition((await gateway.get("/metrics")).text)
    assert counted.total("gateway_requests_total", route="/v1/models", code="200") == 1
