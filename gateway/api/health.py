"""/livez: the process answers. /readyz: a request would be answered, part by part."""

from litestar import Response, Router, get
from litestar.openapi.datastructures import ResponseSpec

from gateway.auth import DenyList, KeyRing, TrustedIssuers
from gateway.canary import Route
from gateway.canary.fleet import Fleet
from gateway.canary.table import RouteTable
from gateway.catalog import Catalog
from gateway.ratelimit import RateLimiter
from gateway.serving import Drain


def health_routes(
    catalog: Catalog,
    ring: KeyRing,
    limiter: RateLimiter,
    issuers: TrustedIssuers,
    denied: DenyList,
    routes: RouteTable[Route],
    fleet: Fleet,
    drain: Drain,
) -> Router:
    @get(
        "/livez", operation_id="livez", summary="Is the process alive?", tags=["health"], sync_to_thread=False
    )
    def livez() -> dict[str, str]:
        return {"status": "ok"}

    @get(
        "/readyz",
        operation_id="readyz",
        summary="Would a request be answered?",
        description="200 when every part is ready, else 503.",
        tags=["health"],
        responses={
            503: ResponseSpec(
                data_container=dict[str, object], description="It would not", generate_examples=False
            )
        },
        sync_to_thread=False,
    )
    def readyz() -> Response[dict[str, object]]:
        status = catalog.status()
        parts = {
            "triton": status.answering,
            "models": status.models > 0,
            "keys": ring.status().usable,
            "staying": not drain.begun,  # who is about to end still answers, but should be sent nobody new
        }
        # Without these most requests are still answered, so they are told and do not count: an issuer whose keys
        # cannot be had must not take the gateway away from everybody else.
        degraded = {
            "models_fresh": status.fresh,  # where Triton answers, and cannot say which models it has
            "keys_fresh": ring.status().fresh,
            "denied_tokens_fresh": denied.fresh,
            "limits": limiter.healthy,
            "routes_fresh": routes.status().fresh,
            "changes_taken": fleet.taken,
            **{f"issuer:{name}": keys.usable for name, keys in issuers.status().items()},
        }
        ready = all(parts.values())
        body: dict[str, object] = {
            "status": "ready" if ready else "not ready",
            "parts": {**parts, **degraded},
        }
        return Response(body, status_code=200 if ready else 503)

    return Router("/", route_handlers=[livez, readyz], opt={"public": True})
