"""Which requests are traced: drawn by ratio when they come, and kept all the same where they fail or are slow.

Spans are made from the request's timeline when it is over, so that a request that is not kept costs no more than its
ids, and one that turns out to be worth a look is there although it was not drawn.
"""

from collections.abc import Sequence
from typing import Protocol

from gateway.telemetry.requests import Finished
from gateway.telemetry.trace import Kept, Trace, new_span_id, new_trace_id, remote
from gateway.value import value

_FAILED = 500  # and above: statuses that are not the caller's fault
_RANDOM_DIGITS = 14  # the last 56 bits of a trace id are random (W3C Trace Context 2)


@value
class Traced:
    """A request at its end. `ended` is on the clock of its timeline, in seconds."""

    trace: Trace
    finished: Finished
    method: str
    scheme: str
    request_id: str
    ended: float


class Spans(Protocol):
    def send(self, request: Traced) -> None: ...


class Tracer:
    """`ratio` of all requests is drawn; `slow` are the seconds to the begin of an answer from which on it is kept."""

    def __init__(self, spans: Spans, *, ratio: float, slow: float) -> None:
        self._spans = spans
        self._below = round(ratio * 16**_RANDOM_DIGITS)
        self._slow = slow

    def begin(self, headers: Sequence[bytes]) -> Trace:
        """The trace that `headers`, the values of `traceparent`, name, with its decision; else a new one.

        The draw is the trace id, so that all who see the id and draw by the same ratio decide the same.
        """
        caller = remote(headers)
        if caller is None:
            trace_id = new_trace_id()
            return Trace(trace_id, new_span_id(), 0, int(trace_id[-_RANDOM_DIGITS:], 16) < self._below)
        return Trace(caller.trace_id, new_span_id(), caller.span_id, caller.sampled)

    def answers(self, trace: Trace, status: int, seconds: float, *, known: bool) -> None:
        """The answer begins, so many seconds after the request: decides whether its spans are sent.

        Somebody unknown cannot ask for a trace: whoever sends a key that does not exist would fill the queue.
        """
        if trace.sampled and (known or not trace.parent_id):
            trace.kept = Kept.SAMPLED
        elif status >= _FAILED:
            trace.kept = Kept.ERROR
        elif seconds >= self._slow:
            trace.kept = Kept.SLOW

    def over(self, request: Traced) -> None:
        """Sends the request's spans, if they are kept."""
        if request.trace.kept is not None:
            self._spans.send(request)
