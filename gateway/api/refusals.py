"""What never reaches the router: refused by the server at its parser, or a path that the router would mend."""

from collections.abc import Awaitable, Callable
from typing import cast

from litestar.exceptions import NotFoundException
from litestar.types import (
    ASGIApp,
    HTTPReceiveMessage,
    HTTPScope,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketScope,
)

from gateway.api.problems import refuse
from gateway.http import refusal_of

_CLOSE: Message = {"type": "websocket.close", "code": 1008, "reason": None}


class Refusals:
    """Around the application. A request that is refused while its body comes fails where the body is read.

    Litestar serves //livez as /livez, and /admin%2Fv1 as /admin/v1: whoever guards paths in front of the gateway would
    have been got round. A backslash is a slash to some of those; no path of ours has one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = str(scope["type"])
        if kind == "http":
            await self._serve(cast("HTTPScope", scope), receive, send)
        elif kind == "websocket" and _is_ambiguous(cast("WebSocketScope", scope)):
            await send(_CLOSE)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        error = refusal_of(scope)
        if error is None and not _is_ambiguous(scope):
            await self._app(scope, _noticing(scope, receive), send)
        else:
            await refuse(error or NotFoundException(), scope, receive, send)


def _is_ambiguous(scope: HTTPScope | WebSocketScope) -> bool:
    """Whether another program may find other slashes in the path. What is encoded is so in the raw path alone."""
    path = scope["path"]
    return "//" in path or "\\" in path or b"%2f" in scope["raw_path"].lower()


def _noticing(scope: HTTPScope, receive: Receive) -> Callable[[], Awaitable[HTTPReceiveMessage]]:
    async def noticing() -> HTTPReceiveMessage:
        message = await receive()
        if (error := refusal_of(scope)) is not None:
            raise error
        return cast("HTTPReceiveMessage", message)

    return noticing
