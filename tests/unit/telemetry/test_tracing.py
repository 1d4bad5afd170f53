"""Which trace a request belongs to, and whether its spans are sent."""

import pytest

from gateway.telemetry.requests import Finished
from gateway.telemetry.timeline import Timeline
from gateway.telemetry.trace import Kept, Trace
from gateway.telemetry.tracing import Traced, Tracer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Sent:
    def __init__(self) -> None:
        self.requests: list[Traced] = []

    def send(self, request: Traced) -> None:
        self.requests.append(request)


def tracer(ratio: float = 0.0, slow: float = 1.0) -> Tracer:
    return Tracer(Sent(), ratio=ratio, slow=slow)


@pytest.mark.parametrize(
    ("headers", "sampled"),
    [
        pytest.param([f"00-{TRACE}-{SPAN}-01"], True, id="sampled"),
        pytest.param([f"00-{TRACE}-{SPAN}-00"], False, id="not sampled"),
        pytest.param([f"00-{TRACE}-{SPAN}-03"], True, id="with a flag of a later level"),
        pytest.param([f"cc-{TRACE}-{SPAN}-01-what.the-future.brings"], True, id="a later version"),
    ],
)
def test_a_callers_trace_is_joined_and_its_decision_holds(headers: list[str], sampled: bool) -> None:
    trace = tracer(ratio=0.0 if sampled else 1.0).begin([header.encode() for header in headers])
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE, int(SPAN, 16), sampled)
    assert trace.span_id not in (0, trace.parent_id)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="none"),
        pytest.param([""], id="an empty one"),
        pytest.param([f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"], id="two of them"),
        pytest.param([f"ff-{TRACE}-{SPAN}-01"], id="the forbidden version"),
        pytest.param([f"00-{TRACE}-{SPAN}-01-more"], id="more than version 00 has"),
        pytest.param([f"00-{TRACE.upper()}-{SPAN}-01"], id="capital letters"),
        pytest.param([f"00-{'0' * 32}-{SPAN}-01"], id="a trace id of zeros"),
        pytest.param([f"00-{TRACE}-{'0' * 16}-01"], id="a span id of zeros"),
        pytest.param([f"00-{TRACE}-{SPAN}-0"], id="half a flag"),
        pytest.param([f"00-{TRACE}-{SPAN}-01\n"], id="a line's end"),
        pytest.param(["\u00ff" * 55], id="no ASCII"),
    ],
)
def test_what_is_no_trace_context_begins_a_new_trace(headers: list[str]) -> None:
    trace = tracer(ratio=1.0).begin([header.encode("latin-1") for header in headers])
    assert trace.trace_id != TRACE
    assert len(trace.trace_id) == 32
    assert (trace.parent_id, trace.sampled) == (0, True)


def test_the_share_that_is_drawn_is_the_ratio() -> None:
    begin = tracer(ratio=0.25).begin
    drawn = sum(begin([]).sampled for _ in range(4000))
    assert 850 < drawn < 1150  # five standard deviations


@pytest.mark.parametrize(
    ("trace", "status", "seconds", "known", "kept"),
    [
        pytest.param(Trace(TRACE, 1, 0, sampled=True), 200, 0.1, True, Kept.SAMPLED, id="drawn"),
        pytest.param(Trace(TRACE, 1, 0, sampled=True), 401, 0.1, False, Kept.SAMPLED, id="drawn, nobody"),
        pytest.param(Trace(TRACE, 1, 2, sampled=True), 200, 0.1, True, Kept.SAMPLED, id="asked for"),
        pytest.param(Trace(TRACE, 1, 2, sampled=True), 401, 0.1, False, None, id="asked for by nobody"),
        pytest.param(Trace(TRACE, 1, 0, sampled=False), 200, 0.1, True, None, id="not drawn"),
        pytest.param(Trace(TRACE, 1, 0, sampled=False), 429, 0.1, True, None, id="the caller's fault"),
        pytest.param(Trace(TRACE, 1, 0, sampled=False), 503, 0.1, True, Kept.ERROR, id="ours"),
        pytest.param(Trace(TRACE, 1, 2, sampled=False), 504, 0.1, True, Kept.ERROR, id="ours, not sampled"),
        pytest.param(Trace(TRACE, 1, 0, sampled=False), 200, 1.0, True, Kept.SLOW, id="slow"),
    ],
)
def test_errors_and_slow_requests_are_kept_whatever_was_drawn(
    trace: Trace, status: int, seconds: float, known: bool, kept: Kept | None
) -> None:
    told = trace.traceparent(1)
    assert told.endswith("-01" if trace.sampled else "-00")  # what Triton hears is what is known then
    sent = Sent()
    deciding = Tracer(sent, ratio=0.0, slow=1.0)
    deciding.answers(trace, status, seconds, known=known)
    assert trace.kept is kept
    finished = Finished("/v1/classify", status, None, None, seconds, Timeline(lambda: 0.0, trace))
    deciding.over(Traced(trace, finished, "POST", "http", "r", 0.0))
    assert len(sent.requests) == (kept is not None)
