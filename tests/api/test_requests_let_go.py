"""What a request held is free with its answer, and not whenever somebody looks for garbage.

A circle would keep it: a failed one's error knows its frames, and with them the body; what is settled at the end of any
knows its context, some thirty objects, and the event loop stands still for as long as thousands of these are looked
through.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
from support.fake_triton import CLASSIFIER, FakeTriton, config, failing, serving
from support.pictures import encoded, photo
from support.serving import Serve, until_ready

from gateway.api.context import Context
from gateway.errors import GatewayError

ONCE = {"connection": "close"}  # one that stays open keeps the context of its last request
JSON = {"content-type": "application/json", **ONCE}
PNG = encoded(photo(20, 10))


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    async with in_front_of(serve, infer=failing(grpc.StatusCode.INTERNAL, "no")) as client:
        yield client


@pytest.fixture
async def fine_client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    async with in_front_of(serve) as client:
        yield client


@asynccontextmanager
async def in_front_of(serve: Serve, **triton: Any) -> AsyncIterator[httpx.AsyncClient]:
    model = config("m", CLASSIFIER, output=[3], max_batch_size=1)
    async with serving(FakeTriton({"m": (model, ["1"])}, **triton)) as url, serve(url) as client:
        await until_ready(client)
        yield client


@pytest.fixture
def left() -> Iterator[Callable[[], bool]]:
    """Whether there are errors or contexts that were not there before, while nobody looks for garbage."""
    gc.collect()
    gc.disable()
    before = held()
    known = set(map(id, before))
    yield lambda: any(id(each) not in known for each in held())
    gc.enable()


def held() -> list[object]:
    return [found for found in gc.get_objects() if isinstance(found, GatewayError | Context)]


async def until_none(left: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while left():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("path", "content", "headers", "status"),
    [
        ("/v1/classify", PNG, {"content-type": "image/png", **ONCE}, 502),
        ("/v1/classify", PNG[:60], {"content-type": "image/png", **ONCE}, 422),
        ("/v1/classify", b'{"inputs": [', JSON, 400),
        ("/v2/models/m/infer", b'{"inputs": [', JSON, 400),
        ("/v2/models/m/infer", b'{"inputs": []}', JSON, 400),
    ],
    ids=["the model fails", "a broken image", "broken JSON", "broken JSON of tensors", "no tensors"],
)
async def test_nothing_of_a_failure_is_left(
    client: httpx.AsyncClient,
    left: Callable[[], bool],
    path: str,
    content: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    for _ in range(5):
        reply = await client.post(path, content=content, headers=headers)
        assert reply.status_code == status, reply.text
    await until_none(left)


async def test_neither_is_one_of_several_batches(client: httpx.AsyncClient, left: Callable[[], bool]) -> None:
    files = [("image", ("a.png", PNG, "image/png"))] * 4
    assert (await client.post("/v1/classify", files=files, headers=ONCE)).status_code == 502
    await until_none(left)


async def test_nothing_of_a_success_is_left(fine_client: httpx.AsyncClient, left: Callable[[], bool]) -> None:
    for _ in range(5):
        reply = await fine_client.post(
            "/v1/classify", content=PNG, headers={"content-type": "image/png", **ONCE}
        )
        assert reply.status_code == 200, reply.text
    await until_none(left)
