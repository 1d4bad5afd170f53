"""The composition root: the only place where collaborators meet. Nothing is opened before the lifespan begins."""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import httpx
from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from gateway.access_file import issuers_of, tiers_of
from gateway.admission import Admission, GatePolicy, LimitPolicy
from gateway.api.access import Access, cors_config
from gateway.api.body import BodyReader
from gateway.api.canaries import canary_routes
from gateway.api.documentation import openapi_config
from gateway.api.health import health_routes
from gateway.api.inference import Intake, inference_routes
from gateway.api.keys import key_routes
from gateway.api.live import live_routes
from gateway.api.metrics import metrics_routes
from gateway.api.middleware import RequestContext
from gateway.api.models import model_routes
from gateway.api.problems import from_bug, from_gateway, from_litestar
from gateway.api.protocol import protocol_health_routes, protocol_routes
from gateway.api.static import static_routes
from gateway.api.tensors import TensorIntake, tensor_routes
from gateway.api.tokens import token_routes, withdrawal_routes
from gateway.auth import (
    Authenticator,
    DeniedTokens,
    DenyList,
    FailureThrottle,
    KeyHasher,
    KeyRing,
    KeyStore,
    SessionTokens,
    TokenVerifier,
    TrustedIssuers,
)
from gateway.canary import Mirror, Route, Router
from gateway.canary.callers import Callers
from gateway.canary.controller import Controller
from gateway.canary.counts import CountsReader, Recorder
from gateway.canary.findings import Findings, ReportStore
from gateway.canary.lease import Lease
from gateway.canary.ledgers import LedgerStore
from gateway.canary.outcomes import Outcomes, Recorders
from gateway.canary.preflight import GoldenInputs, Preflight
from gateway.canary.reports import Reports
from gateway.canary.rollouts import Rollouts
from gateway.canary.route import BrokenRoute, from_document
from gateway.canary.routes_file import read_routes_file
from gateway.canary.seed import Seed
from gateway.canary.shadow import MirrorPolicy
from gateway.canary.store import RouteStore
from gateway.canary.table import RouteTable
from gateway.catalog import Catalog
from gateway.dataplane import DataPlane, Deadlines, Lane
from gateway.errors import GatewayError
from gateway.pool import WorkerPool
from gateway.priority import PriorityPolicy
from gateway.ratelimit import CLIENT_TIMEOUT, RateLimiter, RedisStore
from gateway.readings import Readings, on_breaker, on_change, on_route
from gateway.settings import Settings
from gateway.store import connect
from gateway.telemetry.logs import configure_logs
from gateway.telemetry.metrics import Metrics
from gateway.translate.decode import Limits
from gateway.translate.tokenizer import Tokenizers
from gateway.translate.translator import Translator
from gateway.upstream import Breakers, GuardedTriton, RetryBudget, TritonClient

_STORE_TIMEOUT = 2.0  # seconds; keys and routes are read beside the requests, not in their way
_LATENCY_SHARE = 0.4  # of the deadline may pass in Triton before a limit shrinks
_LEAST_IN_FLIGHT, _START_IN_FLIGHT = 2, 20  # calls to one model version, per worker


def create_app() -> ASGIApp:
    """What uvicorn calls in every worker: settings from the environment, then the application."""
    settings = Settings()
    configure_logs(level=settings.log_level, style=settings.log_format)
    return build(settings)


def build(settings: Settings) -> ASGIApp:
    """The application for these settings. Services open when its lifespan starts and close in reverse.

    Raises AccessFileError, RoutesFileError.
    """
    clock = time.monotonic
    metrics = Metrics()
    triton = TritonClient(settings.triton_url, clock=clock)
    breakers = Breakers(clock=clock, uniform=random.uniform, changed=on_breaker(metrics))
    upstream = GuardedTriton(
        triton,
        breakers,
        RetryBudget(uniform=random.uniform),
        clock=clock,
        retried=metrics.upstream.retried,
    )
    tokenizers = Tokenizers(settings.model_repository)
    catalog = Catalog(triton, interval=settings.catalog_interval, clock=clock, prepare=tokenizers.prepare)
    pool = WorkerPool(threads=settings.decode_threads, queue=settings.decode_queue)
    bodies = BodyReader(
        limit=settings.max_body_bytes, budget=settings.max_buffered_bytes, seconds=settings.body_timeout
    )
    tiers = tiers_of(settings.access_file)
    keys = _keys(settings)
    limits_redis = connect(settings.redis_url, timeout=CLIENT_TIMEOUT)
    limiter = RateLimiter(
        RedisStore(limits_redis, lease=settings.max_request_timeout + settings.body_timeout),
        shares=settings.workers * settings.replicas,
        clock=clock,
        on_state_change=metrics.limits.changed,
    )
    http = httpx.AsyncClient(trust_env=False, follow_redirects=False)
    auth = _authentication(settings, keys, http)
    routes = _routes(settings, metrics)
    admission = Admission(_gate_policy(settings), clock=clock)
    mirror = Mirror(
        admission,
        routes.findings,
        draw=random.random,
        clock=clock,
        policy=MirrorPolicy(keep_bytes=settings.keep_disagreements),
    )
    dataplane = DataPlane(
        catalog=catalog,
        router=Router(routes.table),
        admission=admission,
        upstream=upstream,
        translator=Translator(
            pool, Limits(pixels=settings.max_image_pixels, side=settings.max_image_side), tokenizers
        ),
        outcomes=Outcomes(routes.recorders),
        mirror=mirror,
        deadlines=Deadlines(settings.request_timeout, settings.max_request_timeout, clock),
    )
    access = Access(
        authenticator=auth.authenticator, limiter=limiter, tiers=tiers, decided=metrics.limits.decided
    )
    intake = Intake(
        bodies,
        PriorityPolicy(),
        access,
        routes.callers,
        max_inputs=settings.max_inputs,
        max_pixels=settings.max_image_pixels,
    )
    canaries = _canaries(settings, routes, catalog, dataplane, metrics)
    readings = Readings(metrics, catalog, admission, breakers, limiter, keys.ring, auth.denied, routes.table)
    tensor_intake = TensorIntake(
        bodies,
        PriorityPolicy(),
        access,
        catalog,
        pool,
        routes.callers,
        limit=settings.max_tensor_bytes,
        json_limit=settings.max_body_bytes,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        with pool:
            async with (
                triton,
                http,
                limits_redis,
                keys.redis,
                routes.redis,
                limiter,
                _running(
                    catalog.watch(),
                    keys.ring.watch(),
                    auth.issuers.watch(),
                    auth.denied.watch(),
                    routes.table.watch(),
                    routes.recorder.run(),
                    routes.findings.run(),
                    routes.callers.run(),
                    routes.lease.run(),
                    canaries.controller.run(),
                    canaries.seed.run(),
                    readings.run(),
                ),
                mirror,
            ):
                yield

    app = Litestar(
        route_handlers=[
            inference_routes(dataplane, intake),
            model_routes(catalog),
            tensor_routes(dataplane, tensor_intake),
            protocol_routes(catalog, triton),
            protocol_health_routes(catalog),
            token_routes(auth.sessions, bodies),
            withdrawal_routes(keys.denied, auth.denied),
            key_routes(keys.store, keys.ring, tiers, bodies),
            canary_routes(canaries.rollouts, canaries.reports, routes.callers, catalog, bodies),
            live_routes(canaries.rollouts, canaries.reports, catalog, time.time),
            health_routes(catalog, keys.ring, limiter, auth.issuers, auth.denied, routes.table),
            metrics_routes(readings.scrape, settings.metrics_networks),
            static_routes(),
        ],
        guards=[access],
        lifespan=[lifespan],
        exception_handlers={
            GatewayError: from_gateway,
            HTTPException: from_litestar,
            Exception: from_bug,
        },
        cors_config=cors_config(settings.cors_origins),
        openapi_config=openapi_config(),
        # The body has a reader of its own, with a cap, a deadline and problem+json answers.
        request_max_body_size=None,
        logging_config=None,
    )
    return RequestContext(app, clock=clock, requests=metrics.requests, origins=settings.cors_origins)


@dataclass(frozen=True)
class _Keys:
    """What is kept of credentials: the keys, this worker's copy of them, their hash, and the tokens that were ended."""

    redis: AbstractAsyncContextManager[object]
    hasher: KeyHasher
    store: KeyStore
    ring: KeyRing
    denied: DeniedTokens


def _keys(settings: Settings) -> _Keys:
    redis = connect(settings.redis_url, timeout=_STORE_TIMEOUT)  # of its own: slower, and beside the requests
    hasher = KeyHasher(settings.key_pepper.get_secret_value().encode())
    store = KeyStore(redis, hasher=hasher, environment=settings.environment, clock=time.time)
    ring = KeyRing(store, clock=time.monotonic, grace=settings.keys_grace)
    return _Keys(redis, hasher, store, ring, DeniedTokens(redis))


@dataclass(frozen=True)
class _Authentication:
    """How callers are told: the decision itself, and what its routes and its upkeep need."""

    authenticator: Authenticator
    sessions: SessionTokens
    issuers: TrustedIssuers
    denied: DenyList


def _authentication(settings: Settings, keys: _Keys, http: httpx.AsyncClient) -> _Authentication:
    """Raises AccessFileError."""
    sessions = SessionTokens(
        secret=settings.token_secret.get_secret_value().encode(), ring=keys.ring, clock=time.time
    )
    issuers = TrustedIssuers(issuers_of(settings.access_file), http=http, clock=time.monotonic)
    denied = DenyList(keys.denied, clock=time.monotonic, wall=time.time)
    authenticator = Authenticator(
        ring=keys.ring,
        hasher=keys.hasher,
        tokens=TokenVerifier([sessions, *issuers], clock=time.time, denied=denied),
        throttle=FailureThrottle(clock=time.monotonic),
        clock=time.time,
    )
    return _Authentication(authenticator, sessions, issuers, denied)


@dataclass(frozen=True)
class _Routes:
    """What is kept of rollouts: the routes, this worker's copy of them, the counts, and whose turn it is."""

    redis: AbstractAsyncContextManager[object]
    store: RouteStore
    table: RouteTable[Route]
    recorder: Recorder
    recorders: Recorders
    reader: CountsReader
    ledgers: LedgerStore
    lease: Lease
    reports: ReportStore
    findings: Findings
    callers: Callers


def _routes(settings: Settings, metrics: Metrics) -> _Routes:
    redis = connect(settings.redis_url, timeout=_STORE_TIMEOUT)
    store = RouteStore(redis)
    table = RouteTable(
        store, from_document, broken=BrokenRoute, clock=time.monotonic, on_change=on_route(metrics)
    )
    recorder, reports = Recorder(redis, clock=time.monotonic), ReportStore(redis)
    recorders = Recorders(recorder, metrics.versions)
    return _Routes(
        redis=redis,
        store=store,
        table=table,
        recorder=recorder,
        recorders=recorders,
        reader=CountsReader(redis),
        ledgers=LedgerStore(redis),
        lease=Lease(redis, clock=time.monotonic),
        reports=reports,
        findings=Findings(reports, recorders, table.routes),
        callers=Callers(redis, clock=time.time),
    )


@dataclass(frozen=True)
class _Canaries:
    """What operators need: changes, reports, the one evaluator among all workers, and the routes to begin with."""

    rollouts: Rollouts
    reports: Reports
    controller: Controller
    seed: Seed


def _canaries(
    settings: Settings, routes: _Routes, catalog: Catalog, dataplane: DataPlane, metrics: Metrics
) -> _Canaries:
    preflight = Preflight(catalog, dataplane, GoldenInputs(settings.model_repository))
    rollouts = Rollouts(
        routes.store,
        routes.table,
        preflight,
        stable_of=lambda model: catalog.named(model).default_version,
        changed=on_change(metrics),
    )
    controller = Controller(
        routes=routes.table.routes,
        rollouts=rollouts,
        reader=routes.reader,
        store=routes.ledgers,
        lease=routes.lease,
        clock=time.time,
        rolled_back=metrics.canaries.rolled_back,
    )
    seeds = {} if settings.routes_file is None else read_routes_file(settings.routes_file)
    seed = Seed(seeds, rollouts, clock=time.time)
    return _Canaries(rollouts, Reports(routes.reader, routes.ledgers, routes.reports), controller, seed)


def _gate_policy(settings: Settings) -> Callable[[Lane], GatePolicy]:
    """This worker's share of what the version can put to use; the target is what its requests can spare."""

    def policy(lane: Lane) -> GatePolicy:
        share = math.ceil(lane.capacity / (settings.workers * settings.replicas))
        highest = min(max(share, _LEAST_IN_FLIGHT), settings.max_in_flight)
        limit = LimitPolicy(
            target=_LATENCY_SHARE * lane.usual,
            lowest=_LEAST_IN_FLIGHT,
            start=min(_START_IN_FLIGHT, highest),
            highest=highest,
        )
        return GatePolicy(limit, places=settings.waiting_room)

    return policy


@contextlib.asynccontextmanager
async def _running(*services: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """The services as tasks for the length of the block."""
    tasks = [asyncio.create_task(service) for service in services]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
