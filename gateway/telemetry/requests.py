"""What is counted of each request when its answer goes out: on the path, so every look-up is one in a dictionary."""

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry

from gateway.domain import Priority
from gateway.telemetry import definitions as table
from gateway.telemetry.families import Counter, Gauge, Histogram
from gateway.telemetry.timeline import Timeline
from gateway.value import value

_NOBODY = ("", "", "")
_PRIORITIES: Mapping[Priority | None, str] = {None: "", **{each: each.name.lower() for each in Priority}}
_SHED = "overloaded"
_STAGED = {
    "/v1/classify": "/v1/classify",
    "/classify": "/v1/classify",
    "/v1/detect": "/v1/detect",
    "/detect": "/v1/detect",
    "/v1/classify/stream": "/v1/classify",
    "/v1/detect/stream": "/v1/detect",
    "/v2/models/{model}/infer": "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer": "/v2/models/{model}/infer",
}


@value
class Finished:
    """A request at its end. `route` is a template, `problem` the code of an answer that is one, `seconds` the time
    since its first byte; `payload` and `images` are sizes in bytes.
    """

    route: str
    status: int
    problem: str | None
    priority: Priority | None
    seconds: float
    timeline: Timeline
    payload: int | None = None
    images: Sequence[int] = ()


class RequestMetrics:
    """Each request is counted once, by `finished`; between `begun` and `over` it is in flight."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(table.REQUESTS, registry)
        self._problems = Counter(table.PROBLEMS, registry)
        self._seconds = Histogram(table.REQUEST_SECONDS, registry)
        self._stages = Histogram(table.STAGE_SECONDS, registry)
        self._shed = Counter(table.SHED, registry)
        self._fallbacks = Counter(table.FALLBACKS, registry)
        self._payload = Histogram(table.PAYLOAD_BYTES, registry)
        self._image = Histogram(table.IMAGE_BYTES, registry)
        self._fetches = Counter(table.IMAGE_FETCHES, registry)
        self._gauge = Gauge(table.IN_FLIGHT, registry)
        self._open = Gauge(table.STREAMS, registry)
        self._dropped = Counter(table.FRAMES_DROPPED, registry)
        self._in_flight = 0
        self._streams = 0

    def begun(self) -> None:
        self._in_flight += 1

    def over(self) -> None:
        self._in_flight -= 1

    def stream_opened(self) -> None:
        self._streams += 1

    def stream_closed(self) -> None:
        self._streams -= 1

    def dropped(self, frames: int) -> None:
        """Frames of a stream that nobody will look at."""
        self._dropped.add((), float(frames))

    def fetch_ended(self, outcome: str) -> None:
        """An image that a request named by URL."""
        self._fetches.add((outcome,))

    def finished(self, request: Finished) -> None:
        target = request.timeline.target
        who = _NOBODY if target is None else (target.model, target.version, target.variant.value)
        priority = _PRIORITIES[request.priority]
        self._total.add((request.route, *who, priority, str(request.status)))
        if target is not None:
            self._seconds.observe(request.seconds, who)
            if request.timeline.fell_back:
                self._fallbacks.add((target.model,))
        if request.problem is not None:
            self._problems.add((request.problem,))
            if request.problem == _SHED:
                self._shed.add((who[0], priority))
        self._measure(request)

    def tell(self) -> None:
        """Writes what is under way: the gauge need not move with every request."""
        self._gauge.set(self._in_flight)
        self._open.set(self._streams)

    def _measure(self, request: Finished) -> None:
        route = _STAGED.get(request.route)
        if route is None:
            return
        for stage, seconds in request.timeline.seconds().items():
            self._stages.observe(seconds, (route, stage))
        if request.payload is not None:
            self._payload.observe(request.payload)
        for size in request.images:
            self._image.observe(size)
