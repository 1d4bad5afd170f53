"""Which pages of other origins may call (the Fetch standard's CORS): exact origins, no cookies, and no `*`.

Litestar's own sees only what reaches its router, so a page could not read why it was refused before that.
"""

from collections.abc import Sequence
from typing import cast

from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from gateway.api.problems import refuse
from gateway.errors import Forbidden

METHODS = ("DELETE", "GET", "HEAD", "POST")
MAY_SEND = (
    "Accept",
    "Accept-Language",
    "Authorization",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
    "Inference-Header-Content-Length",
    "Priority",
    "traceparent",
    "tracestate",
    "X-API-Key",
    "X-Canary",
    "X-Model-Version",
    "X-Request-Id",
    "X-Request-Timeout",
)
MAY_READ = (
    "Deprecation",
    "Inference-Header-Content-Length",
    "Priority",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "Sunset",
    "X-Model-Variant",
    "X-Model-Version",
    "X-Request-Id",
)

_Fields = Sequence[tuple[bytes, bytes]]

_METHODS = frozenset(method.encode() for method in METHODS)
_SENT = frozenset(name.lower().encode() for name in MAY_SEND)
_EXPOSED = ", ".join(MAY_READ).encode()
_GRANTED: _Fields = (
    (b"access-control-allow-methods", ", ".join(METHODS).encode()),
    (b"access-control-allow-headers", ", ".join(MAY_SEND).encode()),
    (b"access-control-max-age", b"600"),
)
# Also for those that may not call: a cache would give them another one's answer.
_BY_ORIGIN = (b"vary", b"Origin")


class Pages:
    """Pages of `origins` may call, written as browsers write them; with none of them nothing is said of CORS at all."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def may_call(self, scope: HTTPScope) -> bool:
        return _field(scope, b"origin") in self._origins

    def told(self, scope: HTTPScope) -> _Fields:
        """What every answer to this request says: that the page may read it, its headers and its times."""
        if not self._origins:
            return ()
        origin = _field(scope, b"origin")
        if origin is None or origin not in self._origins:
            return (_BY_ORIGIN,)
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"timing-allow-origin", origin),
            _BY_ORIGIN,
        )


class Preflights:
    """Answers what a browser asks before a page's request; it sends no credentials with that, so none are needed."""

    def __init__(self, app: ASGIApp, pages: Pages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "OPTIONS" and _is_preflight(cast("HTTPScope", scope)):
            await self._answer(cast("HTTPScope", scope), receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is not None:
            await refuse(Forbidden(refusal), scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 204, "headers": _GRANTED})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _refusal(self, scope: HTTPScope) -> str | None:
        """Why the page's request would not be allowed. A page cannot read it, who looks into the network can."""
        if not self._pages.may_call(scope):
            return "Pages of this origin may not call: it is none of GATEWAY_CORS_ORIGINS."
        if _field(scope, b"access-control-request-method") not in _METHODS:
            return f"Pages may call with {', '.join(METHODS)}."
        names = (_field(scope, b"access-control-request-headers") or b"").lower().split(b",")
        if not {name.strip() for name in names} <= _SENT | {b""}:
            return f"Pages may send the headers {', '.join(MAY_SEND)}."
        return None


def _is_preflight(scope: HTTPScope) -> bool:
    return None not in (_field(scope, b"origin"), _field(scope, b"access-control-request-method"))


def _field(scope: HTTPScope, name: bytes) -> bytes | None:
    """The first of this name."""
    return next((value for key, value in scope["headers"] if key == name), None)
