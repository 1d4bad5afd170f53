"""The load generator's end of the wire: HTTP/1.1 connections that are kept open, one request at a time on each."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httptools

NO_ANSWER = 0  # in place of a status: the connection broke, or the answer did not come in time

_APART = 0.005  # seconds between two new connections

Answered = Callable[[int], None]


@dataclass(frozen=True)
class Address:
    host: str
    port: int


class Connection(asyncio.Protocol):
    """`ask` sends a request and calls back once with the status of its answer."""

    def __init__(self, on_idle: "Callable[[Connection], None]") -> None:
        self._on_idle = on_idle
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answered: Answered | None = None

    @property
    def alive(self) -> bool:
        return self._transport is not None

    def ask(self, request: bytes, answered: Answered) -> None:
        if self._transport is None:
            answered(NO_ANSWER)
            return
        self._answered = answered
        self._transport.write(request)

    def abandon(self) -> None:
        """Gives up on the request in flight, and with it on the connection: its answer may still come."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is not a subclass of it

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abandon()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._settle(NO_ANSWER)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.abandon()
        else:
            self._on_idle(self)
        self._settle(status)

    def _settle(self, status: int) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(status)


class Connections:
    """Up to `most` connections. The one idle for longest goes next, so that every worker gets its share.

    A request that finds none waits for one; what it waits is part of its latency.
    """

    def __init__(self, address: Address, *, most: int, patience: float) -> None:
        self._address = address
        self._most = most
        self._patience = patience
        self._idle: deque[Connection] = deque()
        self._waiting: deque[tuple[bytes, Answered]] = deque()
        self._all: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()

    async def open(self, count: int) -> None:
        """Opens so many before the load begins, as callers come: one by one.

        Of connections that arrive at once one worker takes all, since each accepts until none is left.
        """
        for _ in range(count):
            await self._open()
            await asyncio.sleep(_APART)

    def ask(self, request: bytes, answered: Answered) -> None:
        """Sends the request, now or when a connection is free."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.alive:  # the server closes those that were idle for long
                self._start(connection, request, answered)
                return
            self._all.discard(connection)
        self._waiting.append((request, answered))
        if len(self._all) + len(self._opening) < self._most:
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def close(self) -> None:
        for connection in list(self._all):
            connection.abandon()

    async def _open(self) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self._on_idle), self._address.host, self._address.port
            )
        except OSError:
            if self._waiting:
                self._waiting.popleft()[1](NO_ANSWER)
            return
        self._all.add(connection)
        self._on_idle(connection)

    def _on_idle(self, connection: Connection) -> None:
        # Not at once: the parser is still inside the answer before.
        asyncio.get_running_loop().call_soon(self._next, connection)

    def _next(self, connection: Connection) -> None:
        if self._waiting:
            self._start(connection, *self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _start(self, connection: Connection, request: bytes, answered: Answered) -> None:
        timer = asyncio.get_running_loop().call_later(self._patience, connection.abandon)

        def settled(status: int) -> None:
            timer.cancel()
            if status == NO_ANSWER:
                self._all.discard(connection)
            answered(status)

        connection.ask(request, settled)


def http_request(
    method: str,
    path: str,
    *,
    key: str,
    body: bytes = b"",
    content_type: str = "image/png",
    urgency: int | None = None,
    timeout_ms: int | None = None,
    inference_header: bytes = b"",
) -> bytes:
    """A whole request as it goes over the wire, made once and sent many times.

    `inference_header` is the JSON before the tensors of Triton's binary extension.
    """
    headers = {"Host": "gateway", "X-API-Key": key}
    if inference_header:
        headers["Inference-Header-Content-Length"] = str(len(inference_header))
        body = inference_header + body
    if body:
        headers |= {"Content-Type": content_type, "Content-Length": str(len(body))}
    if urgency is not None:
        headers["Priority"] = f"u={urgency}"
    if timeout_ms is not None:
        headers["X-Request-Timeout"] = str(timeout_ms)
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
