"""The composition root: the only place where collaborators meet. Nothing is opened before the lifespan begins."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from gateway.api.body import BodyReader
from gateway.api.documentation import openapi_config
from gateway.api.health import health_routes
from gateway.api.inference import Intake, inference_routes
from gateway.api.middleware import RequestContext
from gateway.api.models import model_routes
from gateway.api.problems import from_bug, from_gateway, from_litestar
from gateway.api.static import static_routes
from gateway.canary import StableRouter
from gateway.catalog import Catalog
from gateway.dataplane import DataPlane
from gateway.errors import GatewayError
from gateway.pool import WorkerPool
from gateway.settings import Settings
from gateway.telemetry.logs import configure_logs
from gateway.translate.decode import Limits
from gateway.upstream import TritonClient


def create_app() -> ASGIApp:
    """What uvicorn calls in every worker: settings from the environment, then the application."""
    settings = Settings()
    configure_logs(level=settings.log_level, style=settings.log_format)
    return build(settings)


def build(settings: Settings) -> ASGIApp:
    """The application for these settings. Services open when its lifespan starts and close in reverse."""
    clock = time.monotonic
    triton = TritonClient(settings.triton_url, clock=clock)
    catalog = Catalog(triton, interval=settings.catalog_interval, clock=clock)
    pool = WorkerPool(threads=settings.decode_threads, queue=settings.decode_queue)
    dataplane = DataPlane(
        catalog=catalog,
        router=StableRouter(),
        upstream=triton,
        pool=pool,
        limits=Limits(pixels=settings.max_image_pixels, side=settings.max_image_side),
        clock=clock,
    )
    bodies = BodyReader(
        limit=settings.max_body_bytes, budget=settings.max_buffered_bytes, seconds=settings.body_timeout
    )
    intake = Intake(bodies, max_inputs=settings.max_inputs, timeout=settings.request_timeout)

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        with pool:
            async with triton, _background(catalog):
                yield

    app = Litestar(
        route_handlers=[
            inference_routes(dataplane, intake),
            model_routes(catalog),
            health_routes(catalog),
            static_routes(),
        ],
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
    return RequestContext(app, clock=clock)


@contextlib.asynccontextmanager
async def _background(catalog: Catalog) -> AsyncIterator[None]:
    watch = asyncio.create_task(catalog.watch())
    try:
        yield
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
