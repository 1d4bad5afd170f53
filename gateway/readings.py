"""What this worker's parts say of themselves, once a second, as gauges; and their news, as counters."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from gateway.admission import Admission
from gateway.auth import DenyList, KeyRing
from gateway.canary import Route
from gateway.canary.controller import ACTOR as GUARD
from gateway.canary.fleet import Fleet
from gateway.canary.lifecycle import Action
from gateway.canary.store import Cause
from gateway.canary.table import Live, RouteTable
from gateway.catalog import Catalog
from gateway.dataplane import Lane
from gateway.domain import Priority
from gateway.ratelimit import RateLimiter
from gateway.telemetry.metrics import Metrics
from gateway.upstream import Breakers, Replicas
from gateway.upstream.breaker import State

_INTERVAL = 1.0
_LOOK = 0.02  # seconds

_log = structlog.stdlib.get_logger("gateway.upstream")


@dataclass(frozen=True, slots=True)
class Readings:
    """`take` reads memory only. Asking the limiter whether it is healthy lets one that nobody calls recover."""

    metrics: Metrics
    catalog: Catalog
    admission: Admission[Lane]
    breakers: Breakers
    limiter: RateLimiter
    keys: KeyRing
    denied: DenyList
    routes: RouteTable[Route]
    replicas: Replicas
    fleet: Fleet

    async def run(self) -> None:
        """Reads for ever; run as a task and cancel it to stop."""
        while True:
            self.take()
            await asyncio.sleep(_INTERVAL)

    async def first(self) -> None:
        """Returns once this worker's copies of what it needs for an answer have been read."""
        while not self._known():  # noqa: ASYNC110  # four copies, each of which is asked in its own way
            await asyncio.sleep(_LOOK)

    def _known(self) -> bool:
        return self.knows_what_is_kept and self.catalog.status().fresh

    @property
    def knows_what_is_kept(self) -> bool:
        """Whether the copies of what Redis keeps have been read. Where it loses them, they are all there is."""
        return self.keys.status().usable and self.denied.fresh and self.routes.status().known

    def take(self) -> None:
        self.metrics.requests.tell()
        self._calls()
        self._breakers()
        self._endpoints()
        self._copies()

    def scrape(self) -> Callable[[], bytes]:
        """The work for a thread: the text with this worker's gauges as they are now."""
        self.take()
        return self.metrics.text

    def _calls(self) -> None:
        lanes: Counter[tuple[str, str, str]] = Counter()
        waiting: Counter[Priority] = Counter()
        for lane, load in self.admission.load().items():
            lanes[lane.model, lane.version, "in flight"] += load.in_flight
            lanes[lane.model, lane.version, "limit"] += load.limit
            waiting.update(load.waiting)
        for model, version in {(model, version) for model, version, _ in lanes}:
            self.metrics.upstream.calls(
                model,
                version,
                in_flight=lanes[model, version, "in flight"],
                limit=lanes[model, version, "limit"],
            )
        for priority in Priority:
            self.metrics.upstream.waiting(priority, waiting[priority])

    def _breakers(self) -> None:
        states: dict[tuple[str, str], set[State]] = {}
        for (_, model, version), state in self.breakers.states().items():
            states.setdefault((model, version), set()).add(state)
        for (model, version), found in states.items():
            self.metrics.upstream.breaker(
                model, version, is_open=State.OPEN in found, half_open=State.HALF_OPEN in found
            )

    def _endpoints(self) -> None:
        members = self.replicas.members
        for replica in members:
            self.metrics.upstream.endpoint_calls(replica.endpoint, ok=replica.answered, errors=replica.failed)
            replica.answered = replica.failed = 0
        answering = sum(not replica.away for replica in members)
        self.metrics.upstream.endpoints(known=len(members), answering=answering)

    def _copies(self) -> None:
        worker, catalog, routes = self.metrics.worker, self.catalog.status(), self.routes.status()
        worker.catalog(models=catalog.models, generation=catalog.generation)
        worker.routes(unreadable=len(routes.unreadable))
        fresh: Mapping[str, bool] = {
            "catalog": catalog.fresh,
            "keys": self.keys.status().fresh,
            "denied_tokens": self.denied.fresh,
            "routes": routes.fresh,
            "limits": self.limiter.healthy,
            "changes": self.fleet.taken,
        }
        for part, is_fresh in fresh.items():
            worker.fresh(part, is_fresh)


def on_breaker(metrics: Metrics) -> Callable[[str, str, str, State], None]:
    def changed(endpoint: str, model: str, version: str, state: State) -> None:
        _log.warning("breaker", state=state.value, model=model, version=version, endpoint=endpoint)
        metrics.upstream.breaker_changed(state.value)

    return changed


def on_route(metrics: Metrics) -> Callable[[str, Live[Route] | None], None]:
    def changed(model: str, live: Live[Route] | None) -> None:
        if live is None:
            metrics.canaries.route(model, weight=0, generation=0)
        else:
            metrics.canaries.route(model, weight=live.route.weight, generation=live.generation)

    return changed


def on_change(metrics: Metrics) -> Callable[[str, Cause], None]:
    """For changes that end a rollout without the guard's word; that one says its reason itself."""

    def changed(model: str, cause: Cause) -> None:
        if cause.action == Action.EXPIRE_LEASE:
            metrics.canaries.rolled_back(model, "lease")
        elif cause.action == "rollback" and cause.actor != GUARD:
            metrics.canaries.rolled_back(model, "operator")

    return changed
