"""Everything that one worker counts, and the text that Prometheus reads: objects of an application, never globals."""

from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.domain import ModelVersion, Priority
from gateway.telemetry import definitions as table
from gateway.telemetry.families import Counter, Gauge
from gateway.telemetry.requests import RequestMetrics
from gateway.telemetry.worker_files import folder_of_this_process, reserve
from gateway.telemetry.worker_place import WorkerPlace

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """By what they are about. Where `gateway serve` started several workers, `text` speaks for all of them.

    Raises MetricsFolderError.
    """

    def __init__(self) -> None:
        # Else each counter is two series here, and one where there are several workers.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        folder = folder_of_this_process()
        self._place = None if folder is None else WorkerPlace(folder)
        self._registry = CollectorRegistry()
        self.requests = RequestMetrics(self._registry)
        self.limits = LimitMetrics(self._registry)
        self.versions = VersionMetrics(self._registry)
        self.upstream = UpstreamMetrics(self._registry)
        self.canaries = CanaryMetrics(self._registry)
        self.worker = WorkerMetrics(self._registry)

    def text(self) -> bytes:
        """In Prometheus's text format. Reads files where there are several workers: a matter for a thread."""
        if self._place is None:
            return generate_latest(self._registry)
        merged = CollectorRegistry()
        MultiProcessCollector(merged, str(self._place.folder))  # type: ignore[no-untyped-call]
        with self._place.alone():
            return generate_latest(merged)


class Decision(Protocol):
    """What is counted of a limiter's answer; a `refusal` may be `allowed` where the tier only watches."""

    @property
    def allowed(self) -> bool: ...

    @property
    def refusal(self) -> str | None: ...

    @property
    def degraded(self) -> bool: ...


class LimitMetrics:
    """The callers' quotas."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._limited = Counter(table.LIMITED, registry)
        self._local = Counter(table.LIMITS_LOCAL, registry)
        self._changes = Counter(table.LIMITS_CHANGES, registry)

    def decided(self, tier: str, decision: Decision) -> None:
        if decision.refusal is not None:
            self._limited.add((tier, str(decision.refusal), "no" if decision.allowed else "yes"))
        if decision.degraded:
            self._local.add()

    def changed(self, state: str) -> None:
        self._changes.add((str(state),))


class VersionMetrics:
    """What the data plane and the mirror tell of each version: a recorder, as the guard's counts are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(table.ATTEMPTS, registry)
        self._compared = Counter(table.COMPARED, registry)
        self._agreed = Counter(table.AGREED, registry)

    def record(self, model: str, version: str, variant: str = "", *, ok: bool, seconds: float) -> None:
        self._attempts.add((model, version, str(variant), "ok" if ok else "error"))

    def record_comparison(self, model: str, version: str, variant: str = "", *, agreed: bool) -> None:
        self._compared.add((model, version))
        self._agreed.add((model, version), float(agreed))


class UpstreamMetrics:
    """Calls to Triton: how many, how many wait, what is tried again and what is left alone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._retries = Counter(table.RETRIES, registry)
        self._changes = Counter(table.BREAKER_CHANGES, registry)
        self._breakers = Gauge(table.BREAKERS, registry)
        self._in_flight = Gauge(table.CALLS_IN_FLIGHT, registry)
        self._limit = Gauge(table.CALLS_LIMIT, registry)
        self._waiting = Gauge(table.CALLS_WAITING, registry)
        self._healing = Counter(table.HEALING, registry)
        self._endpoint_calls = Counter(table.ENDPOINT_CALLS, registry)
        self._endpoints = Gauge(table.ENDPOINTS, registry)
        self._answering = Gauge(table.ENDPOINTS_ANSWERING, registry)

    def retried(self, target: ModelVersion) -> None:
        self._retries.add((target.model, target.version))

    def healing(self, model: str, outcome: str) -> None:
        self._healing.add((model, outcome))

    def endpoint_calls(self, endpoint: str, *, ok: int, errors: int) -> None:
        self._endpoint_calls.add((endpoint, "ok"), float(ok))
        self._endpoint_calls.add((endpoint, "error"), float(errors))

    def endpoints(self, *, known: int, answering: int) -> None:
        self._endpoints.set(known)
        self._answering.set(answering)

    def breaker_changed(self, state: str) -> None:
        self._changes.add((state,))

    def breaker(self, model: str, version: str, *, is_open: bool, half_open: bool) -> None:
        self._breakers.set(is_open, (model, version, "open"))
        self._breakers.set(half_open, (model, version, "half_open"))

    def calls(self, model: str, version: str, *, in_flight: int, limit: int) -> None:
        self._in_flight.set(in_flight, (model, version))
        self._limit.set(limit, (model, version))

    def waiting(self, priority: Priority, requests: int) -> None:
        self._waiting.set(requests, (priority.name.lower(),))


class CanaryMetrics:
    """Routes and rollouts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._weight = Gauge(table.CANARY_WEIGHT, registry)
        self._generation = Gauge(table.ROUTE_GENERATION, registry)
        self._rollbacks = Counter(table.ROLLBACKS, registry)

    def route(self, model: str, *, weight: int, generation: int) -> None:
        self._weight.set(weight, (model,))
        self._generation.set(generation, (model,))

    def rolled_back(self, model: str, reason: str) -> None:
        self._rollbacks.add((model, str(reason)))


class WorkerMetrics:
    """How true this worker's copies are of what it needs to know."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._models = Gauge(table.CATALOG_MODELS, registry)
        self._generation = Gauge(table.CATALOG_GENERATION, registry)
        self._fresh = Gauge(table.FRESH, registry)
        self._unreadable = Gauge(table.ROUTES_UNREADABLE, registry)
        self._spans = Counter(table.SPANS, registry)
        self._lines_dropped = Counter(table.LOG_LINES_DROPPED, registry)
        self._task_failures = Counter(table.TASK_FAILURES, registry)
        Gauge(table.WORKERS, registry).set(1)
        Counter(table.WORKER_DEATHS, registry)  # their supervisor counts them; here it is 0 from the start

    def catalog(self, *, models: int, generation: int) -> None:
        self._models.set(models)
        self._generation.set(generation)

    def fresh(self, part: str, fresh: bool) -> None:
        self._fresh.set(fresh, (part,))

    def routes(self, *, unreadable: int) -> None:
        self._unreadable.set(unreadable)

    def spans(self, outcome: str, spans: int) -> None:
        self._spans.add((outcome,), float(spans))

    def line_dropped(self) -> None:
        self._lines_dropped.add()

    def task_failed(self) -> None:
        self._task_failures.add()


class SupervisorMetrics:
    """What only the parent of the workers sees, in the folder where any of them finds it. Raises MetricsFolderError."""

    def __init__(self, folder: Path) -> None:
        reserve(folder)
        self._deaths = Counter(table.WORKER_DEATHS, CollectorRegistry())

    def worker_died(self) -> None:
        self._deaths.add()
