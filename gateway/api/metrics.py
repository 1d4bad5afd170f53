"""GET /metrics: what Prometheus reads, for a network of the operator's or a key that administers something."""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network

from litestar import Response, Router, get

from gateway.auth.scopes import ANY_ADMINISTRATION
from gateway.telemetry.metrics import CONTENT_TYPE


def metrics_routes(
    scrape: Callable[[], Callable[[], bytes]], networks: Sequence[IPv4Network | IPv6Network]
) -> Router:
    """`scrape` reads this worker's state and answers the work that makes a text of it, which goes to a thread."""
    one_at_a_time = asyncio.Lock()

    @get("/metrics", include_in_schema=False)
    async def metrics() -> Response[bytes]:
        async with one_at_a_time:
            text = await asyncio.to_thread(scrape())
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    return Router(
        "/",
        route_handlers=[metrics],
        opt={"scope": ANY_ADMINISTRATION, "networks": tuple(networks), "free": True},
    )
