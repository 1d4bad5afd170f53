"""A WebSocket client for tests: what a browser or a program puts on the wire, and what came back."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

SECONDS = 30.0


@dataclass(frozen=True)
class Closed:
    """How the other side ended it."""

    code: int
    reason: str | None = None


@dataclass(frozen=True)
class Refused:
    """An answer that is no handshake."""

    status: int
    body: bytes


class Socket:
    """`accepted` is the subprotocol that the server chose, None for none."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self.accepted: str | None = None
        self.headers: dict[str, str] = {}

    async def shake_hands(self, request: Request) -> Refused | None:
        await self._put(request)
        event = await self._next()
        if isinstance(event, AcceptConnection):
            self.accepted = event.subprotocol
            self.headers = {name.decode(): value.decode() for name, value in event.extra_headers}
            return None
        assert isinstance(event, RejectConnection), event
        body = b""
        while not (isinstance(data := await self._next(), RejectData) and data.body_finished):
            assert isinstance(data, RejectData)
            body += data.data
        return Refused(event.status_code, body + data.data)

    async def send(self, data: bytes | str) -> None:
        await self._put(Message(data=data))

    async def send_options(self, **options: object) -> None:
        await self.send(json.dumps(options))

    async def receive(self) -> dict[str, Any] | Closed:
        """The next message, which is JSON, or the end."""
        text = ""
        while True:
            event = await self._next()
            if isinstance(event, CloseConnection):
                return Closed(event.code, event.reason)
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                message: dict[str, Any] = json.loads(text)
                return message

    async def message(self) -> dict[str, Any]:
        received = await self.receive()
        assert isinstance(received, dict), received
        return received

    async def ends_with(self) -> tuple[str | None, int]:
        """The code of the last message where that is a problem of the stream, and the close code."""
        code = None
        while not isinstance(received := await self.receive(), Closed):
            if received["type"] == "problem" and "frame" not in received:
                code = received["problem"]["code"]
        return code, received.code

    async def leave(self) -> None:
        """Without a word, as when the cable is pulled."""
        self._writer.transport.abort()

    async def _put(self, event: Event) -> None:
        self._writer.write(self._wire.send(event))
        await self._writer.drain()

    async def _next(self) -> Event:
        async with asyncio.timeout(SECONDS):
            while not self._events:
                data = await self._reader.read(65536)
                self._wire.receive_data(data or None)
                for event in self._wire.events():
                    if isinstance(event, Ping):
                        await self._put(event.response())
                    elif not (isinstance(event, BytesMessage)):
                        self._events.append(event)
        return self._events.pop(0)


@asynccontextmanager
async def connected(
    url: str, path: str, headers: dict[str, str] | None = None, subprotocols: Sequence[str] = ()
) -> AsyncIterator[Socket]:
    """A WebSocket to an http:// address. The server must take it."""
    async with opened(url, path, headers, subprotocols) as (socket, refused):
        assert refused is None, refused
        yield socket


@asynccontextmanager
async def opened(
    url: str, path: str, headers: dict[str, str] | None = None, subprotocols: Sequence[str] = ()
) -> AsyncIterator[tuple[Socket, Refused | None]]:
    """As `connected`, with what a server said that did not take it."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        socket = Socket(reader, writer)
        lines = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        request = Request(host=at.netloc, target=path, subprotocols=list(subprotocols), extra_headers=lines)
        yield socket, await socket.shake_hands(request)
    finally:
        writer.transport.abort()
