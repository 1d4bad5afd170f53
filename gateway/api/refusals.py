"""What never reaches the router: refused by the server at its parser, or a path that the router would mend."""

from collections.abc import Awaitable, Callable
from typing import cast

from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

from gateway.api.problems import refuse
from gateway.http import refusal_of

_CLOSE: Message = {"type": "websocket.close", "code": 1008, "reason": None}


class Refusals:
    """Around the application. A request that is refused while its body comes fails where the body is read.

    Litestar serves //livez as /livez: whoever guards paths in front of the gateway would have been got round.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = str(scope["type"])
        if kind == "http":
            await self._serve(cast("HTTPScope", scope), receive, send)
        elif kind == "websocket" and "//" in scope["path"]:
            await send(_CLOSE)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        error = refusal_of(scope)
        if error is None and "//" not in scope["path"]:
            await self._app(scope, _noticing(scope, receive), send)
        else:
            await refuse(error or NotFoundException(), scope, receive, send)


def _noticing(scope: HTTPScope, receive: Receive) -> Callable[[], Awaitable[HTTPReceiveMessage]]:
    async def noticing() -> HTTPReceiveMessage:
        message = await receive()
        if (error := refusal_of(scope)) is not None:
            raise error
        return cast("HTTPReceiveMessage", message)

    return noticing
