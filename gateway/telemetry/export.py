"""Spans on their way to a collector, by OTLP over HTTP: from a thread, out of a bounded queue, at nobody's expense."""

import threading
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from gateway.telemetry.spans import Prescribed, SpanMaker
from gateway.telemetry.tracing import Traced

_QUEUE = 2048  # spans that may wait, those of the batch that is being sent included
_BATCH = 512
_INTERVAL_MS = 1000
_TIMEOUT = 5.0  # seconds for one batch
_FLUSH_SECONDS = 1.5  # what is left may still be sent when the worker ends


class Told(Protocol):
    """Hears what becomes of spans: sent, failed (the collector did not take them), dropped (there was no room)."""

    def __call__(self, outcome: str, spans: int) -> None: ...


class SpanExport:
    """`with SpanExport(…) as spans: spans.send(request)`; opened inside the worker, for it starts a thread."""

    def __init__(
        self, endpoint: str, *, service: str, upstream: str | None, clock: Callable[[], float], told: Told
    ) -> None:
        self._endpoint = endpoint
        self._service = service
        self._upstream = upstream
        self._clock = clock
        self._told = told
        self._exporter: _Counting
        self._provider: TracerProvider
        self._maker: SpanMaker

    def __enter__(self) -> Self:
        ids = Prescribed()
        self._exporter = _Counting(
            OTLPSpanExporter(self._endpoint, timeout=_TIMEOUT, compression=Compression.Gzip), self._told
        )
        # What is kept was decided before. The library's own exit handler would wait for half a minute.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(
                {"service.name": self._service, "service.instance.id": uuid.uuid4().hex}
            ),
            id_generator=ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=_QUEUE,
                max_export_batch_size=_BATCH,
                schedule_delay_millis=_INTERVAL_MS,
            )
        )
        self._maker = SpanMaker(self._provider, ids, upstream=self._upstream, clock=self._clock)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sends what is left, as far as that is soon done. The thread of a call that hangs ends with the process."""
        flush = threading.Thread(target=self._provider.shutdown, daemon=True)
        flush.start()
        flush.join(_FLUSH_SECONDS)
        self._exporter.close()

    def send(self, request: Traced) -> None:
        """Never waits: without room for all of the request's spans, none of them is sent."""
        spans = 1 + len(request.finished.timeline.stretches)
        if self._exporter.take(spans, most=_QUEUE):
            self._maker.make(request)
        else:
            self._told("dropped", spans)


class _Counting(SpanExporter):
    """Counts what is on its way, so that the bound holds for the batch that is being sent too."""

    def __init__(self, exporter: SpanExporter, told: Told) -> None:
        self._exporter = exporter
        self._told = told
        self._lock = threading.Lock()
        self._waiting = 0
        self._closed = False

    def take(self, spans: int, *, most: int) -> bool:
        """Whether there is room for so many; they count from now on."""
        with self._lock:
            fits = not self._closed and self._waiting + spans <= most
            self._waiting += spans * fits
            return fits

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE if self._closed else self._exporter.export(spans)
        with self._lock:
            self._waiting -= len(spans)
        self._told("sent" if result is SpanExportResult.SUCCESS else "failed", len(spans))
        return result

    def close(self) -> None:
        """What is not sent by now is given up."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._exporter.shutdown()

    def shutdown(self) -> None:
        self.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True
