"""/livez: the process answers. /readyz: a request would be answered, part by part."""

from litestar import Response, Router, get

from gateway.catalog import Catalog


def health_routes(catalog: Catalog) -> Router:
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
        sync_to_thread=False,
    )
    def readyz() -> Response[dict[str, object]]:
        status = catalog.status()
        parts = {"triton": status.fresh, "models": status.models > 0}
        ready = all(parts.values())
        return Response(
            {"status": "ready" if ready else "not ready", "parts": parts}, status_code=200 if ready else 503
        )

    return Router("/", route_handlers=[livez, readyz])
