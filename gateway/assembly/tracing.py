"""Traces of requests, where there is somebody to send them to."""

import time
from dataclasses import dataclass

from gateway.assembly.part import Part
from gateway.settings import Settings
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracer


@dataclass(frozen=True)
class Traces:
    """`tracer` is None where nothing is traced."""

    tracer: Tracer | None
    part: Part


def tracing(settings: Settings, metrics: Metrics) -> Traces:
    if settings.trace_endpoint is None:
        return Traces(None, Part())
    from gateway.telemetry.export import SpanExport  # noqa: PLC0415  # with an HTTP client of its own

    export = SpanExport(
        settings.trace_endpoint,
        service=settings.trace_service,
        # Of several nobody says here which one was called.
        upstream=None if "," in settings.triton_url else settings.triton_url.removeprefix("dns:///"),
        clock=time.monotonic,
        told=metrics.worker.spans,
    )
    tracer = Tracer(export, ratio=settings.trace_ratio, slow=settings.trace_slow)
    return Traces(tracer, Part(resources=[export]))
