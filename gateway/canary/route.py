"""A model's route: which versions answer, for whom, and how far a rollout has come. Values only, and their document.

A rollout is under way while the route has a salt. Its end, however it comes, takes the salt away, and with it everybody
off the canary: the weight, the mirror and those who are always on it.
"""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from gateway.canary.split import FULL
from gateway.schemas import VERSION_PATTERN

# Triton calls a model as its folder is called; the store keeps what begins with a colon for itself.
Model = Annotated[str, Field(pattern=r"^[^:/\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,254}$")]
Version = Annotated[str, Field(pattern=VERSION_PATTERN)]  # as Triton numbers them
Weight = Annotated[int, Field(ge=0, le=FULL)]  # basis points
Moment = Annotated[float, Field(ge=0, le=1e11)]  # seconds since the epoch
Share = Annotated[float, Field(ge=0, le=1)]
Salt = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")]
Subjects = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(max_length=1000)]

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

# A name is a token, which is what headers (RFC 9110) and cookies (RFC 6265) are called.
_STICKY = re.compile(r"principal|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


class BrokenRoute(Exception):
    """A document of the store that is not a route. Its text is not repeated: it may hold anything."""


class Phase(StrEnum):
    """Where a route stands between two rollouts or within one."""

    STEADY = "steady"  # the weight was set by hand; it may be 0
    PROGRESSING = "progressing"  # the plan raises it
    PAUSED = "paused"  # the plan waits at the weight it has reached
    ROLLED_BACK = "rolled-back"
    PROMOTED = "promoted"  # the canary became the stable version


@dataclass(frozen=True, slots=True)
class Guard:
    """When the canary is rolled back by itself; `gateway.canary.analysis` says how each bound is judged.

    `window` is in whole seconds, as the counts are. None leaves the latency, or the agreement, unjudged.
    """

    min_requests: Annotated[int, Field(ge=20, le=1_000_000)] = 100
    max_error_gap: Share = 0.02
    error_z: Annotated[float, Field(ge=2, le=10)] = 3.0
    latency_factor: Annotated[float, Field(ge=1.3, le=100)] | None = 1.5  # the histogram tells 1.26 from 1
    latency_windows: Annotated[int, Field(ge=1, le=10)] = 3
    window: Annotated[int, Field(ge=1, le=30)] = 2
    min_agreement: Share | None = None
    min_compared: Annotated[int, Field(ge=20, le=1_000_000)] = 50


@dataclass(frozen=True, slots=True)
class Step:
    """A weight of the plan; the next one comes after `seconds` and `min_requests` on the canary, if it is healthy."""

    weight: Annotated[int, Field(ge=1, le=FULL)]
    seconds: Annotated[float, Field(ge=0, le=30 * 86400)] = 60.0
    min_requests: Annotated[int, Field(ge=0, le=100_000_000)] = 100


Steps = Annotated[tuple[Step, ...], Field(max_length=20)]


@dataclass(frozen=True, slots=True)
class Life:
    """Since when a version is deprecated (RFC 9745) and when it goes (RFC 8594); raises ValueError out of order."""

    deprecated_at: Moment | None = None
    sunset_at: Moment | None = None

    def __post_init__(self) -> None:
        if self.deprecated_at is None or self.sunset_at is None:
            return
        if self.sunset_at < self.deprecated_at:
            raise ValueError("a version cannot go before it is deprecated")


Lives = Annotated[Mapping[Version, Life], Field(max_length=100)]


class Source(StrEnum):
    """Where the name that tells callers apart comes from; a header or a cookie names an end user of a caller."""

    PRINCIPAL = "principal"
    HEADER = "header"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class Sticky:
    """What a caller is told apart by; `name` is that of the header or cookie."""

    kind: Source = Source.PRINCIPAL
    name: str | None = None

    @classmethod
    def parse(cls, text: object) -> Self:
        """Of "principal", "header:X-User-Id" or "cookie:uid". Raises ValueError."""
        if not isinstance(text, str) or not _STICKY.fullmatch(text):
            raise ValueError('"principal", "header:<name>" or "cookie:<name>"')
        kind, _, name = text.partition(":")
        return cls(Source(kind), name or None)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


Stickiness = Annotated[Sticky, PlainValidator(Sticky.parse), PlainSerializer(str, return_type=str)]

BY_PRINCIPAL = Sticky()
DEFAULT_GUARD = Guard()


@dataclass(frozen=True, slots=True)
class Route:
    """One state of a model's route; whatever contradicts itself raises ValueError.

    `always` names principals or tenants that a rollout takes in whatever its weight. `lease` is when the canary goes
    back to nobody unless it is renewed. `step` is the place in `steps`, -1 while no plan runs. `reason` is for the
    operator to read, `since` when it came to be. Times are in seconds since the epoch.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    model: Model
    stable: Version
    canary: Version | None = None
    weight: Weight = 0
    salt: Salt = ""
    sticky: Stickiness = BY_PRINCIPAL
    mirror: Weight = 0
    guard: Guard = DEFAULT_GUARD
    steps: Steps = ()
    lease: Moment | None = None
    always: Subjects = ()
    lives: Lives = field(default_factory=dict)
    frozen: bool = False
    phase: Phase = Phase.STEADY
    step: Annotated[int, Field(ge=-1)] = -1
    step_started_at: Moment | None = None
    reason: Annotated[str, Field(max_length=1000)] = ""
    since: Moment = 0.0

    def __post_init__(self) -> None:
        check_versions(self.stable, self.canary)
        check_steps(self.steps)
        if self.canary is None and (self.salt or self.phase not in (Phase.STEADY, Phase.PROMOTED)):
            raise ValueError("a rollout needs a canary")
        if not self.salt and (self.weight or self.mirror or self.lease is not None or self.follows_plan):
            raise ValueError("without a rollout nothing goes to the canary")
        if self.salt and self.phase in (Phase.ROLLED_BACK, Phase.PROMOTED):
            raise ValueError("the rollout is over")
        self._check_step()

    def _check_step(self) -> None:
        if not self.follows_plan:
            if self.step != -1 or self.step_started_at is not None:
                raise ValueError("a step without a plan that runs")
        elif not 0 <= self.step < len(self.steps) or self.step_started_at is None:
            raise ValueError("a plan that runs stands at one of its steps")
        elif self.weight != self.steps[self.step].weight:
            raise ValueError("a plan that runs has the weight of its step")

    @property
    def under_way(self) -> bool:
        """Whether anything may go to the canary."""
        return bool(self.salt)

    @property
    def follows_plan(self) -> bool:
        return self.phase in (Phase.PROGRESSING, Phase.PAUSED)


def check_versions(stable: str, canary: str | None) -> None:
    """Raises ValueError."""
    if canary == stable:
        raise ValueError("the canary is the stable version")


def check_steps(steps: tuple[Step, ...]) -> None:
    """Raises ValueError for weights that do not rise: a plan never takes anybody back."""
    weights = [step.weight for step in steps]
    if weights != sorted(set(weights)):
        raise ValueError("the weights of the steps have to rise")


@functools.lru_cache(maxsize=1024)
def default_route(model: str, stable: str) -> Route:
    """Of a model that nobody made a route for: everything on its stable version."""
    return Route(model, stable)


_CODEC = TypeAdapter(Route)


def to_document(route: Route) -> str:
    """As JSON in its canonical form: equal routes are equal texts."""
    return json.dumps(_CODEC.dump_python(route, mode="json"), sort_keys=True, separators=(",", ":"))


def from_document(text: str) -> Route:
    """Raises BrokenRoute; also for a field that is not known, since what it asks for could not be kept."""
    try:
        return _CODEC.validate_json(text)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        places = {".".join(map(str, problem["loc"])) or problem["msg"] for problem in problems}
        raise BrokenRoute(f"wrong or missing: {', '.join(sorted(places))}") from None
