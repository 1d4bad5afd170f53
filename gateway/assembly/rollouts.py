"""Routes between versions: each worker's copy, the counts of all workers, the guard, and the operators' interfaces."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.api.access import Access
from gateway.api.body import BodyReader
from gateway.api.canaries import canary_routes
from gateway.api.fleet import fleet_routes
from gateway.api.live import live_routes
from gateway.assembly.access import STORE_TIMEOUT
from gateway.assembly.part import Part
from gateway.canary import Route
from gateway.canary.callers import Callers
from gateway.canary.controller import Controller
from gateway.canary.counts import CountsReader, Recorder
from gateway.canary.findings import Findings, ReportStore
from gateway.canary.fleet import Fleet
from gateway.canary.lease import Lease
from gateway.canary.ledgers import LedgerStore
from gateway.canary.outcomes import Outcomes, Recorders
from gateway.canary.preflight import GoldenInputs, Preflight
from gateway.canary.reports import Reports
from gateway.canary.rollouts import Rollouts
from gateway.canary.route import BrokenRoute, from_document
from gateway.canary.routes_file import read_routes_file
from gateway.canary.seed import Seed
from gateway.canary.store import ROUTES, RouteStore
from gateway.canary.table import RouteTable
from gateway.catalog import Catalog
from gateway.dataplane import DataPlane
from gateway.readings import on_change, on_route
from gateway.serving import Drain
from gateway.settings import Settings
from gateway.store import StoreClock, connect, delivered_at_end
from gateway.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Routing:
    """What is kept of rollouts: the routes, this worker's copy of them, the counts, whose turn it is to judge, and the
    clock for it. `lease` is made of what tells whether this worker is able to make the pre-flights.
    """

    store: RouteStore
    table: RouteTable[Route]
    outcomes: Outcomes
    reader: CountsReader
    ledgers: LedgerStore
    lease: Callable[[Callable[[], bool]], Lease]
    clock: StoreClock
    reports: ReportStore
    findings: Findings
    callers: Callers
    fleet: Fleet
    part: Part


def routing(settings: Settings, metrics: Metrics) -> Routing:
    redis = connect(settings.redis_url, timeout=STORE_TIMEOUT)
    store = RouteStore(redis)
    table = RouteTable(
        store, from_document, broken=BrokenRoute, clock=time.monotonic, on_change=on_route(metrics)
    )
    recorder, reports = Recorder(redis, clock=time.monotonic), ReportStore(redis)
    recorders = Recorders(recorder, metrics.versions)
    findings = Findings(reports, recorders, table.routes)
    clock = StoreClock(redis, key=ROUTES)
    callers = Callers(redis, clock=clock)
    fleet = Fleet(redis, table.routes, host=socket.gethostname(), process=os.getpid(), clock=clock)
    part = Part(
        # Mirrored calls that end with the worker are compared after its tasks have ended.
        resources=[redis, delivered_at_end(recorder.flush, findings.deliver, callers.deliver)],
        tasks=[clock.run, table.watch, recorder.run, findings.run, callers.run, fleet.run],
    )
    return Routing(
        store=store,
        table=table,
        outcomes=Outcomes(recorders),
        reader=CountsReader(redis),
        ledgers=LedgerStore(redis),
        lease=lambda able: Lease(redis, clock=time.monotonic, able=able),
        clock=clock,
        reports=reports,
        findings=findings,
        callers=callers,
        fleet=fleet,
        part=part,
    )


def rollouts(
    settings: Settings,
    access: Access,
    routing: Routing,
    catalog: Catalog,
    dataplane: DataPlane,
    metrics: Metrics,
    bodies: BodyReader,
    drain: Drain,
) -> Part:
    """What operators need: changes, reports, the one evaluator among all workers, and the routes to begin with.

    Raises RoutesFileError.
    """
    changes = Rollouts(
        routing.store,
        routing.table,
        Preflight(catalog, dataplane, GoldenInputs(settings.model_repository)),
        stable_of=lambda model: catalog.named(model).default_version,
        changed=on_change(metrics),
    )
    # Each step has a pre-flight, and who cannot ask Triton makes none.
    lease = routing.lease(lambda: catalog.status().answering)
    controller = Controller(
        routes=routing.table.routes,
        rollouts=changes,
        reader=routing.reader,
        store=routing.ledgers,
        lease=lease,
        clock=routing.clock,
        rolled_back=metrics.canaries.rolled_back,
    )
    seeds = {} if settings.routes_file is None else read_routes_file(settings.routes_file)
    reports = Reports(routing.reader, routing.ledgers, routing.reports)
    return Part(
        handlers=[
            canary_routes(changes, reports, routing.callers, catalog, bodies, routing.clock),
            live_routes(access, changes, reports, routing.reader, catalog, routing.clock, drain),
            fleet_routes(routing.fleet),
        ],
        tasks=[lease.run, controller.run, Seed(seeds, changes, clock=routing.clock).run],
    )
