"""The gateway in the test's own event loop, behind real HTTP, for tests whose Triton is the fake."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import uvicorn
from stack import Addresses, store_environment

from gateway.app import build
from gateway.fetch import Outside
from gateway.http import Guard, StreamGuard
from gateway.settings import Settings
from gateway.upstream import Resolve


@asynccontextmanager
async def served(
    redis: Addresses,
    key: str,
    triton_url: str,
    *,
    outside: Outside | None = None,
    resolve: Resolve | None = None,
    grace: int | None = None,
    **settings: object,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client, with this key, to a gateway with these settings, its catalog read as often as is allowed; `outside`
    is what it takes for the internet, `resolve` what it looks names of Tritons up with. At its end it cuts off what
    takes more than `grace` seconds, nothing by default.
    """
    store = {name.removeprefix("GATEWAY_").lower(): value for name, value in store_environment(redis).items()}
    values = Settings.model_validate({"triton_url": triton_url, "catalog_interval": 0.1, **store, **settings})
    headers = {"x-api-key": key} if key else {}
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            build(values, outside=outside, resolve=resolve),
            http=Guard,
            ws=StreamGuard,
            ws_max_size=2 * values.max_frame_bytes,
            ws_per_message_deflate=False,
            log_config=None,
            timeout_graceful_shutdown=grace,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, headers=headers) as client:
            while not server.started or not await _knows_callers(client):
                await asyncio.sleep(0.01)
            yield client
    finally:
        server.should_exit = True
        await task
        listener.close()


async def _knows_callers(client: httpx.AsyncClient) -> bool:
    parts = (await client.get("/readyz")).json()["parts"]
    return bool(parts["keys"] and parts["denied_tokens_fresh"] and parts["routes_fresh"])


async def until_ready(client: httpx.AsyncClient, seconds: float = 10) -> None:
    """Returns once /readyz answers 200."""
    async with asyncio.timeout(seconds):
        while (await client.get("/readyz")).status_code != httpx.codes.OK:
            await asyncio.sleep(0.02)


Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
"""`served` with a store and a key of its own: `serve(triton_url, **settings)`."""
