"""An OTLP/HTTP receiver for traces: what came, span by span, from the gateway (protobuf) and from Triton (JSON)."""

import base64
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_SECONDS = 60.0  # Triton sends its spans in batches, and a busy machine later still
_IDS = frozenset(("traceId", "spanId", "parentSpanId"))


@dataclass(frozen=True)
class Received:
    """A span as it arrived. Ids are in hex, an empty parent is none; times are nanoseconds since 1970."""

    service: str
    instance: str
    name: str
    kind: str  # "server", "client", "internal"
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    failed: bool
    attributes: Mapping[str, object]


@dataclass
class Receiver:
    """`spans` and `bodies` are all that came so far; `answer` is called before each answer and may take its time."""

    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    answer: Callable[[], int] = lambda: 200
    url: str = ""
    closed: bool = False

    def of(self, trace_id: str) -> list[Received]:
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.start)

    def wait_for(
        self, trace_id: str, enough: Callable[[list[Received]], bool], seconds: float = _SECONDS
    ) -> list[Received]:
        """The spans of a trace, once there are enough of them. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while not enough(found := self.of(trace_id)):
            if time.monotonic() > end:
                raise TimeoutError(f"of trace {trace_id} there came only {[span.name for span in found]}")
            time.sleep(0.05)
        return found

    def take(self, body: bytes, *, is_json: bool) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest()
        if is_json:
            json_format.Parse(_hex_ids_as_base64(body), request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
        for resource in request.resource_spans:
            about = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans.extend(_received(about, span) for span in scope.spans)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # the base class's name
            if receiver.closed:  # a connection that is kept open outlives the listener
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.headers.append(dict(self.headers))
            if (status := receiver.answer()) == 200:
                receiver.take(body, is_json="json" in self.headers["content-type"])
            reply = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        try:
            yield receiver
        finally:
            receiver.closed = True
            server.shutdown()
            thread.join()


def _received(about: Mapping[str, object], span: Span) -> Received:
    return Received(
        service=str(about.get("service.name", "")),
        instance=str(about.get("service.instance.id", "")),
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        failed=span.status.code == 2,
        attributes=_attributes(span.attributes),
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None


def _hex_ids_as_base64(body: bytes) -> str:
    """OTLP's JSON writes ids in hex, unlike protobuf's own JSON."""

    def mended(pairs: list[tuple[str, object]]) -> dict[str, object]:
        return {
            name: base64.b64encode(bytes.fromhex(str(value))).decode() if name in _IDS else value
            for name, value in pairs
        }

    return json.dumps(json.loads(body, object_pairs_hook=mended))
