"""The composition root: the only place where the parts meet. Nothing is opened before the lifespan begins."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from gateway.api.access import Access
from gateway.api.audit import audit_routes
from gateway.api.body import BodyReader
from gateway.api.context import KnownRequest
from gateway.api.cors import Pages, Preflights
from gateway.api.documentation import openapi_config
from gateway.api.head import Heads
from gateway.api.health import health_routes
from gateway.api.metrics import metrics_routes
from gateway.api.middleware import RequestContext
from gateway.api.problem_pages import problem_routes
from gateway.api.problems import from_bug, from_gateway, from_litestar
from gateway.api.refusals import Refusals
from gateway.api.static import static_routes
from gateway.assembly.access import door
from gateway.assembly.checks import check
from gateway.assembly.control import control
from gateway.assembly.far_side import far_side
from gateway.assembly.inference import Reception, path
from gateway.assembly.part import Part, opened
from gateway.assembly.rollouts import rollouts, routing
from gateway.assembly.tracing import tracing
from gateway.errors import GatewayError
from gateway.fetch import ImageUrls, Outside, internet
from gateway.readings import Readings, on_breaker
from gateway.serving import Drain, Watchdog, give_back, keep_what_lasts, share_one_heap
from gateway.settings import Settings, read_settings
from gateway.telemetry.logs import configure_logs
from gateway.telemetry.metrics import Metrics
from gateway.translate import typed_json
from gateway.upstream import Resolve

_FIRST_READING = 3.0  # seconds


def create_app(*, succeeds: bool = False) -> ASGIApp:
    """What every process that serves calls: settings from the environment, then the application.

    One that `succeeds` takes the place of another that serves. Raises SettingsError.
    """
    share_one_heap()
    settings, metrics = read_settings(), Metrics()
    lines = configure_logs(
        level=settings.log_level, style=settings.log_format, dropped=metrics.worker.line_dropped
    )
    check(settings)
    drain = Drain(settings.drain_delay)
    around = Part(
        resources=[lines, drain, Watchdog()],
        tasks=[keep_what_lasts, partial(give_back, typed_json.let_go)],
    )
    return build(settings, metrics, around, drain=drain, patience=_FIRST_READING, succeeds=succeeds)


def build(
    settings: Settings,
    metrics: Metrics | None = None,
    *around: Part,
    outside: Outside | None = None,
    resolve: Resolve | None = None,
    drain: Drain | None = None,
    patience: float = 0.0,
    succeeds: bool = False,
) -> ASGIApp:
    """The application for these settings. Services open when its lifespan starts and close in reverse; those of
    `around` open first. `outside` is how images by URL are reached, the internet by default; `resolve` looks up names
    of Tritons. `drain` says when this process is about to end; for at most `patience` seconds the lifespan waits for
    the first copies of what it reads, and fails where it then `succeeds` another process without what Redis keeps.

    Raises AccessFileError, RoutesFileError.
    """
    metrics, drain = metrics or Metrics(), drain or Drain()
    traces = tracing(settings, metrics)
    bodies = BodyReader(
        limit=settings.max_body_bytes, budget=settings.max_buffered_bytes, seconds=settings.body_timeout
    )
    entry = door(settings, metrics, bodies)
    routes = routing(settings, metrics)
    far = far_side(settings, resolve, on_breaker(metrics))
    models = control(settings, far, routes, metrics, bodies, entry.audit)
    urls = ImageUrls(settings.image_hosts, outside or internet(), metrics.requests.fetch_ended)
    way = path(
        settings,
        metrics,
        Reception(entry.access, bodies, urls),
        far,
        routes,
        died=models.healer.died,
        tracing=traces.tracer,
    )
    operators = rollouts(settings, entry.access, routes, far.catalog, way.dataplane, metrics, bodies, drain)
    readings = Readings(
        metrics,
        far.catalog,
        way.admission,
        far.breakers,
        entry.limiter,
        entry.ring,
        entry.denied,
        routes.table,
        far.replicas,
        routes.fleet,
    )
    watching = Part(
        handlers=[
            health_routes(
                far.catalog,
                entry.ring,
                entry.limiter,
                entry.issuers,
                entry.denied,
                routes.table,
                routes.fleet,
                drain,
            ),
            metrics_routes(readings.scrape, settings.metrics_networks),
            audit_routes(entry.audit, routes.store),
            static_routes(),
            problem_routes(),
        ],
        tasks=[readings.run],
    )
    own = [traces.part, entry.part, routes.part, far.part, models.part, way.part, operators, watching]
    pages = Pages(settings.cors_origins)
    application = _application(entry.access, [*around, *own], readings, patience, succeeds)
    return RequestContext(
        Preflights(Heads(Refusals(application)), pages),
        clock=time.monotonic,
        requests=metrics.requests,
        pages=pages,
        tracing=traces.tracer,
        drain=drain,
    )


def _application(
    access: Access, parts: Sequence[Part], readings: Readings, patience: float, succeeds: bool
) -> Litestar:
    """Litestar's part of it: the handlers of all parts behind `access`, and the lifespan that opens them."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with opened(parts, readings.metrics.worker.task_failed):
            # Who shares a listener is sent requests from the moment at which it listens.
            try:
                async with asyncio.timeout(patience):
                    await readings.first()
            except TimeoutError:
                if succeeds and not readings.knows_what_is_kept:
                    # Whom it would send away may be the last to know them.
                    raise TimeoutError("Redis did not tell the keys, ended tokens and routes") from None
            yield

    return Litestar(
        route_handlers=[handler for part in parts for handler in part.handlers],
        request_class=KnownRequest,
        guards=[access],
        lifespan=[lifespan],
        exception_handlers={
            GatewayError: from_gateway,
            HTTPException: from_litestar,
            Exception: from_bug,
        },
        openapi_config=openapi_config(),
        # The body has a reader of its own, with a cap, a deadline and problem+json answers.
        request_max_body_size=None,
        logging_config=None,
    )
