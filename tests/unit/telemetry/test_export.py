"""Spans on their way to a collector that takes them, refuses them, is away, or never answers."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from receiver import receiving
from stack import free_port

from gateway.domain import ModelVersion, Priority, Variant
from gateway.telemetry.export import SpanExport
from gateway.telemetry.requests import Finished
from gateway.telemetry.timeline import Stage, Timeline
from gateway.telemetry.trace import Kept, Trace
from gateway.telemetry.tracing import Traced

CANARY = ModelVersion("pets", "2", Variant.CANARY)
PATIENCE = 20.0


class Told(Counter[str]):
    def __call__(self, outcome: str, spans: int) -> None:
        self[outcome] += spans


def exporting(url: str, told: Told) -> SpanExport:
    return SpanExport(url, service="pets-gateway", upstream="triton:8001", clock=time.monotonic, told=told)


def traced(number: int = 1) -> Traced:
    """A request with a span for each of two stages; the call to Triton failed."""
    trace = Trace(f"{number:032x}", 0x10, 0x5, sampled=True, kept=Kept.SAMPLED)
    timeline = Timeline(time.monotonic, trace)
    timeline.chosen(CANARY)
    with timeline.stage(Stage.AUTH):
        pass
    call = timeline.call(CANARY)
    with call:
        assert call.traceparent is not None
        call.end("UpstreamError")
    finished = Finished("/v1/detect", 503, "overloaded", Priority.BATCH, 0.5, timeline, payload=7)
    return Traced(trace, finished, "BREW", "http", "r-1", time.monotonic())


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_request_arrives_as_a_span_and_one_for_each_stage() -> None:
    told, request = Told(), traced()
    with receiving() as receiver:
        with exporting(receiver.url, told) as spans:
            spans.send(request)
        whole, auth, call = sorted(receiver.spans, key=lambda span: (span.kind != "server", span.start))
    assert told == {"sent": 3}
    assert (whole.name, whole.kind, whole.failed) == ("_OTHER /v1/detect", "server", True)
    assert (whole.trace_id, whole.span_id, whole.parent_id) == (f"{1:032x}", f"{0x10:016x}", f"{5:016x}")
    assert whole.service == "pets-gateway"
    assert whole.attributes == {
        "http.request.method": "_OTHER",
        "http.route": "/v1/detect",
        "http.response.status_code": 503,
        "http.request.body.size": 7,
        "url.scheme": "http",
        "error.type": "overloaded",
        "gateway.request_id": "r-1",
        "gateway.kept": "sampled",
        "gateway.priority": "batch",
        "gateway.problem": "overloaded",
        "gateway.model": "pets",
        "gateway.version": "2",
        "gateway.variant": "canary",
    }
    assert (auth.name, auth.kind, auth.failed) == ("auth", "internal", False)
    assert (call.name, call.kind, call.failed) == (
        "inference.GRPCInferenceService/ModelInfer",
        "client",
        True,
    )
    assert call.attributes["error.type"] == "UpstreamError"
    assert (call.attributes["server.address"], call.attributes["server.port"]) == ("triton", 8001)
    assert request.finished.timeline.stretches[1].span_id == int(call.span_id, 16)
    assert {auth.parent_id, call.parent_id} == {whole.span_id}
    assert abs(whole.end - whole.start - 500_000_000) < 1000
    assert abs(whole.end - time.time_ns()) < 60e9


def test_a_collector_that_is_away_costs_spans_and_nothing_else() -> None:
    told = Told()
    with exporting(f"http://127.0.0.1:{free_port()}/v1/traces", told) as spans:
        spans.send(traced())
        wait_until(lambda: told["failed"] == 3)


def test_one_that_refuses_them_too() -> None:
    told = Told()
    with receiving() as receiver:
        receiver.answer = lambda: 400
        with exporting(receiver.url, told) as spans:
            spans.send(traced())
            wait_until(lambda: told["failed"] == 3)


def test_one_that_never_answers_holds_nobody_up_and_what_does_not_fit_is_dropped_and_counted() -> None:
    told, over = Told(), threading.Event()
    with receiving() as receiver:
        receiver.answer = lambda: 200 if over.wait(120) else 500
        with exporting(receiver.url, told) as spans:
            for number in range(1, 1001):
                spans.send(traced(number))
            assert told["dropped"] >= 3000 - 2048
        # The block has ended: the thread that hangs was not waited for.
        assert told["sent"] == 0
        over.set()
