"""What is known of a canary's answers: comparisons added up, and a sample of those that disagree (pure).

Reports of one pair of versions add up in any order and grouping, so every worker writes its own: averages are kept as
sums of whole millionths, and the sample are the lowest of ranks that were drawn at random, whoever drew them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Self, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from gateway.canary.compare import MOST, Result
from gateway.canary.compare_tensors import Excerpt, TensorResult, excerpt
from gateway.canary.comparison import ClassTally, Comparison, Drift
from gateway.schemas import ClassifyResult, DetectResult

SAMPLES = 20  # disagreements that a report keeps

_UNIT = 1_000_000
_STRICT = ConfigDict(
    extra="forbid", strict=True, allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64"
)

_Count = Annotated[int, Field(ge=0)]
_Counts = Mapping[str, _Count]
Kept = ClassifyResult | DetectResult | Excerpt
"""An answer as a sample keeps it."""
_V = TypeVar("_V", int, ClassTally)


class BrokenReport(Exception):
    """A document that is not a report. Its text is not repeated: it may hold inputs."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Which two versions of a model are compared."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    model: str
    stable: str
    canary: str


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An image to which the two versions answer differently.

    `sha256` is that of its bytes, in hexadecimal; `image` are the bytes themselves, only where the operator opted in.
    Of the disagreements the lowest ranks stay.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    rank: float
    request_id: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    stable: Kept
    canary: Kept
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """`compared`, `agreed` and `alike` (those with anything in both answers) count images; `overlap`, `drift` and
    `drift_signed` are sums over them in millionths. `failed` counts mirrored calls by the code of the canary's error,
    `dropped` those that were never answered for another reason; `classes` are by label.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    versions: Versions
    compared: _Count = 0
    agreed: _Count = 0
    overlap: _Count = 0
    alike: _Count = 0
    drift: _Count = 0
    drift_signed: int = 0
    failed: _Counts = field(default_factory=dict)
    dropped: _Counts = field(default_factory=dict)
    classes: Mapping[str, ClassTally] = field(default_factory=dict)
    samples: Annotated[tuple[Disagreement, ...], Field(max_length=SAMPLES)] = ()

    def __add__(self, other: Self) -> Self:
        """Raises ValueError for reports on different versions."""
        if self.versions != other.versions:
            raise ValueError(f"reports on {self.versions} and {other.versions} do not add up")
        return type(self)(
            self.versions,
            self.compared + other.compared,
            self.agreed + other.agreed,
            self.overlap + other.overlap,
            self.alike + other.alike,
            self.drift + other.drift,
            self.drift_signed + other.drift_signed,
            _added(self.failed, other.failed),
            _added(self.dropped, other.dropped),
            _added(self.classes, other.classes),
            _lowest([*self.samples, *other.samples]) if other.samples else self.samples,
        )

    @property
    def agreement(self) -> float | None:
        """The share of images on which both versions agree; None before the first."""
        return self.agreed / self.compared if self.compared else None

    @property
    def mean_overlap(self) -> float | None:
        return self.overlap / _UNIT / self.compared if self.compared else None

    @property
    def mean_drift(self) -> Drift | None:
        if not self.alike:
            return None
        return Drift(self.drift_signed / _UNIT / self.alike, self.drift / _UNIT / self.alike)


def of_comparison(versions: Versions, found: Comparison, sample: Disagreement | None = None) -> Report:
    """Of one image."""
    drift = found.drift or Drift(0.0, 0.0)
    return Report(
        versions,
        compared=1,
        agreed=int(found.agrees),
        overlap=round(found.overlap * _UNIT),
        alike=int(found.drift is not None),
        drift=round(drift.absolute * _UNIT),
        drift_signed=round(drift.signed * _UNIT),
        classes=found.classes,
        samples=(sample,) if sample else (),
    )


def trimmed(answer: Result) -> Kept:
    """What was compared, and no more; of tensors only their beginning."""
    if isinstance(answer, TensorResult):
        return excerpt(answer.outputs)
    if isinstance(answer, ClassifyResult):
        return answer.model_copy(update={"predictions": answer.predictions[:MOST]})
    return answer.model_copy(update={"detections": answer.detections[:MOST]})


_CODEC = TypeAdapter(Report)


def to_document(report: Report) -> str:
    """As JSON in its canonical form."""
    return json.dumps(_CODEC.dump_python(report, mode="json"), sort_keys=True, separators=(",", ":"))


def from_document(text: str) -> Report:
    """Raises BrokenReport."""
    try:
        return _CODEC.validate_json(text)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        places = {".".join(map(str, problem["loc"])) or problem["msg"] for problem in problems}
        raise BrokenReport(f"wrong or missing: {', '.join(sorted(places))}") from None


class Journal:
    """A worker's own reports, until they are taken. Of very many pairs of versions those added to last are kept."""

    def __init__(self, pairs: int = 100) -> None:
        self._pairs = pairs
        self._reports: dict[Versions, Report] = {}

    def add(self, report: Report) -> None:
        held = self._reports.pop(report.versions, None)
        self._reports[report.versions] = held + report if held else report
        if len(self._reports) > self._pairs:
            del self._reports[next(iter(self._reports))]

    def keeps(self, versions: Versions, rank: float) -> bool:
        """Whether a disagreement of this rank would stay in the sample: else it need not be prepared."""
        samples = self.of(versions).samples
        return len(samples) < SAMPLES or rank < samples[-1].rank

    def of(self, versions: Versions) -> Report:
        return self._reports.get(versions) or Report(versions)

    def take(self) -> list[Report]:
        """What was added since the last time; what cannot be delivered is added again."""
        taken = list(self._reports.values())
        self._reports = {}
        return taken


def _added(one: Mapping[str, _V], other: Mapping[str, _V]) -> Mapping[str, _V]:
    if not other:
        return one
    return {**one, **{name: one[name] + count if name in one else count for name, count in other.items()}}


def _lowest(samples: Iterable[Disagreement]) -> tuple[Disagreement, ...]:
    ordered = sorted(samples, key=lambda each: (each.rank, each.request_id, each.sha256))
    return tuple(ordered[:SAMPLES])
