"""Prometheus's objects behind our definitions: the children of a metric, found once and bounded in number."""

from collections.abc import Callable
from typing import Generic, TypeVar

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as PrometheusCounter
from prometheus_client import Gauge as PrometheusGauge
from prometheus_client import Histogram as PrometheusHistogram

from gateway.telemetry.definitions import Definition

OTHER = "other"

Labels = tuple[str, ...]

_Child = TypeVar("_Child", PrometheusCounter, PrometheusGauge, PrometheusHistogram)

_log = structlog.stdlib.get_logger("gateway.metrics")


class _Children(Generic[_Child]):
    """`of` is on the path of every request: one look into a dictionary."""

    def __init__(self, definition: Definition, metric: _Child) -> None:
        self._definition = definition
        self._labelled: Callable[..., _Child] = metric.labels
        self._known: dict[Labels, _Child] = {} if definition.labels else {(): metric}
        self._room = definition.most
        self._told = False

    def of(self, labels: Labels) -> _Child:
        child = self._known.get(labels)
        return self._of_new(labels) if child is None else child

    def _of_new(self, labels: Labels) -> _Child:
        if self._room > 0:
            self._room -= 1
        else:
            self._tell_once()
            labels = self._folded(labels)
        child = self._known.get(labels)
        if child is None:
            child = self._known[labels] = self._labelled(*labels)
        return child

    def _tell_once(self) -> None:
        if not self._told:
            self._told = True
            _log.warning("metric_full", metric=self._definition.name, most=self._definition.most)

    def _folded(self, labels: Labels) -> Labels:
        kept = self._definition.kept
        return tuple(
            value if name in kept else OTHER
            for name, value in zip(self._definition.labels, labels, strict=True)
        )


class Counter:
    def __init__(self, definition: Definition, registry: CollectorRegistry) -> None:
        metric = PrometheusCounter(definition.name, definition.text, definition.labels, registry=registry)
        self._children = _Children(definition, metric)

    def add(self, labels: Labels = (), amount: float = 1.0) -> None:
        self._children.of(labels).inc(amount)


class Gauge:
    def __init__(self, definition: Definition, registry: CollectorRegistry) -> None:
        metric = PrometheusGauge(
            definition.name,
            definition.text,
            definition.labels,
            registry=registry,
            multiprocess_mode=definition.across.value,
        )
        self._children = _Children(definition, metric)

    def set(self, value: float, labels: Labels = ()) -> None:
        self._children.of(labels).set(value)


class Histogram:
    def __init__(self, definition: Definition, registry: CollectorRegistry) -> None:
        metric = PrometheusHistogram(
            definition.name,
            definition.text,
            definition.labels,
            registry=registry,
            buckets=definition.buckets,
        )
        self._children = _Children(definition, metric)

    def observe(self, value: float, labels: Labels = ()) -> None:
        self._children.of(labels).observe(value)
