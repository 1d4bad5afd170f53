"""The HTTP server's protocol with what uvicorn leaves out: bounds in time and size, and problems told at the parser."""

import asyncio
from enum import Enum, auto
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.errors import GatewayError, HeadTimeout, MalformedHttp, Overloaded
from gateway.http.arrival import handed_over
from gateway.http.bounds import Bounds, body_length, has_body, head_error, is_origin_form
from gateway.http.departure import Departure, departure_of, expect_departure
from gateway.http.handshake import handshake_error
from gateway.http.refusal import refuse

_HEADS = 1024  # bytes parsed between two looks at what they were; no more than 57 requests fit in
_CHUNKS = 4 * 1024  # the same within a body that comes in chunks
_PER_LINE = 128  # bytes of framing that a first line, a header or a chunk may have beside what is told of it
_UNKNOWN = "-"  # the method of a request whose first line was not read


class _Stage(Enum):
    """Where the parser is."""

    BETWEEN = auto()
    HEAD = auto()
    BODY = auto()


class _Flow(FlowControl):
    """Whoever waits for a body, or for the caller to leave, asks to read on. While requests wait, that waits too."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class Guard(HttpToolsProtocol):
    """One connection. What it refuses goes through the application like a request, in its turn, with `refusal_of` its
    scope saying why; so it has an id, a line in the log and a place in the counts. The connection ends behind it.

    Behind a request that waits for another one's answer nothing is parsed, and nothing read.

    A body's own deadline is its reader's, which also answers when it passes. What follows here of a body that was
    answered before it came keeps the connection no longer than silence would.
    """

    flow: _Flow

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = bounds or Bounds()
        self._stage = _Stage.BETWEEN
        self._deadline: asyncio.TimerHandle | None = None
        self._reason: GatewayError | None = None  # why a callback stopped the parser
        self._over = False  # refused: whatever else comes is thrown away
        self._current: RequestResponseCycle | None = None  # what is being answered; `cycle` is what came last
        self._kept = b""  # what came and is not parsed yet
        self._untold = 0  # bytes that came and that no callback has told of
        self._left = 0  # bytes of a body whose length was told, that are still to come
        self._header_bytes = 0

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.flow = _Flow(self.transport)
        if self._neighbours() > self._bounds.connections:
            self._refuse(Overloaded("Too many connections come from this address.", retry_after=1))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn tells the request that came last; it may wait behind the one that is being answered."""
        self._stop_waiting()
        self.pipeline.clear()
        if self._current is not None and not self._current.response_complete:
            self._current.disconnected = True
            self._current.message_event.set()
            departure_of(self._current.scope).happen()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        self._kept += data
        self._parse_on()
        if self._stage is _Stage.BODY and self._left <= 0 and not self.flow.read_paused:
            self.flow.pause_reading()
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """In the loop's next turn: all that has come is read in one otherwise, and chunks of a byte take seconds."""
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.flow.held and not self.pipeline and not self.transport.is_closing():
            self._parse_on()
            self.flow.resume_reading()

    def _parse_on(self) -> None:
        """In pieces, so that a request that waits, or framing without an end, is noticed before much is parsed behind
        it; of a body without framing all that came is one piece.
        """
        data, start = self._kept, 0
        while start < len(data) and not self._over and not self.pipeline:
            end = start + self._piece()
            self._parse(data[start:end])
            start = end
        self._kept = b"" if self._over else data[start:]
        self.flow.held = bool(self._kept or self.pipeline) and not self._over
        if self.flow.held:
            self.flow.pause_reading()

    def _piece(self) -> int:
        if self._left > 0:
            return self._left
        return _CHUNKS if self._stage is _Stage.BODY else _HEADS

    def _parse(self, data: bytes) -> None:
        self._untold += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._over = True
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self.cycle.keep_alive = False  # it was answered without; the parser does not go on behind it
        except httptools.HttpParserError:
            self._refuse(self._reason or MalformedHttp("What came is not HTTP/1.1, or not all of it."))
        else:
            self._untold = max(0, self._untold)
            if error := self._bounds.framing_error(self._untold, in_head=self._stage is _Stage.HEAD):
                self._refuse(error)

    # What the parser tells

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self._stage = _Stage.HEAD
        self._header_bytes = 0
        self._untold -= _PER_LINE
        self._await_head()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._untold -= len(url)
        self._stop_for(self._bounds.url_error(len(self.url)))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers are counted, and not taken for headers."""
        size = len(name) + len(value)
        self._header_bytes += size
        self._untold -= size + _PER_LINE
        if self._stage is _Stage.HEAD:
            super().on_header(name, value)
        if error := self._bounds.header_error(len(self.headers), self._header_bytes):
            self._stop_for(error)

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        self._stop_for(head_error(version, self.url, self.headers))
        if version == "1.0":
            self.expect_100_continue = False  # by RFC 9110, 10.1.1: it would be taken for the answer
        if self.parser.should_upgrade():
            self._stop_for(self._upgrade_error())
        self._left = body_length(self.headers)
        self._stop_waiting()
        self._unset_keepalive_if_required()
        self._expect_departure()
        super().on_headers_complete()
        self._stage = _Stage.BODY  # last: what fails before it is told to this request, not to the one before

    def _expect_departure(self) -> None:
        expect_departure(cast("dict[str, Any]", self.scope), Departure(self.flow.resume_reading))

    def _upgrade_error(self) -> GatewayError | None:
        if has_body(self.headers):
            # httptools would take the body for what comes after the upgrade: for frames, or for another request.
            return MalformedHttp("Send a request with a body without Upgrade.")
        if not self._should_upgrade():
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return MalformedHttp("Wait for the answers to earlier requests before you open a WebSocket.")
        return handshake_error(
            self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
        )

    def on_chunk_header(self) -> None:
        self._untold -= _PER_LINE

    def on_body(self, body: bytes) -> None:
        self._untold -= len(body)
        self._left -= len(body)  # below 0 where it comes in chunks
        if not handed_over(self.cycle.scope, body):
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._stage = _Stage.BETWEEN
        self._untold = 0
        super().on_message_complete()

    # Time

    def _await_head(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self._bounds.head_seconds, self._late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        if self.flow.read_paused:  # the rest may be there: it is we who do not read
            self._await_head()
        else:
            self._refuse(HeadTimeout("The headers did not arrive in time."))

    # Refusals

    def _stop_for(self, error: GatewayError | None) -> None:
        """Out of a callback. The parser ends with an error of its own, which does not carry this one."""
        if error is not None:
            self._reason = error
            raise error

    def _refuse(self, error: GatewayError) -> None:
        self._over = True
        self._stop_waiting()
        if self._stage is not _Stage.BODY:
            self._answer(error)
        elif self.cycle.response_complete:
            self.transport.close()
        else:  # whoever waits for the rest of the body hears of it
            refuse(cast("dict[str, Any]", self.cycle.scope), error)
            self.cycle.keep_alive = False
            self.cycle.message_event.set()

    def _answer(self, error: GatewayError) -> None:
        """A request that is nothing but refused, behind those that came before it."""
        if self._stage is _Stage.BETWEEN:
            super().on_message_begin()
        path = self.url.partition(b"?")[0] if is_origin_form(self.url) else b"/"
        self.scope["method"] = self.parser.get_method().decode() if self.url else _UNKNOWN
        self.scope["path"] = unquote(path.decode("ascii"))
        self.scope["raw_path"] = path
        self.scope["query_string"] = b""
        refuse(cast("dict[str, Any]", self.scope), error)
        self._expect_departure()
        before, self.cycle = self.cycle, self._refused_cycle()
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.pipeline.appendleft((self.cycle, self.app))

    def _refused_cycle(self) -> RequestResponseCycle:
        return RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )

    def _neighbours(self) -> int:
        """Connections of this address, this one included. WebSockets are among them."""
        peers = (getattr(each, "client", None) for each in self.connections)
        return sum(
            peer is not None and self.client is not None and peer[0] == self.client[0] for peer in peers
        )
