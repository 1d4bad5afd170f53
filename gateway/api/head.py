"""HEAD is served wherever GET is (RFC 9110, 9.3.2): as a GET whose answer ends with its headers.

Litestar would want a handler of its own for each. Here only the method is another one: the door, charges and answers
are those of GET, while the log, further out, tells what was asked.
"""

from typing import cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send


class Heads:
    """Between what knows the request as it came and what answers it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method")
        if method == "HEAD":
            await self._head(cast("HTTPScope", scope), receive, send)
        else:
            await self._app(scope, receive, _complete(send) if method == "OPTIONS" else send)

    async def _head(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        as_get = cast("HTTPScope", {**scope, "method": "GET"})

        async def headers_only(message: Message) -> None:
            """The server tells who streams a body, perhaps without an end, that nobody is there any more."""
            if message["type"] == "http.response.start":
                scope["path_template"] = as_get.get("path_template", "unknown")
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(as_get, receive, headers_only)


def allowed(allow: str) -> str:
    """The value of Allow from the router's, which names WebSockets among the methods, and HEAD not beside GET."""
    methods = [method for method in allow.split(", ") if method != "websocket"]
    return ", ".join("GET, HEAD" if method == "GET" else method for method in methods)


def _complete(send: Send) -> Send:
    """For the router's own answers to OPTIONS."""

    async def completed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, allowed(value.decode()).encode() if name.lower() == b"allow" else value)
                for name, value in message["headers"]
            ]
        await send(message)

    return completed
