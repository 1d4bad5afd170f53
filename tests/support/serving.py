"""The gateway in the test's own event loop, behind real HTTP, for tests whose Triton is the fake."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn

from gateway.app import build
from gateway.settings import Settings


@asynccontextmanager
async def served(triton_url: str, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client to a gateway with these settings, its catalog read as often as is allowed."""
    values = Settings.model_validate({"triton_url": triton_url, "catalog_interval": 0.1, **settings})
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(build(values), http="httptools", ws="none", log_config=None))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
            while not server.started:
                await asyncio.sleep(0.01)
            yield client
    finally:
        server.should_exit = True
        await task
        listener.close()


async def until_ready(client: httpx.AsyncClient, seconds: float = 10) -> None:
    """Returns once /readyz answers 200."""
    async with asyncio.timeout(seconds):
        while (await client.get("/readyz")).status_code != httpx.codes.OK:
            await asyncio.sleep(0.02)
