"""What a failed request held is free with its answer: errors and their frames would make circles, and keep its body."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator

import grpc
import httpx
import pytest
from support.fake_triton import CLASSIFIER, FakeTriton, config, failing, serving
from support.pictures import encoded, photo
from support.serving import Serve, until_ready

from gateway.errors import GatewayError

JSON = {"content-type": "application/json"}
PNG = encoded(photo(20, 10))


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    model = config("m", CLASSIFIER, output=[3], max_batch_size=1)
    triton = FakeTriton({"m": (model, ["1"])}, infer=failing(grpc.StatusCode.INTERNAL, "no"))
    async with serving(triton) as url, serve(url) as client:
        await until_ready(client)
        yield client


@pytest.fixture
def left() -> Iterator[Callable[[], bool]]:
    """Whether there are errors that were not there before, while nobody looks for garbage."""
    gc.collect()
    gc.disable()
    before = errors()
    known = set(map(id, before))
    yield lambda: any(id(error) not in known for error in errors())
    gc.enable()


def errors() -> list[GatewayError]:
    return [found for found in gc.get_objects() if isinstance(found, GatewayError)]


async def until_none(left: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while left():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("path", "content", "headers", "status"),
    [
        ("/v1/classify", PNG, {"content-type": "image/png"}, 502),
        ("/v1/classify", PNG[:60], {"content-type": "image/png"}, 422),
        ("/v1/classify", b'{"inputs": [', JSON, 400),
        ("/v2/models/m/infer", b'{"inputs": [', JSON, 400),
        ("/v2/models/m/infer", b'{"inputs": []}', JSON, 400),
    ],
    ids=["the model fails", "a broken image", "broken JSON", "broken JSON of tensors", "no tensors"],
)
async def test_no_error_is_left(
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
    assert (await client.post("/v1/classify", files=files)).status_code == 502
    await until_none(left)
