"""Where the time of one request goes: the stage clock that every layer of the path writes to."""

from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Self

from gateway.domain import ModelVersion
from gateway.telemetry.trace import Trace, new_span_id


class Stage(StrEnum):
    """In the order of the path."""

    AUTH = "auth"
    LIMIT = "limit"
    BODY = "body"  # until the last byte has come
    FETCH = "fetch"  # of images that the request names by URL
    DECODE = "decode"
    QUEUE = "queue"  # until it is the request's turn to call the model
    TRITON = "triton"
    POST = "post"


_ORDER = tuple(Stage)


class Stretch(NamedTuple):
    """A stage from one moment to another, in seconds; `error` is the name of what ended it, if that was an error.

    For calls to Triton `target` is who was called, and `span_id` what was told of the trace; 0 where nothing was.
    """

    stage: Stage
    start: float
    end: float
    error: str
    target: ModelVersion | None
    streams: bool
    span_id: int


class Timeline:
    """`clock` is monotonic, in seconds. `target` is the version that is to answer, as soon as one is chosen. `trace` is
    what the request is part of, where it may be traced.
    """

    __slots__ = ("clock", "fell_back", "stretches", "target", "trace")

    def __init__(self, clock: Callable[[], float], trace: Trace | None = None) -> None:
        self.clock = clock
        self.trace = trace
        self.stretches: list[Stretch] = []
        self.target: ModelVersion | None = None
        self.fell_back = False

    def stage(self, stage: Stage) -> "Lap":
        """`with timeline.stage(Stage.POST):`; a stage may come more than once, and beside itself."""
        return Lap(self, stage)

    def call(self, target: ModelVersion, *, streams: bool = False) -> "Lap":
        """The stage in which Triton is called."""
        return Lap(self, Stage.TRITON, target, streams=streams)

    def chosen(self, target: ModelVersion) -> None:
        """A second version was chosen because the first one could not answer."""
        self.fell_back = self.target is not None
        self.target = target

    def longest_call(self, target: ModelVersion) -> float:
        """Seconds of the longest call of this version that has ended; 0 where there was none."""
        return max((each.end - each.start for each in self.stretches if each.target == target), default=0.0)

    def seconds(self) -> dict[Stage, float]:
        """By stage. Batches of one request run side by side: an instant counts once, however many share it."""
        found: dict[Stage, float] = {}
        for stretch in self.stretches:
            if stretch.stage in found:
                return self._merged()
            found[stretch.stage] = stretch.end - stretch.start
        return found

    def _merged(self) -> dict[Stage, float]:
        """Where a stage came more than once."""
        found: dict[Stage, float] = {}
        ends: dict[Stage, float] = {}
        for stretch in sorted(self.stretches, key=_start):
            stage, end = stretch.stage, stretch.end
            begins = max(stretch.start, ends.get(stage, stretch.start))
            found[stage] = found.get(stage, 0.0) + max(0.0, end - begins)
            ends[stage] = max(end, ends.get(stage, end))
        return found


class Lap:
    """One stretch of a stage; it ends with its block, or before that by `end`."""

    __slots__ = ("_over", "_span_id", "_stage", "_started", "_streams", "_target", "_timeline")

    def __init__(
        self, timeline: Timeline, stage: Stage, target: ModelVersion | None = None, *, streams: bool = False
    ) -> None:
        self._timeline = timeline
        self._stage = stage
        self._target = target
        self._streams = streams
        self._started = 0.0
        self._over = False
        self._span_id = 0

    @property
    def traceparent(self) -> str | None:
        """For whoever is called in this stretch: the header under which it joins the request's trace, if any."""
        trace = self._timeline.trace
        if trace is None:
            return None
        self._span_id = self._span_id or new_span_id()
        return trace.traceparent(self._span_id)

    def __enter__(self) -> Self:
        self._started = self._timeline.clock()
        return self

    def end(self, error: str = "") -> None:
        if not self._over:
            self._over = True
            timeline = self._timeline
            timeline.stretches.append(
                Stretch(
                    self._stage,
                    self._started,
                    timeline.clock(),
                    error,
                    self._target,
                    self._streams,
                    self._span_id,
                )
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end("" if kind is None else kind.__name__)


def server_timing(timeline: Timeline, total: float) -> str:
    """The value of Server-Timing (W3C): milliseconds by stage, and in total."""
    spent = timeline.seconds()
    entries = [f"{stage};dur={spent[stage] * 1000:.2f}" for stage in _ORDER if stage in spent]
    return ", ".join([*entries, f"total;dur={total * 1000:.2f}"])


def _start(stretch: Stretch) -> float:
    return stretch.start
