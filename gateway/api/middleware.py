"""Around the whole application, unknown paths too: request ids, stage times, counts, traces and the access line."""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send, WebSocketScope

from gateway.api.context import Context, attach
from gateway.api.cors import Pages
from gateway.api.header_fields import REQUEST_ID
from gateway.api.problems import KINDS, MEDIA_TYPE, described, refuse
from gateway.errors import Draining
from gateway.priority import render
from gateway.ratelimit import headers as quota_headers
from gateway.serving import Drain
from gateway.telemetry.logs import Named
from gateway.telemetry.requests import Finished
from gateway.telemetry.timeline import Timeline, server_timing
from gateway.telemetry.trace import Trace, new_trace_id
from gateway.telemetry.tracing import Traced

_WELL_FORMED_ID = re.compile(REQUEST_ID.encode())

_PROBES = (
    "/livez",
    "/readyz",
    "/metrics",
)  # asked every few seconds for ever; their lines would drown the others

_UNKEPT = (b"cache-control", b"no-store")

_log = structlog.stdlib.get_logger("gateway.access")


class Requests(Protocol):
    """Counts each request once, and those under way."""

    def begun(self) -> None: ...

    def over(self) -> None: ...

    def finished(self, request: Finished) -> None: ...


class Tracing(Protocol):
    """Decides which requests are traced, and sends their spans."""

    def begin(self, headers: Sequence[bytes]) -> Trace: ...

    def answers(self, trace: Trace, status: int, seconds: float, *, known: bool) -> None: ...

    def over(self, request: Traced) -> None: ...


class RequestContext:
    """Gives every request an id and a start time, tells both in its answer, and counts, logs and traces it at its end.

    It wraps the application from the outside because Litestar's own middleware does not run for unknown paths. `pages`
    says what each answer tells browsers.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Callable[[], float],
        requests: Requests,
        pages: Pages,
        tracing: Tracing | None = None,
        drain: Drain | None = None,
    ) -> None:
        self._app = app
        self._drain = drain or Drain()
        self._clock = clock
        self._requests = requests
        self._tracing = tracing
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = str(scope["type"])
        if kind == "http":
            await self._serve(cast("HTTPScope", scope), receive, send)
        elif kind == "websocket":
            await self._connect(cast("WebSocketScope", scope), receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        trace = self._trace(scope)
        context = Context(_request_id(scope), self._clock(), Timeline(self._clock, trace))
        attach(scope, context)
        exchange = _Exchange(
            scope,
            context,
            send,
            self._requests,
            self._clock,
            for_pages=self._pages.told(scope),
            tracing=self._tracing,
            drain=self._drain,
        )
        counted = scope["path"] not in _PROBES
        if counted:
            self._requests.begun()
        with Named(request_id=context.request_id, trace_id=trace.trace_id if trace else None):
            try:
                await self._app(scope, receive, exchange.send)
            except asyncio.CancelledError:
                # The server's patience is over: the end of a process is no reason for an answer that says nothing.
                if exchange.status or not self._drain.begun:
                    raise
                await self._cut_short(scope, receive, exchange.send)
            finally:
                if counted:
                    self._requests.over()
                exchange.count()
                context.end(exchange.status)
                exchange.log()
                exchange.trace()

    async def _cut_short(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        error = Draining("This process ends before the answer is there.", retry_after=1)
        await refuse(error, scope, receive, send)

    async def _connect(self, scope: WebSocketScope, receive: Receive, send: Send) -> None:
        """A WebSocket is counted and logged as its handshake; what goes over it is its handler's to count and trace."""
        context = Context(_request_id(scope), self._clock(), Timeline(self._clock))
        attach(scope, context)
        exchange = _Exchange(scope, context, send, self._requests, self._clock)
        with Named(request_id=context.request_id):
            try:
                await self._app(scope, receive, exchange.send_to_socket)
            finally:
                exchange.count()
                context.end(exchange.status)
                exchange.log()

    def _trace(self, scope: HTTPScope) -> Trace | None:
        return None if scope["path"] in _PROBES else trace_of(scope, self._tracing)


class _Exchange:
    """A request on its way to an answer: what the answer tells beside its content, and what is told of it here."""

    def __init__(
        self,
        scope: HTTPScope | WebSocketScope,
        context: Context,
        send: Send,
        requests: Requests,
        clock: Callable[[], float],
        *,
        for_pages: Sequence[tuple[bytes, bytes]] = (),
        tracing: Tracing | None = None,
        drain: Drain | None = None,
    ) -> None:
        self._scope = scope
        self._drain = drain
        self._context = context
        self._send = send
        self._requests = requests
        self._clock = clock
        self._for_pages = for_pages
        self._tracing = tracing
        self._counted = False
        self.status = 0

    async def send(self, message: Message) -> None:
        """The next piece of the answer. It is counted before its last byte leaves: who has it finds it counted."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._decide()
            message["headers"] = self._completed(message["headers"])
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            self.count()
        await self._send(message)

    async def send_to_socket(self, message: Message) -> None:
        """As `send`. Litestar only closes where it has no handler; that is a problem like everywhere else."""
        if message["type"] == "websocket.accept":
            self.status = 101
            message["headers"] = [*message["headers"], *self._headers()]
            self.count()
        elif message["type"] == "websocket.close" and not self.status:
            await self._refuse()
            return
        await self._send(message)

    async def _refuse(self) -> None:
        self.status, self._context.code = KINDS["not_found"].status, "not_found"
        problem = described(
            "not_found", "There is no stream at this path.", self._scope["path"], self._context.request_id
        )
        body = problem.model_dump_json(exclude_none=True).encode()
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        start = {
            "type": "websocket.http.response.start",
            "status": self.status,
            "headers": self._completed(headers),
        }
        end = {"type": "websocket.http.response.body", "body": body}
        for message in (start, end):
            await self._send(cast("Message", message))  # of ASGI's extension, which Litestar does not type

    def count(self) -> None:
        """Once, however often it is called."""
        if self._counted:
            return
        self._counted = True
        self._requests.finished(self._context.finished(self._route, self.status, self._clock()))

    def _decide(self) -> None:
        context, trace = self._context, self._context.timeline.trace
        if self._tracing is not None and trace is not None:
            seconds = self._clock() - context.started
            self._tracing.answers(trace, self.status, seconds, known=context.principal is not None)

    def trace(self) -> None:
        """What there is to say of it is complete."""
        context, trace = self._context, self._context.timeline.trace
        if self._tracing is None or trace is None or trace.kept is None:
            return
        now = self._clock()
        finished = context.finished(self._route, self.status, now)
        self._tracing.over(
            Traced(
                trace,
                finished,
                str(self._scope.get("method")),
                self._scope["scheme"],
                context.request_id,
                now,
            )
        )

    def log(self) -> None:
        context, target = self._context, self._context.timeline.target
        log = _log.debug if self._route in _PROBES else _log.info
        log(
            "request",
            method=self._scope.get("method", "GET"),  # a WebSocket begins with a GET
            route=self._route,
            status=self.status,
            code=context.code,
            model=target.model if target else None,
            version=target.version if target else None,
            variant=target.variant.value if target else None,
            key=context.principal.id if context.principal else None,
            tenant=context.principal.tenant if context.principal else None,
            ms=round((self._clock() - context.started) * 1000, 1),
            stages={
                str(stage): round(seconds * 1000, 2) for stage, seconds in context.timeline.seconds().items()
            }
            or None,
        )

    @property
    def _route(self) -> str:
        return self._scope.get("path_template", "unknown")

    def _completed(self, own: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The headers of an answer. It is nobody's to keep unless it says so itself, as pages do: a cache that does not
        look at X-API-Key would give it to others."""
        headers = [*own, *self._headers()]
        if all(name != b"cache-control" for name, _ in headers):
            headers.append(_UNKEPT)
        return headers

    def _headers(self) -> list[tuple[bytes, bytes]]:
        """Stage times are for callers who are known: they would help to guess a key."""
        found = _headers(self._context)
        trace = self._context.timeline.trace
        if trace is not None and trace.kept is not None:
            found.append((b"traceparent", trace.traceparent(trace.span_id).encode()))
        if self._context.principal is not None:
            total = self._clock() - self._context.started
            found.append((b"server-timing", server_timing(self._context.timeline, total).encode()))
        if self._drain is not None and self._drain.begun:
            found.append((b"connection", b"close"))
        return [*found, *self._for_pages]


def trace_of(scope: HTTPScope | WebSocketScope, tracing: Tracing | None) -> Trace | None:
    """The trace of a request with these headers, where it may be traced."""
    if tracing is None:
        return None
    return tracing.begin([value for name, value in scope["headers"] if name == b"traceparent"])


def _headers(context: Context) -> list[tuple[bytes, bytes]]:
    """What every answer tells: which request it was, what is left of the quota, which class was applied."""
    fields = {"x-request-id": context.request_id}
    if context.decisions:
        fields |= {name.lower(): value for name, value in quota_headers(context.decisions[-1]).items()}
        fields.pop("retry-after", None)  # the problem says it already
    if context.priority is not None:
        fields["priority"] = render(context.priority)
    return [(name.encode(), value.encode()) for name, value in fields.items()]


def _request_id(scope: HTTPScope | WebSocketScope) -> str:
    """The caller's X-Request-Id if it is well-formed, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _WELL_FORMED_ID.fullmatch(value):
            return value.decode("ascii")
    return new_trace_id()  # drawn alike: it has to differ from others, and is no secret
