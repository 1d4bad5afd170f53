"""What the administration of canaries takes and answers."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.canary.analysis import Counts, Judgement
from gateway.canary.callers import Caller
from gateway.canary.counts import Reading
from gateway.canary.ledger import CANARY_VARIANTS, STABLE_VARIANTS, side
from gateway.canary.preflight import Check
from gateway.canary.report import Report as Comparisons
from gateway.canary.reports import SECONDS, Known
from gateway.canary.route import Route
from gateway.canary.store import Event
from gateway.canary.table import Live
from gateway.canary.traffic import WIDTH, Point, traffic
from gateway.schemas import Version

_FAR = 1e12  # seconds; no moment is so far away that a route may name it


class _Canary(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GuardRequest(_Canary):
    """When the canary is rolled back by itself."""

    min_requests: int = Field(default=100, description="On the canary, before it is judged.")
    max_error_gap: float = Field(
        default=0.02, description="How far its error rate may lie above the stable version's."
    )
    error_z: float = Field(default=3.0, description="And by how many standard errors, at least.")
    latency_factor: float | None = Field(
        default=1.5, description="How much longer its p95 may be; null: not judged."
    )
    latency_windows: int = Field(default=3, description="Windows in a row in which it has to be too long.")
    window: int = Field(default=2, description="Seconds of such a window.")
    min_agreement: float | None = Field(
        default=None, description="Share of mirrored answers that have to agree."
    )
    min_compared: int = Field(default=50, description="Answers compared, before agreement is judged.")


class StepRequest(_Canary):
    weight: int = Field(description="Basis points, 1 to 10000; they rise from step to step.")
    seconds: float = Field(default=60, description="The least time at this weight.")
    min_requests: int = Field(default=100, description="The fewest requests on the canary at this weight.")


class LifeRequest(_Canary):
    deprecated_at: float | None = Field(default=None, description="Seconds since the epoch.")
    sunset_at: float | None = Field(default=None, description="Seconds since the epoch.")


class RouteRequest(_Canary):
    """A route as it shall be. Without a weight the plan in `steps` begins."""

    stable: str = Field(examples=["1"])
    canary: str | None = Field(default=None, examples=["2"])
    weight: int | None = Field(
        default=None, description="Basis points, 0 to 10000, set by hand.", examples=[500]
    )
    sticky: str = Field(default="principal", description="principal, header:<name> or cookie:<name>.")
    mirror: int = Field(default=0, description="Basis points of stable traffic whose answers are compared.")
    guard: GuardRequest = GuardRequest()
    steps: list[StepRequest] = Field(default=[], description="The plan.")
    lease: float | None = Field(
        default=None, description="Seconds until everybody is back on the stable version."
    )
    always: list[str] = Field(default=[], description="Keys or tenants that are always on the canary.")
    lives: dict[str, LifeRequest] = Field(default={}, description="Deprecation and sunset by version.")


class ReasonRequest(_Canary):
    reason: str = Field(default="", max_length=500, description="For the log.")


class CheckRequest(_Canary):
    to: Version = Field(description="The version that shall become the canary.")


class RouteView(RouteRequest):
    """A route as it stands. `lease` is in seconds from now."""

    model: str
    generation: int
    frozen: bool
    under_way: bool = Field(description="Whether anything may go to the canary.")
    phase: Literal["steady", "progressing", "paused", "rolled-back", "promoted"]
    step: int = Field(description="Place in `steps`, -1 while no plan runs.")
    step_started_at: datetime | None
    reason: str
    since: datetime | None
    unreadable: str | None = Field(
        description="Why this release cannot read what stands; then the route is the one that it goes by instead."
    )


class RouteList(_Canary):
    canaries: list[RouteView]


class CheckView(_Canary):
    name: str
    passed: bool
    detail: str


class PreflightView(_Canary):
    model: str
    stable: str
    to: str
    passed: bool
    checks: list[CheckView]


class EventView(_Canary):
    id: str
    at: datetime
    model: str
    generation: int
    actor: str
    action: str
    reason: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class EventQuery(_Canary):
    """The newest first; with `after` those since, oldest first."""

    limit: int = Field(default=100, ge=1, le=1000, description="At most so many.")
    after: str | None = Field(default=None, description="The id of an event: only those after it.")
    before: str | None = Field(default=None, description="The id of an event: only those before it.")


class EventList(_Canary):
    events: list[EventView]


class CallerQuery(_Canary):
    version: Version = Field(description="Calls are noted for versions with a deprecation or a sunset.")


class CallerView(_Canary):
    tenant: str
    id: str
    last_seen: datetime


class CallerList(_Canary):
    """Of the last week, the latest first."""

    callers: list[CallerView]


class Side(_Canary):
    """One version over the last minute; latencies are of Triton's answers, in milliseconds."""

    version: str
    requests: int
    errors: int
    error_rate: float
    p50_ms: float | None
    p95_ms: float | None


class ClassAgreement(_Canary):
    """Of one label: answers that agree, that changed into or out of it, boxes that only one version found."""

    agreed: int
    changed_from: int
    changed_to: int
    missed: int
    extra: int


class DisagreementView(_Canary):
    """One image that the two versions answer differently; `image` is base64, where the operator opted in."""

    request_id: str
    sha256: str
    stable: dict[str, Any]
    canary: dict[str, Any]
    image: str | None


class Agreement(_Canary):
    """What mirrored calls showed since the rollout began; `failed` and `dropped` count those that came to nothing."""

    compared: int = 0
    agreed: int = 0
    rate: float | None = None
    overlap: float | None = None
    score_drift: float | None = None
    failed: dict[str, int] = {}
    dropped: dict[str, int] = {}
    classes: dict[str, ClassAgreement] = {}
    disagreements: list[DisagreementView] = []


class Decision(_Canary):
    verdict: Literal["healthy", "insufficient", "roll-back"]
    cause: str | None
    detail: str


class Report(_Canary):
    model: str
    generation: int
    seconds: int
    stable: Side
    canary: Side | None
    agreement: Agreement
    decision: Decision | None


class TrafficPoint(_Canary):
    """`at` is in seconds since the epoch. Latencies are of Triton's answers, in milliseconds."""

    at: int
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    compared: int
    agreed: int


class Traffic(_Canary):
    """What each version answered, by version; a point covers `width` seconds, `now` is the second that runs."""

    model: str
    width: int
    now: int
    versions: dict[str, list[TrafficPoint]]


class LoadedVersions(_Canary):
    """The versions that are loaded, by model: none where a rollout is under way whose model cannot be called."""

    models: dict[str, list[str]]


class WatchQuery(_Canary):
    model: str | None = Field(
        default=None,
        max_length=128,
        description="Also `traffic` of this model, and its report whether or not a rollout is under way.",
    )


class WorkerView(_Canary):
    """`generations` are of the routes that it applies, by model."""

    id: str
    host: str
    process: int
    started_at: datetime
    seen_at: datetime
    generations: dict[str, int]


class WorkerList(_Canary):
    workers: list[WorkerView]


def route_view(live: Live[Route], now: float) -> RouteView:
    route = live.route
    fields = {name: value for name, value in asdict(route).items() if name != "salt"}
    fields |= {
        "generation": live.generation,
        "under_way": route.under_way,
        "sticky": str(route.sticky),
        "lease": None if route.lease is None else round(max(0.0, route.lease - now), 1),
        "step_started_at": _moment(route.step_started_at),
        "since": _moment(route.since),
        "unreadable": live.unreadable or None,
    }
    return RouteView.model_validate(fields)


def document_of(body: Mapping[str, Any], now: float) -> str:
    """The body as the route reads it: a lease is a moment there, not seconds from now."""
    lease = body.get("lease")
    if isinstance(lease, int | float) and not isinstance(lease, bool):
        far = min(max(lease, -_FAR), _FAR)  # a number of 400 digits cannot be added to a moment
        return json.dumps({**body, "lease": now + far})
    return json.dumps(dict(body))


def preflight_view(route: Route, to: str, checks: Sequence[Check]) -> PreflightView:
    views = [CheckView(name=check.name, passed=check.passed, detail=check.detail) for check in checks]
    passed = all(check.passed for check in checks)
    return PreflightView(model=route.model, stable=route.stable, to=to, passed=passed, checks=views)


def event_view(event: Event) -> EventView:
    return EventView(
        id=event.id,
        at=datetime.fromtimestamp(event.at, UTC),
        model=event.model,
        generation=event.generation,
        actor=event.cause.actor,
        action=event.cause.action,
        reason=event.cause.reason,
        before=_document(event.before),
        after=_document(event.after),
    )


def caller_list(callers: Sequence[Caller]) -> CallerList:
    return CallerList(
        callers=[
            CallerView(
                tenant=caller.tenant, id=caller.id, last_seen=datetime.fromtimestamp(caller.last_seen, UTC)
            )
            for caller in callers
        ]
    )


def report_view(known: Known) -> Report:
    route, ledger, buckets = known.live.route, known.ledger, known.reading.buckets
    return Report(
        model=route.model,
        generation=known.live.generation,
        seconds=SECONDS,
        stable=_side(route.stable, side(buckets, route.stable, STABLE_VARIANTS)),
        canary=_side(route.canary, side(buckets, route.canary, CANARY_VARIANTS)) if route.canary else None,
        agreement=_agreement(known.comparison) if known.comparison else Agreement(),
        decision=_decision(ledger.judgement if ledger else None),
    )


def without_images(report: Report) -> Report:
    """As it is streamed: images that are sent every second would be most of what is sent."""
    bare = [each.model_copy(update={"image": None}) for each in report.agreement.disagreements]
    agreement = report.agreement.model_copy(update={"disagreements": bare})
    return report.model_copy(update={"agreement": agreement})


def traffic_view(model: str, reading: Reading, since: int) -> Traffic:
    """The points from `since` on."""
    return Traffic(
        model=model,
        width=WIDTH,
        now=reading.now,
        versions={
            version: [_point(point) for point in points if point.at >= since]
            for version, points in traffic(reading).items()
        },
    )


def _point(point: Point) -> TrafficPoint:
    counts = point.counts
    return TrafficPoint(
        at=point.at,
        requests=counts.requests,
        errors=counts.errors,
        p50_ms=_milliseconds(counts.latency.quantile(0.5)),
        p95_ms=_milliseconds(counts.latency.quantile(0.95)),
        compared=point.compared,
        agreed=point.agreed,
    )


def _agreement(found: Comparisons) -> Agreement:
    drift = found.mean_drift
    return Agreement(
        compared=found.compared,
        agreed=found.agreed,
        rate=found.agreement,
        overlap=found.mean_overlap,
        score_drift=None if drift is None else drift.signed,
        failed=dict(found.failed),
        dropped=dict(found.dropped),
        classes={label: ClassAgreement(**asdict(tally)) for label, tally in found.classes.items()},
        disagreements=[
            DisagreementView(
                request_id=each.request_id,
                sha256=each.sha256,
                stable=each.stable.model_dump(),
                canary=each.canary.model_dump(),
                image=None if each.image is None else b64encode(each.image).decode(),
            )
            for each in found.samples
        ],
    )


def _side(version: str, counts: Counts) -> Side:
    return Side(
        version=version,
        requests=counts.requests,
        errors=counts.errors,
        error_rate=counts.error_rate,
        p50_ms=_milliseconds(counts.latency.quantile(0.5)),
        p95_ms=_milliseconds(counts.latency.quantile(0.95)),
    )


def _decision(judgement: Judgement | None) -> Decision | None:
    if judgement is None:
        return None
    return Decision(verdict=judgement.verdict.value, cause=judgement.cause, detail=judgement.sentence)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _document(text: str | None) -> dict[str, Any] | None:
    """A route as the log keeps it, without its salt; what is no JSON any more is left out."""
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return {key: value for key, value in found.items() if key != "salt"} if isinstance(found, dict) else None
