"""A request's timeline as OpenTelemetry spans: one for the request and, below it, one for each stretch of a stage."""

import time
from collections.abc import Callable, Mapping

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.semconv._incubating.attributes import (
    rpc_attributes as rpc,
)  # the RPC conventions are no others
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    server_attributes,
    url_attributes,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from gateway.domain import ModelVersion
from gateway.telemetry.timeline import Stage, Stretch
from gateway.telemetry.trace import new_span_id
from gateway.telemetry.tracing import Traced

_SCOPE = "gateway"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
_ANOTHER_METHOD = "_OTHER"
_SERVICE = "inference.GRPCInferenceService"
_NANOSECONDS = 1_000_000_000

Attributes = dict[str, str | int]


class Prescribed(IdGenerator):
    """Spans are made when all is over, and their ids were told to Triton and the caller long before."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class SpanMaker:
    """Makes the spans of one request after another; `upstream` is host:port of Triton's gRPC, None where that is not
    always the same.
    """

    def __init__(
        self, provider: TracerProvider, ids: Prescribed, *, upstream: str | None, clock: Callable[[], float]
    ) -> None:
        self._tracer = provider.get_tracer(_SCOPE)
        self._ids = ids
        self._clock = clock
        self._upstream: Attributes = {rpc.RPC_SYSTEM_NAME: "grpc"}
        if upstream is not None:
            host, _, port = upstream.rpartition(":")
            self._upstream |= {
                server_attributes.SERVER_ADDRESS: host,
                server_attributes.SERVER_PORT: int(port),
            }

    def make(self, request: Traced) -> None:
        """Ends each span as soon as it is made, which hands it to the provider's processor."""
        offset = time.time_ns() - round(self._clock() * _NANOSECONDS)
        whole = self._whole(request, offset)
        for stretch in request.finished.timeline.stretches:
            self._part(stretch, whole, offset)
        whole.end(_wall(request.ended, offset))

    def _whole(self, request: Traced, offset: int) -> Span:
        trace, finished = request.trace, request.finished
        parent = None
        if trace.parent_id:
            parent = set_span_in_context(NonRecordingSpan(_context(trace.trace_id, trace.parent_id)))
        method = request.method if request.method in _METHODS else _ANOTHER_METHOD
        self._ids.trace_id, self._ids.span_id = int(trace.trace_id, 16), trace.span_id
        span = self._tracer.start_span(
            f"{method} {finished.route}",
            context=parent,
            kind=SpanKind.SERVER,
            attributes=_described(request, method),
            start_time=_wall(request.ended - finished.seconds, offset),
        )
        if finished.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        return span

    def _part(self, stretch: Stretch, whole: Span, offset: int) -> None:
        self._ids.span_id = stretch.span_id or new_span_id()
        calls = stretch.stage is Stage.TRITON
        span = self._tracer.start_span(
            self._method(stretch) if calls else stretch.stage.value,
            context=set_span_in_context(whole),
            kind=SpanKind.CLIENT if calls else SpanKind.INTERNAL,
            attributes=self._called(stretch) if calls else {"gateway.stage": stretch.stage.value},
            start_time=_wall(stretch.start, offset),
        )
        if stretch.error:
            span.set_attribute(error_attributes.ERROR_TYPE, stretch.error)
            if calls:
                span.set_status(Status(StatusCode.ERROR))
        span.end(_wall(stretch.end, offset))

    def _called(self, stretch: Stretch) -> Attributes:
        attributes = {
            "gateway.stage": stretch.stage.value,
            **self._upstream,
            rpc.RPC_METHOD: self._method(stretch),
        }
        return attributes | (_version(stretch.target) if stretch.target else {})

    def _method(self, stretch: Stretch) -> str:
        return f"{_SERVICE}/{'ModelStreamInfer' if stretch.streams else 'ModelInfer'}"


def _described(request: Traced, method: str) -> Mapping[str, str | int]:
    """Of what the caller wrote only the request id is in it, which is well-formed or ours."""
    finished, timeline = request.finished, request.finished.timeline
    found: Attributes = {
        http_attributes.HTTP_REQUEST_METHOD: method,
        http_attributes.HTTP_ROUTE: finished.route,
        http_attributes.HTTP_RESPONSE_STATUS_CODE: finished.status,
        url_attributes.URL_SCHEME: request.scheme,
        "gateway.request_id": request.request_id,
        "gateway.kept": str(request.trace.kept),
    }
    if finished.payload is not None:
        found["http.request.body.size"] = finished.payload
    if finished.priority is not None:
        found["gateway.priority"] = finished.priority.name.lower()
    if finished.problem is not None:
        found["gateway.problem"] = finished.problem
    if finished.status >= 500:
        found[error_attributes.ERROR_TYPE] = finished.problem or str(finished.status)
    if timeline.target is not None:
        found |= _version(timeline.target)
    if timeline.fell_back:
        found["gateway.fell_back"] = True
    return found


def _version(target: ModelVersion) -> Attributes:
    return {
        "gateway.model": target.model,
        "gateway.version": target.version,
        "gateway.variant": target.variant.value,
    }


def _context(trace_id: str, span_id: int) -> SpanContext:
    return SpanContext(int(trace_id, 16), span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _wall(moment: float, offset: int) -> int:
    """Nanoseconds since 1970, of seconds on the monotonic clock."""
    return round(moment * _NANOSECONDS) + offset
