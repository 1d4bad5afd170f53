"""A gateway in the test's own loop, in front of the fake Triton."""

from collections.abc import AsyncIterator

import httpx
import pytest
from support.fake_triton import CLASSIFIER, DETECTOR, FakeTriton, config, serving
from support.serving import served, until_ready


@pytest.fixture
async def triton() -> FakeTriton:
    fake = FakeTriton()
    fake.models["pets"] = (config("pets", CLASSIFIER, output=[3]), ["1", "2"])
    fake.models["finder"] = (config("finder", DETECTOR, output=[6, 5]), ["1"])
    return fake


@pytest.fixture
async def gateway(triton: FakeTriton) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(triton) as url, served(url, request_timeout=2) as client:
        await until_ready(client)
        yield client
