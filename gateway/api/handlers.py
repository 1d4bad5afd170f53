"""What Litestar does with every request and need not do with the many: its handler and its answer, made short."""

import functools
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from litestar import Response
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.types import Receive, Scope, Send

from gateway.api.context import Connection

_Content = TypeVar("_Content")


class Shared(HTTPRouteHandler):
    """For guards that only read their handler: Litestar copies it, field by field, for each guard to change."""

    async def authorize_connection(self, connection: Connection) -> None:
        for guard in self.resolve_guards():
            await guard(connection, self)  # type: ignore[misc]  # Litestar has made each of them awaitable


inference = functools.partial(Shared, http_method=HttpMethod.POST)


class Encoded(Response[_Content]):
    """A 200 whose body and headers are all there. Litestar's own goes through its headers three times to complete them,
    which costs more than to send them."""

    __slots__ = ("_body", "_headers")

    def __init__(self, body: bytes, headers: Mapping[str, str], media_type: str) -> None:
        fields = {**headers, "content-type": media_type, "content-length": str(len(body))}
        self._body = body
        self._headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]

    def to_asgi_response(self, *_: Any, **__: Any) -> Self:  # type: ignore[override]  # it is one
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})
