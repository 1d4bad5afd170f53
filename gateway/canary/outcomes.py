"""What the data plane tells of each attempt, as counts: who answered, how well, and how fast."""

from typing import Protocol

from gateway.domain import ModelVersion, Variant
from gateway.errors import ConnectionFailed, OutOfService, Overloaded, UpstreamDraining, UpstreamOverloaded

BREAKER = "breaker"  # the series of calls that were not made because the breaker is open
AWAY = "away"  # the series of calls of the stable version's callers while no Triton could be asked
FALLBACK = "fallback"  # the series of calls that the stable version got because a canary had failed


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
    """A refusal for lack of room says nothing about a version, so it counts for none.

    What the stable version does in a canary's place says nothing about its own callers: they are compared with the
    canary's, and these are the requests that the canary failed at.

    Nor does a Triton that is away: where the canary meets it, so does the stable version in its place, and then that
    counts for neither. So it must not count for the stable version when its own callers meet it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def record(
        self, target: ModelVersion, error: Exception | None, seconds: float, *, instead: bool = False
    ) -> None:
        """The end of one attempt, which took Triton so long; `instead` of a canary's, where that failed."""
        if isinstance(error, OutOfService):
            self._recorder.record(target.model, target.version, BREAKER, ok=False, seconds=0.0)
        elif not isinstance(error, Overloaded | UpstreamOverloaded):
            variant = FALLBACK if instead else _variant(target, error)
            self._recorder.record(target.model, target.version, variant, ok=error is None, seconds=seconds)


def _variant(target: ModelVersion, error: Exception | None) -> str:
    away = isinstance(error, ConnectionFailed | UpstreamDraining)
    return AWAY if away and target.variant is Variant.STABLE else target.variant
