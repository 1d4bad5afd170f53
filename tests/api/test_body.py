"""Bodies: capped, timed, and counted against a budget, whatever the client does."""

import asyncio
import contextlib
import json

import httpx
import pytest
from stack import Addresses, create_key
from support.fake_triton import CLASSIFIER, FakeTriton, config, serving
from support.pictures import encoded, photo
from support.serving import Serve, until_ready

PNG = encoded(photo(20, 10))
RAW = {"content-type": "image/png"}


@pytest.fixture
def triton() -> FakeTriton:
    return FakeTriton(models={"pets": (config("pets", CLASSIFIER, output=[3]), ["1"])})


async def exchange(client: httpx.AsyncClient, request: bytes, seconds: float = 5) -> bytes:
    """Sends these bytes and nothing more; what comes back until the server closes or falls silent."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        writer.write(with_key(request, client))
        return await asyncio.wait_for(reader.read(65536), seconds)
    finally:
        writer.close()
        await writer.wait_closed()


def with_key(request: bytes, client: httpx.AsyncClient) -> bytes:
    """The request with the client's key among its headers."""
    return request.replace(b"\r\n", f"\r\nX-API-Key: {client.headers['x-api-key']}\r\n".encode(), 1)


def head(length: int) -> bytes:
    lines = [
        "POST /v1/classify HTTP/1.1",
        "Host: a",
        "Content-Type: image/png",
        f"Content-Length: {length}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


async def test_half_a_body_costs_its_time_and_no_more(triton: FakeTriton, serve: Serve) -> None:
    async with serving(triton) as url, serve(url, body_timeout=0.3) as client:
        answer = await exchange(client, head(1000) + PNG[:10])
        assert b" 408 " in answer.splitlines()[0]
        assert b'"code":"request_timeout"' in answer
        assert b"connection: close" in answer.lower()


async def test_a_length_far_beyond_the_cap_is_refused_before_the_body_is_sent(
    triton: FakeTriton, serve: Serve
) -> None:
    async with serving(triton) as url, serve(url) as client:
        answer = await exchange(client, head(999_999_999))
        assert b" 413 " in answer.splitlines()[0]
        assert b'"code":"body_too_large"' in answer
        assert b"connection: close" in answer.lower()


async def test_a_client_that_waits_for_100_continue_gets_the_refusal_instead(
    triton: FakeTriton, serve: Serve
) -> None:
    async with serving(triton) as url, serve(url) as client:
        request = head(999_999_999).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        assert (await exchange(client, request)).startswith(b"HTTP/1.1 413")


async def test_a_body_over_the_cap_is_read_to_its_end_so_that_the_client_sees_the_answer(
    triton: FakeTriton, serve: Serve
) -> None:
    async with serving(triton) as url, serve(url, max_body_bytes=100_000) as client:
        for content in (bytes(300_000), _in_chunks(300_000)):
            answer = await client.post("/v1/classify", content=content, headers=RAW)
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        await until_ready(client)
        assert (await client.post("/v1/classify", content=PNG, headers=RAW)).status_code == 200


async def test_bodies_beyond_the_budget_are_refused_and_the_budget_comes_back(
    triton: FakeTriton, serve: Serve
) -> None:
    async with serving(triton) as url, serve(url, max_buffered_bytes=50_000) as client:
        await until_ready(client)
        answer = await client.post("/v1/classify", content=bytes(60_000), headers=RAW)
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        for _ in range(3):
            answer = await client.post("/v1/classify", content=PNG + bytes(40_000), headers=RAW)
            assert answer.status_code == 200


async def test_one_tenant_does_not_fill_the_room_of_all(
    triton: FakeTriton, serve: Serve, redis: Addresses
) -> None:
    small, other = 40_000, {**RAW, "x-api-key": create_key(redis, "others", "infer")}
    async with (
        serving(triton) as url,
        serve(url, max_body_bytes=small, max_buffered_bytes=4 * small) as client,
        contextlib.AsyncExitStack() as connections,
    ):
        await until_ready(client)
        answers = []
        for _ in range(3):  # bodies that are nearly there; two of them are half of the room
            reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
            connections.callback(writer.close)
            writer.write(with_key(head(small) + bytes(small - 1), client))
            answers.append(asyncio.ensure_future(reader.read(65536)))
        done, waiting = await asyncio.wait(answers, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert ["of your bodies" in refused.result().decode() for refused in done] == [True]
        async with asyncio.timeout(10):  # until its key is known
            while (await client.post("/v1/classify", content=PNG, headers=other)).status_code != 200:
                await asyncio.sleep(0.05)
        assert not any(each.done() for each in waiting)
        for each in waiting:
            each.cancel()


async def test_a_client_that_leaves_in_the_middle_of_its_body_disturbs_nobody(
    triton: FakeTriton, serve: Serve
) -> None:
    async with serving(triton) as url, serve(url, max_buffered_bytes=2_000) as client:
        await until_ready(client)
        for _ in range(20):
            reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
            writer.write(with_key(head(1500) + bytes(1000), client))
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            assert await reader.read() == b""
        assert (await client.post("/v1/classify", content=PNG, headers=RAW)).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity"])
async def test_a_compressed_body_is_refused(triton: FakeTriton, encoding: str, serve: Serve) -> None:
    async with serving(triton) as url, serve(url) as client:
        answer = await client.post("/v1/classify", content=PNG, headers={**RAW, "content-encoding": encoding})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/octet-stream", "", "application/jsonp", "nonsense"]
)
async def test_a_media_type_that_is_not_known_is_refused_before_the_body_is_read(
    triton: FakeTriton, kind: str, serve: Serve
) -> None:
    async with serving(triton) as url, serve(url) as client:
        answer = await exchange(client, head(1000).replace(b"image/png", kind.encode()))
        assert b" 415 " in answer.splitlines()[0]
        assert json.loads(answer.split(b"\r\n\r\n")[1])["code"] == "unsupported_media_type"


async def _in_chunks(size: int):  # type: ignore[no-untyped-def]
    for _ in range(0, size, 10_000):
        yield bytes(10_000)
