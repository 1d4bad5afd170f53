"""Where the time of one request goes: the stage clock that every layer of the path writes to."""

from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from gateway.domain import ModelVersion


class Stage(StrEnum):
    """In the order of the path."""

    AUTH = "auth"
    LIMIT = "limit"
    BODY = "body"  # until the last byte has come
    DECODE = "decode"
    QUEUE = "queue"  # until it is the request's turn to call the model
    TRITON = "triton"
    POST = "post"


class Timeline:
    """`clock` is monotonic, in seconds. `target` is the version that is to answer, as soon as one is chosen."""

    __slots__ = ("_clock", "_spans", "fell_back", "target")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spans: list[tuple[Stage, float, float]] = []
        self.target: ModelVersion | None = None
        self.fell_back = False

    def stage(self, stage: Stage) -> "Lap":
        """`with timeline.stage(Stage.POST):`; a stage may come more than once, and beside itself."""
        return Lap(self._spans, stage, self._clock)

    def chosen(self, target: ModelVersion) -> None:
        """A second version was chosen because the first one could not answer."""
        self.fell_back = self.target is not None
        self.target = target

    def seconds(self) -> dict[Stage, float]:
        """By stage. Batches of one request run side by side: an instant counts once, however many share it."""
        found: dict[Stage, float] = {}
        for stage, start, end in self._spans:
            if stage in found:
                return self._merged()
            found[stage] = end - start
        return found

    def _merged(self) -> dict[Stage, float]:
        """Where a stage came more than once."""
        found: dict[Stage, float] = {}
        ends: dict[Stage, float] = {}
        for stage, start, end in sorted(self._spans, key=_start):
            begins = max(start, ends.get(stage, start))
            found[stage] = found.get(stage, 0.0) + max(0.0, end - begins)
            ends[stage] = max(end, ends.get(stage, end))
        return found


class Lap:
    """One stretch of a stage; it ends with its block, or before that by `end`."""

    __slots__ = ("_clock", "_over", "_spans", "_stage", "_started")

    def __init__(
        self, spans: list[tuple[Stage, float, float]], stage: Stage, clock: Callable[[], float]
    ) -> None:
        self._spans = spans
        self._stage = stage
        self._clock = clock
        self._started = 0.0
        self._over = False

    def __enter__(self) -> Self:
        self._started = self._clock()
        return self

    def end(self) -> None:
        if not self._over:
            self._over = True
            self._spans.append((self._stage, self._started, self._clock()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def server_timing(timeline: Timeline, total: float) -> str:
    """The value of Server-Timing (W3C): milliseconds by stage, and in total."""
    spent = timeline.seconds()
    entries = [f"{stage};dur={spent[stage] * 1000:.2f}" for stage in Stage if stage in spent]
    return ", ".join([*entries, f"total;dur={total * 1000:.2f}"])


def _start(span: tuple[Stage, float, float]) -> float:
    return span[1]
