"""Charts of traffic: seconds become points, mirrored calls are compared and asked nobody's question."""

from gateway.canary.counts import Bucket, Reading, Series, Tally
from gateway.canary.histogram import BOUNDS
from gateway.canary.traffic import traffic
from gateway.domain import Variant


def latencies(**places: int) -> tuple[int, ...]:
    return tuple(places.get(f"b{index}", 0) for index in range(len(BOUNDS) + 1))


def test_seconds_are_added_up_and_variants_of_a_version_too() -> None:
    stable, canary = Series("1", Variant.STABLE), Series("2", Variant.CANARY)
    pinned = Series("1", Variant.PINNED)
    reading = Reading(
        103,
        [
            Bucket(100, {stable: Tally(requests=4, errors=1), pinned: Tally(requests=1)}),
            Bucket(101, {stable: Tally(requests=2, latency=latencies(b3=2)), canary: Tally(requests=3)}),
            Bucket(102, {canary: Tally(requests=5, errors=5)}),
        ],
    )
    found = traffic(reading)
    assert [(p.at, p.counts.requests, p.counts.errors) for p in found["1"]] == [(100, 7, 1)]
    assert [(p.at, p.counts.requests, p.counts.errors) for p in found["2"]] == [(100, 3, 0), (102, 5, 5)]
    assert found["1"][0].counts.latency.total == 2


def test_mirrored_calls_count_as_comparisons_alone_and_an_open_breaker_as_nothing() -> None:
    shadow, refused = Series("2", Variant.SHADOW), Series("3", "breaker")
    tallies = {
        shadow: Tally(requests=9, errors=2, compared=7, agreed=6),
        refused: Tally(requests=4, errors=4),
    }
    found = traffic(Reading(11, [Bucket(10, tallies)]))
    assert set(found) == {"2"}
    [point] = found["2"]
    assert (point.counts.requests, point.compared, point.agreed) == (0, 7, 6)
