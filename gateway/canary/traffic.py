"""What each version of a model was asked and answered, as points in time for a chart (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.canary.analysis import Counts
from gateway.canary.counts import Reading, Tally
from gateway.canary.histogram import Histogram
from gateway.canary.outcomes import BREAKER
from gateway.domain import Variant

WIDTH = 2  # seconds of a point


@dataclass(frozen=True, slots=True)
class Point:
    """The `WIDTH` seconds from `at` on, a multiple of it, since the epoch.

    `counts` are of callers; `compared` and `agreed` of mirrored calls, which have no caller.
    """

    at: int
    counts: Counts = field(default_factory=Counts)
    compared: int = 0
    agreed: int = 0


def traffic(reading: Reading) -> Mapping[str, Sequence[Point]]:
    """By version, the oldest first, without points that counted nothing; the last one may still grow."""
    versions: dict[str, dict[int, Point]] = {}
    for bucket in reading.buckets:
        at = bucket.second - bucket.second % WIDTH
        for series, tally in bucket.tallies.items():
            if series.variant != BREAKER:
                points = versions.setdefault(series.version, {})
                points[at] = _with(points.get(at) or Point(at), tally, series.variant)
    return {version: list(points.values()) for version, points in sorted(versions.items())}


def _with(point: Point, tally: Tally, variant: str) -> Point:
    answered = Counts(tally.requests, tally.errors, Histogram(tally.latency))
    return Point(
        point.at,
        point.counts if variant == Variant.SHADOW else point.counts + answered,
        point.compared + tally.compared,
        point.agreed + tally.agreed,
    )
