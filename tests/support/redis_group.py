"""Two gateways on a store of several servers, and what callers and operators of theirs see."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
from stack import ADMINISTRATION, Addresses, create_key, free_addresses
from support.everything import PNG, two_versions
from support.fake_triton import serving
from support.serving import served, until_ready

ROUTE = "/admin/v1/canaries/pets"
IMAGE = {"content-type": "image/png"}


@contextlib.asynccontextmanager
async def two_gateways(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Their clients, as an operator with all scopes, who is of a tenant of its own."""
    nowhere = free_addresses()
    key = await asyncio.to_thread(create_key, nowhere, "operators", *ADMINISTRATION, redis_url=url)
    async with (
        serving(two_versions()) as triton,
        _at(nowhere, key, triton, url) as first,
        _at(nowhere, key, triton, url) as second,
    ):
        yield first, second


@contextlib.asynccontextmanager
async def _at(nowhere: Addresses, key: str, triton: str, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with served(nowhere, key, triton, redis_url=url, replicas=2) as gateway:
        await until_ready(gateway)
        yield gateway


async def made_key(gateway: httpx.AsyncClient, tenant: str, **quota: int) -> tuple[str, dict[str, str]]:
    """Its id, and the headers of a request with it; returns once both answer to it."""
    document = {
        "tenant": tenant,
        "scopes": ["infer"],
        "tier": "premium",
        **({"rate_limit": quota} if quota else {}),
    }
    made = await gateway.post("/admin/v1/keys", json=document)
    assert made.status_code == 201, made.text
    return made.json()["id"], {**IMAGE, "x-api-key": made.json()["key"]}


async def answered(gateway: httpx.AsyncClient, headers: dict[str, str]) -> int:
    return (await gateway.post("/v1/classify", content=PNG, headers=headers)).status_code


async def until_status(gateway: httpx.AsyncClient, headers: dict[str, str], status: int) -> float:
    """Seconds until a call with these headers is answered so; fails after 10."""
    began = time.monotonic()
    async with asyncio.timeout(10):
        while await answered(gateway, headers) != status:
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def until_shared(gateway: httpx.AsyncClient, within: float = 30) -> None:
    """Returns once limits are shared, and keys, routes and denied tokens are fresh."""
    async with asyncio.timeout(within):
        while not all((await gateway.get("/readyz")).json()["parts"].values()):
            await asyncio.sleep(0.05)


async def until_degraded(gateway: httpx.AsyncClient) -> None:
    """Returns once some part of /readyz says that the store is missed."""
    async with asyncio.timeout(10):
        while all((await gateway.get("/readyz")).json()["parts"].values()):
            await asyncio.sleep(0.02)


async def put_route(gateway: httpx.AsyncClient, weight: int) -> None:
    tag = (await gateway.get(ROUTE)).headers["etag"]
    wanted = {"stable": "1", "canary": "2", "weight": weight}
    put = await gateway.put(ROUTE, json=wanted, headers={"if-match": tag})
    assert put.status_code == 200, put.text


async def until_version(gateway: httpx.AsyncClient, version: str) -> float:
    """Seconds until this version answers; fails after 10."""
    began = time.monotonic()
    async with asyncio.timeout(10):
        while True:
            reply = await gateway.post("/v1/classify", content=PNG, headers=IMAGE)
            if reply.headers.get("x-model-version") == version:
                return time.monotonic() - began
            await asyncio.sleep(0.02)


@dataclass
class Traffic:
    """Somebody who calls all the time; `statuses` counts the answers."""

    statuses: "Counter[int]" = field(default_factory=Counter)

    async def run(self, gateway: httpx.AsyncClient, headers: dict[str, str]) -> None:
        while True:
            self.statuses[await answered(gateway, headers)] += 1
            await asyncio.sleep(0.02)
