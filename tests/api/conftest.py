"""A gateway in the test's own loop, in front of the fake Triton."""

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
from stack import Addresses
from support.fake_triton import CLASSIFIER, DETECTOR, FakeTriton, config, serving
from support.serving import Serve, served, until_ready


@pytest.fixture
async def triton() -> FakeTriton:
    fake = FakeTriton()
    fake.models["pets"] = (config("pets", CLASSIFIER, output=[3]), ["1", "2"])
    fake.models["finder"] = (config("finder", DETECTOR, output=[6, 5]), ["1"])
    return fake


@pytest.fixture
def serve(redis: Addresses, caller_key: str) -> Serve:
    return partial(served, redis, caller_key)


@pytest.fixture
async def gateway(triton: FakeTriton, serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(triton) as url, serve(url, request_timeout=2) as client:
        await until_ready(client)
        yield client
