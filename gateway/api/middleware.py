"""Around the whole application, unknown paths included: request ids and the access line."""

import re
import uuid
from collections.abc import Callable
from typing import cast

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from gateway.api.context import Context, attach
from gateway.priority import render
from gateway.ratelimit import headers as quota_headers

_WELL_FORMED_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")

_PROBES = ("/livez", "/readyz")  # asked every few seconds for ever; their lines would drown the others

_log = structlog.stdlib.get_logger("gateway.access")


class RequestContext:
    """Gives every request an id and a start time, echoes the id, and writes one line when it ends.

    It wraps the application from the outside because Litestar's own middleware does not run for unknown paths.
    """

    def __init__(self, app: ASGIApp, *, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if str(scope["type"]) == "http":
            await self._serve(cast("HTTPScope", scope), receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        context = Context(request_id=_request_id(scope), started=self._clock())
        attach(scope, context)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_headers(context)]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=context.request_id):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                context.end(status)
                route = scope.get("path_template", "unknown")
                log = _log.debug if route in _PROBES else _log.info
                log(
                    "request",
                    method=scope["method"],
                    route=route,
                    status=status,
                    code=context.code,
                    model=context.model,
                    version=context.version,
                    key=context.principal.id if context.principal else None,
                    tenant=context.principal.tenant if context.principal else None,
                    ms=round((self._clock() - context.started) * 1000, 1),
                )


def _headers(context: Context) -> list[tuple[bytes, bytes]]:
    """What every answer tells: which request it was, what is left of the quota, which class was applied."""
    fields = {"x-request-id": context.request_id}
    if context.decision is not None:
        fields |= {name.lower(): value for name, value in quota_headers(context.decision).items()}
        fields.pop("retry-after", None)  # the problem says it already
    if context.priority is not None:
        fields["priority"] = render(context.priority)
    return [(name.encode(), value.encode()) for name, value in fields.items()]


def _request_id(scope: HTTPScope) -> str:
    """The caller's X-Request-Id if it is well-formed, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _WELL_FORMED_ID.fullmatch(value):
            return value.decode("ascii")
    return uuid.uuid4().hex
