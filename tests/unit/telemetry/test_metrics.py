"""What is counted, by which labels, and that nothing makes the number of series grow without end."""

from dataclasses import dataclass
from itertools import product

from exposition import Exposition
from unit.ratelimit.callers import Clock, ScriptedStore, caller, tier

from gateway.domain import ModelVersion, Priority, Variant
from gateway.ratelimit import RateLimiter
from gateway.ratelimit.breaker import Breaker
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.requests import Finished
from gateway.telemetry.timeline import Stage, Timeline

PETS = ModelVersion("pets", "2", Variant.CANARY)
STABLE = ModelVersion("pets", "1", Variant.STABLE)


def shown(metrics: Metrics) -> Exposition:
    return Exposition(metrics.text().decode())


def timeline(*targets: ModelVersion) -> Timeline:
    """One that took no time, but some of every stage."""
    made = Timeline(lambda: 0.0)
    for target in targets:
        made.chosen(target)
    for stage in Stage:
        with made.stage(stage):
            pass
    return made


def finished(*targets: ModelVersion, status: int = 200, problem: str | None = None) -> Finished:
    return Finished(
        "/v1/classify",
        status,
        problem,
        Priority.STANDARD,
        0.03,
        timeline(*targets),
        payload=2000,
        images=[900, 1000],
    )


def test_a_request_counts_once_by_all_that_was_decided_of_it() -> None:
    metrics = Metrics()
    metrics.requests.finished(finished(PETS))
    (sample,) = shown(metrics).found("gateway_requests_total")
    assert sample.value == 1
    assert sample.labels == {
        "route": "/v1/classify",
        "model": "pets",
        "version": "2",
        "variant": "canary",
        "priority": "standard",
        "code": "200",
    }


def test_latency_is_by_version_and_stages_by_route() -> None:
    metrics = Metrics()
    metrics.requests.finished(finished(PETS))
    exposition = shown(metrics)
    buckets = exposition.found("gateway_request_seconds_bucket", model="pets", version="2", variant="canary")
    assert [sample.labels["le"] for sample in buckets if sample.value == 0] == ["0.005", "0.01", "0.025"]
    for stage in Stage:
        assert exposition.total("gateway_stage_seconds_count", route="/v1/classify", stage=stage.value) == 1


def test_sizes_are_of_the_body_and_of_each_image() -> None:
    metrics = Metrics()
    metrics.requests.finished(finished(PETS))
    exposition = shown(metrics)
    assert exposition.total("gateway_payload_bytes_sum") == 2000
    assert exposition.total("gateway_image_bytes_sum") == 1900
    assert exposition.total("gateway_image_bytes_bucket", le="1024.0") == 2


def test_a_request_refused_at_the_door_has_no_version_and_no_latency_of_one() -> None:
    metrics = Metrics()
    metrics.requests.finished(finished(status=401, problem="unauthenticated"))
    exposition = shown(metrics)
    assert exposition.total("gateway_requests_total", model="", version="", variant="", code="401") == 1
    assert exposition.total("gateway_problems_total", problem="unauthenticated") == 1
    assert exposition.found("gateway_request_seconds_count") == []


def test_a_refusal_for_lack_of_room_is_shed_and_other_problems_are_not() -> None:
    metrics = Metrics()
    for problem in ("overloaded", "upstream_unavailable"):
        metrics.requests.finished(finished(STABLE, status=503, problem=problem))
    assert shown(metrics).total("gateway_shed_total") == 1
    assert shown(metrics).total("gateway_shed_total", model="pets", priority="standard") == 1


def test_a_fallback_counts_under_the_version_that_answered() -> None:
    metrics = Metrics()
    metrics.requests.finished(finished(PETS, STABLE))
    exposition = shown(metrics)
    assert exposition.total("gateway_requests_total", version="1", variant="stable") == 1
    assert exposition.total("gateway_fallbacks_total", model="pets") == 1


def test_what_is_begun_and_not_over_is_in_flight() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.requests.begun()
    metrics.requests.over()
    metrics.requests.tell()
    assert shown(metrics).total("gateway_requests_in_flight") == 2


@dataclass(frozen=True)
class Decided:
    allowed: bool
    refusal: str | None
    degraded: bool = False


def test_a_tier_that_only_watches_is_told_from_one_that_refuses() -> None:
    metrics = Metrics()
    metrics.limits.decided("standard", Decided(allowed=True, refusal=None))
    metrics.limits.decided("standard", Decided(allowed=False, refusal="quota"))
    metrics.limits.decided("trial", Decided(allowed=True, refusal="in_flight", degraded=True))
    exposition = shown(metrics)
    assert exposition.total("gateway_limited_total") == 2
    assert exposition.total("gateway_limited_total", tier="standard", reason="quota", enforced="yes") == 1
    assert exposition.total("gateway_limited_total", tier="trial", reason="in_flight", enforced="no") == 1
    assert exposition.total("gateway_limits_local_total") == 1


def test_comparisons_count_what_agrees_of_what_was_compared() -> None:
    metrics = Metrics()
    for agreed in (True, True, False):
        metrics.versions.record_comparison("pets", "2", "shadow", agreed=agreed)
    exposition = shown(metrics)
    assert exposition.total("gateway_canary_compared_total", model="pets", version="2") == 3
    assert exposition.total("gateway_canary_agreed_total", model="pets", version="2") == 2


MODELS = [f"model-{number}" for number in range(20)]
ROUTES = ["/v1/classify", "/classify", "/v1/detect", "/detect"]
STATUSES = (200, 400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 428, 429, 499, 500, 502, 503, 504)


def test_twenty_models_in_every_state_at_once_are_fewer_than_two_thousand_series() -> None:
    metrics = Metrics()
    sent = 0
    targets = [
        ModelVersion(model, version, variant)
        for model, (version, variant) in product(
            MODELS,
            [("1", Variant.STABLE), ("2", Variant.CANARY), ("2", Variant.PINNED), ("1", Variant.PINNED)],
        )
    ]
    for target, route, status, priority in product(targets, ROUTES, STATUSES, Priority):
        metrics.requests.finished(
            Finished(route, status, f"problem-{status}", priority, 0.1, timeline(STABLE, target), 1, [1])
        )
        sent += 1
    for target, ok in product(targets, (True, False)):
        for variant in (target.variant, "shadow", "fallback", "breaker"):
            metrics.versions.record(target.model, target.version, variant, ok=ok, seconds=0.1)
        metrics.versions.record_comparison(target.model, target.version, agreed=ok)
        metrics.upstream.retried(target)
        metrics.upstream.breaker(target.model, target.version, is_open=ok, half_open=not ok)
        metrics.upstream.calls(target.model, target.version, in_flight=1, limit=2)
        metrics.canaries.route(target.model, weight=1, generation=1)
        metrics.canaries.rolled_back(target.model, "errors" if ok else "operator")
    exposition = shown(metrics)
    assert len(list(exposition.samples())) < 2000
    # No request is lost for lack of room, and how many failed is known of those without a series of their own too.
    assert exposition.total("gateway_requests_total") == sent
    assert exposition.total("gateway_requests_total", code="503") == sent / len(STATUSES)
    assert exposition.total("gateway_requests_total", model="other") > 0


async def test_a_limiter_that_loses_its_store_and_finds_it_again_tells_each_once() -> None:
    metrics, store, clock = Metrics(), ScriptedStore(), Clock()
    breaker = Breaker(clock=clock, spread=lambda: 1.0)
    async with RateLimiter(
        store, shares=1, clock=clock, breaker=breaker, on_state_change=metrics.limits.changed
    ) as limiter:
        store.up = False
        for _ in range(10):
            metrics.limits.decided("standard", await limiter.charge(caller(), tier(), 0))
        store.up, clock.now = True, clock.now + 1
        await limiter.charge(caller(), tier(), 0)
    exposition = shown(metrics)
    assert exposition.total("gateway_limits_changes_total", state="open") == 1
    assert exposition.total("gateway_limits_changes_total", state="closed") == 1
    assert exposition.total("gateway_limits_local_total") == 10
