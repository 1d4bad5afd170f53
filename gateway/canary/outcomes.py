"""What the data plane tells of each attempt, as counts: who answered, how well, and how fast."""

from typing import Protocol

from gateway.domain import ModelVersion
from gateway.errors import OutOfService, Overloaded, UpstreamOverloaded

BREAKER = "breaker"  # the series of calls that were not made because the breaker is open


class Recorder(Protocol):
    def record(self, model: str, version: str, variant: str = "", *, ok: bool, seconds: float) -> None: ...

    def record_comparison(self, model: str, version: str, variant: str = "", *, agreed: bool) -> None: ...


class Recorders:
    """One recorder that is several: the guard's evidence, and what dashboards show."""

    def __init__(self, *recorders: Recorder) -> None:
        self._recorders = recorders

    def record(self, model: str, version: str, variant: str = "", *, ok: bool, seconds: float) -> None:
        for recorder in self._recorders:
            recorder.record(model, version, variant, ok=ok, seconds=seconds)

    def record_comparison(self, model: str, version: str, variant: str = "", *, agreed: bool) -> None:
        for recorder in self._recorders:
            recorder.record_comparison(model, version, variant, agreed=agreed)


class Outcomes:
    """A refusal for lack of room says nothing about a version, so it counts for none."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def record(self, target: ModelVersion, error: Exception | None, seconds: float) -> None:
        """The end of one attempt, which took Triton so long."""
        if isinstance(error, OutOfService):
            self._recorder.record(target.model, target.version, BREAKER, ok=False, seconds=0.0)
        elif not isinstance(error, Overloaded | UpstreamOverloaded):
            ok = error is None
            self._recorder.record(target.model, target.version, target.variant, ok=ok, seconds=seconds)
