"""The gateway without its door: tensors and pictures with neither authentication nor limits, priorities nor admission.

It is what `hot_path.py` and `bench` hold the gateway against, and for nothing else: the same server, memory, routes,
codec and call to Triton, composed from the gateway's own parts, with those left out that are measured.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from litestar import Litestar, Response, get

from gateway.api.body import BodyReader
from gateway.api.context import context_of
from gateway.api.cors import Pages
from gateway.api.inference import Intake, inference_routes
from gateway.api.middleware import RequestContext
from gateway.api.tensors import TensorBounds, TensorIntake, tensor_routes
from gateway.canary import Router
from gateway.catalog import Catalog
from gateway.dataplane import DataPlane, Deadlines
from gateway.domain import InferCall, Principal, Priority, Quota, Tier
from gateway.pool import WorkerPool
from gateway.serving import keep_what_lasts, share_one_heap
from gateway.settings import Settings
from gateway.telemetry.metrics import Metrics
from gateway.translate.decode import Limits
from gateway.translate.tokenizer import Tokenizers
from gateway.translate.translator import Translator
from gateway.upstream import TritonClient

_ANYBODY = Principal("anybody", "anybody", frozenset({"infer"}), None, "open", Priority.STANDARD)
_TIER = Tier("open", Quota(1, 1, 1), Quota(1, 1, 1), None, 1, Priority.STANDARD)


class Anybody:
    """In place of the door."""

    async def __call__(self, connection: Any, _: Any) -> None:
        context_of(connection).principal = _ANYBODY

    async def charge_more(self, *_: object) -> None:
        return

    def tier_of(self, _: Principal) -> Tier:
        return _TIER


class Permit:
    typical = 0.0

    def follow(self, call: "asyncio.Future[Any]") -> None:
        call.add_done_callback(lambda done: done.cancelled() or done.exception())


class Unlimited:
    """In place of admission."""

    def check(self, *_: object) -> None:
        return

    def typical(self, _: object) -> float:
        return 0.0

    @contextlib.asynccontextmanager
    async def slot(self, *_: object, **__: object) -> AsyncIterator[Permit]:
        yield Permit()


class Direct:
    """In place of breaker and retries."""

    can_cancel = False

    def __init__(self, triton: TritonClient) -> None:
        self._triton = triton

    def check(self, _: object) -> None:
        return

    async def infer(self, call: InferCall) -> Any:
        return await self._triton.infer(call)

    def stream(self, call: InferCall) -> Any:
        return self._triton.stream(call)

    async def exchange(self, call: InferCall) -> Any:
        return await self._triton.exchange(call)


class Posted:
    """In place of fetching: pictures come in the body."""

    @contextlib.asynccontextmanager
    async def contents(
        self, _: object, __: object, inputs: Any, ___: object
    ) -> AsyncIterator[tuple[Any, int]]:
        yield inputs, 0


class Nothing:
    """In place of whatever only listens: routes, outcomes, the mirror, callers."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


def create_app() -> Any:
    share_one_heap()
    settings = Settings()
    clock = time.monotonic
    triton = TritonClient(settings.triton_url, clock=clock)
    catalog = Catalog(triton, interval=settings.catalog_interval, clock=clock)
    pool = WorkerPool(threads=settings.decode_threads, queue=settings.decode_queue)
    nothing: Any = Nothing()
    access: Any = Anybody()
    limits = Limits(pixels=settings.max_image_pixels, side=settings.max_image_side)
    dataplane = DataPlane(
        catalog=catalog,
        router=Router(nothing),
        admission=Unlimited(),  # type: ignore[arg-type]
        upstream=Direct(triton),
        translator=Translator(pool, limits, Tokenizers(None)),
        outcomes=nothing,
        mirror=nothing,
        deadlines=Deadlines(settings.request_timeout, settings.max_request_timeout, clock),
    )
    bodies = BodyReader(limit=settings.max_body_bytes, budget=settings.max_buffered_bytes, seconds=15)
    intake = TensorIntake(
        bodies,
        _Standard(),  # type: ignore[arg-type]
        access,
        catalog,
        pool,
        nothing,
        TensorBounds(body=settings.max_tensor_bytes, json=settings.max_body_bytes, image=limits),
    )

    pictures = Intake(
        bodies,
        _Standard(),  # type: ignore[arg-type]
        access,
        nothing,
        Posted(),  # type: ignore[arg-type]
        max_inputs=settings.max_inputs,
        max_pixels=settings.max_image_pixels,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        with pool:
            async with triton:
                watch = asyncio.create_task(catalog.watch())
                await keep_what_lasts()
                yield
                watch.cancel()

    @get("/readyz", sync_to_thread=False)
    def readyz() -> Response[None]:
        return Response(None, status_code=200 if catalog.status().models else 503)

    app = Litestar(
        route_handlers=[tensor_routes(dataplane, intake), inference_routes(dataplane, pictures), readyz],
        guards=[access],
        lifespan=[lifespan],
        openapi_config=None,
        request_max_body_size=None,
        logging_config=None,
    )
    return RequestContext(app, clock=clock, requests=Metrics().requests, pages=Pages(()))


class _Standard:
    """In place of the priority policy."""

    def assign(self, *_: object) -> Priority:
        return Priority.STANDARD
