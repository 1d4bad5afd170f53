"""What an image by URL costs its caller, and how long it may take."""

import asyncio
from pathlib import Path

import httpx
from stack import Addresses, create_key
from support.fake_triton import FakeTriton
from support.fake_triton import serving as triton_serving
from support.image_host import NAME, page, scene
from support.pictures import encoded, photo
from support.serving import Serve, served, until_ready

PNG = encoded(photo(20, 10))
URL = f"https://{NAME}/a.png"


def urls(count: int) -> dict[str, object]:
    return {"inputs": [{"url": URL}] * count}


def left(answer: httpx.Response) -> int:
    """Of the quota, as the answer says."""
    return int(answer.headers["ratelimit"].split(";r=")[1].split(";")[0])


async def test_images_by_url_cost_what_their_bytes_cost(
    triton: FakeTriton, redis: Addresses, tmp_path: Path
) -> None:
    key = create_key(redis, "tests", "infer", rate="1/86400:20")
    async with scene(tmp_path) as here, triton_serving(triton) as url:
        here.host.pages["/a.png"] = page(PNG)
        async with served(redis, key, url, outside=here.outside, image_hosts=NAME) as client:
            await until_ready(client)
            first = await client.post("/v1/classify", json=urls(1))
            second = await client.post("/v1/classify", json=urls(4))
            assert (first.status_code, second.status_code) == (200, 200)
            assert left(first) - left(second) == 4


async def test_a_quota_that_has_no_room_for_the_images_fetches_none(
    triton: FakeTriton, redis: Addresses, tmp_path: Path
) -> None:
    key = create_key(redis, "tests", "infer", rate="1/86400:4")
    async with (
        scene(tmp_path) as here,
        triton_serving(triton) as url,
        served(redis, key, url, outside=here.outside, image_hosts=NAME) as client,
    ):
        await until_ready(client)
        here.host.pages["/a.png"] = page(PNG)
        assert (await client.post("/v1/classify", json=urls(3))).status_code == 200
        assert len(here.names.asked) == 3
        assert (await client.post("/v1/classify", json=urls(3))).status_code == 429
        assert len(here.names.asked) == 3


async def test_a_fetch_ends_with_the_time_that_the_request_has(
    triton: FakeTriton, serve: Serve, tmp_path: Path
) -> None:
    async def silence(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with scene(tmp_path) as here, triton_serving(triton) as url:
        here.host.pages["/a.png"] = silence
        async with serve(url, outside=here.outside, image_hosts=NAME) as client:
            await until_ready(client)
            answer = await client.post("/v1/classify", json=urls(1), headers={"x-request-timeout": "1000"})
    assert answer.status_code == 504
    assert answer.json()["code"] == "deadline_exceeded"


async def test_a_caller_who_leaves_ends_the_fetch(triton: FakeTriton, serve: Serve, tmp_path: Path) -> None:
    asked, left_alone = asyncio.Event(), asyncio.Event()

    async def until_closed(writer: asyncio.StreamWriter) -> None:
        asked.set()
        while not writer.transport.is_closing():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await asyncio.sleep(0.01)
        left_alone.set()

    async with scene(tmp_path) as here, triton_serving(triton) as url:
        here.host.pages["/a.png"] = until_closed
        async with serve(url, outside=here.outside, image_hosts=NAME) as client:
            await until_ready(client)
            request = asyncio.create_task(client.post("/v1/classify", json=urls(1)))
            await asked.wait()
            request.cancel()
            began = asyncio.get_running_loop().time()
            await left_alone.wait()
            assert asyncio.get_running_loop().time() - began < 2.5  # before the fetch's own three seconds


async def test_what_is_fetched_counts_as_a_body_that_is_held(
    triton: FakeTriton, serve: Serve, tmp_path: Path
) -> None:
    async with scene(tmp_path) as here, triton_serving(triton) as url:
        here.host.pages["/a.png"] = page(bytes(100_000))
        async with serve(url, outside=here.outside, image_hosts=NAME, max_buffered_bytes=150_000) as client:
            await until_ready(client)
            one = await client.post("/v1/classify", json=urls(1))
            two = await client.post("/v1/classify", json=urls(2))
            again = await client.post("/v1/classify", json=urls(1))
    assert one.json()["code"] == again.json()["code"] == "unsupported_image_format"
    assert (two.status_code, two.json()["code"]) == (503, "overloaded")
