"""The way of a request to Triton and back, and its three doors: pictures and texts, tensors, the list of models."""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from litestar.types import ControllerRouterHandler

from gateway.admission import Admission, GatePolicy, LimitPolicy
from gateway.api.access import Access
from gateway.api.body import BodyReader
from gateway.api.generate import generate_routes
from gateway.api.image_urls import Fetching
from gateway.api.inference import Intake, inference_routes
from gateway.api.models import model_routes
from gateway.api.protocol import protocol_health_routes, protocol_routes
from gateway.api.stream import Bounds, Hall, stream_routes
from gateway.api.stream_frames import Places
from gateway.api.tensors import TensorBounds, TensorIntake, tensor_routes
from gateway.assembly.far_side import FarSide
from gateway.assembly.part import Part
from gateway.assembly.rollouts import Routing
from gateway.canary import Mirror, Router
from gateway.canary.shadow import MirrorPolicy
from gateway.dataplane import DataPlane, Deadlines, Lane
from gateway.fetch import ImageUrls
from gateway.pool import WorkerPool
from gateway.priority import PriorityPolicy
from gateway.settings import Settings
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracer
from gateway.translate.decode import Limits
from gateway.translate.translator import Translator
from gateway.upstream import GuardedTriton, RetryBudget

_LATENCY_SHARE = 0.4  # of the deadline may pass in Triton before a limit shrinks
_LEAST_IN_FLIGHT, _START_IN_FLIGHT = 2, 20  # calls to one model version, per worker


@dataclass(frozen=True)
class Reception:
    """What takes a request in: who calls, the body, and the images that it only names."""

    access: Access
    bodies: BodyReader
    urls: ImageUrls


@dataclass(frozen=True)
class Path:
    """What a request passes between its HTTP and Triton's gRPC."""

    admission: Admission[Lane]
    dataplane: DataPlane
    part: Part


def path(
    settings: Settings,
    metrics: Metrics,
    reception: Reception,
    far: FarSide,
    routing: Routing,
    *,
    died: Callable[[str, str], None],
    tracing: Tracer | None,
) -> Path:
    """`died` hears of each model whose process was found to be gone, and of the endpoint."""
    clock = time.monotonic
    upstream = GuardedTriton(
        far.balancer,
        RetryBudget(uniform=random.uniform),
        clock=clock,
        retried=metrics.upstream.retried,
        died=died,
    )
    pool = WorkerPool(threads=settings.decode_threads, queue=settings.decode_queue)
    admission = Admission(
        _gate_policy(settings), clock=clock, place_of=lambda lane: (lane.model, lane.version)
    )
    mirror = Mirror(
        admission,
        routing.findings,
        draw=random.random,
        clock=clock,
        policy=MirrorPolicy(keep_bytes=settings.keep_disagreements),
    )
    dataplane = DataPlane(
        catalog=far.catalog,
        router=Router(routing.table),
        admission=admission,
        upstream=upstream,
        translator=Translator(pool, _limits(settings), far.tokenizers),
        outcomes=routing.outcomes,
        mirror=mirror,
        deadlines=Deadlines(settings.request_timeout, settings.max_request_timeout, clock),
    )
    doors = _doors(settings, metrics, reception, far, routing, dataplane, pool, tracing)
    part = Part(handlers=doors, resources=[pool, mirror, reception.urls])
    return Path(admission, dataplane, part)


def _doors(
    settings: Settings,
    metrics: Metrics,
    reception: Reception,
    far: FarSide,
    routing: Routing,
    dataplane: DataPlane,
    pool: WorkerPool,
    tracing: Tracer | None,
) -> Sequence[ControllerRouterHandler]:
    """The handlers of all that callers ask of models."""
    access, bodies = reception.access, reception.bodies
    intake = Intake(
        bodies,
        PriorityPolicy(),
        access,
        routing.callers,
        Fetching(reception.urls, bodies, access),
        max_inputs=settings.max_inputs,
        max_pixels=settings.max_image_pixels,
    )
    tensor_intake = TensorIntake(
        bodies,
        PriorityPolicy(),
        access,
        far.catalog,
        pool,
        routing.callers,
        TensorBounds(body=settings.max_tensor_bytes, json=settings.max_body_bytes, image=_limits(settings)),
    )
    hall = Hall(
        access=access,
        intake=intake,
        bodies=bodies,
        places=Places(settings.max_streams),
        requests=metrics.requests,
        origins=settings.cors_origins,
        bounds=Bounds(settings.max_frame_bytes, idle=settings.stream_idle, length=settings.stream_seconds),
        clock=time.monotonic,
        tracing=tracing,
    )
    return [
        inference_routes(dataplane, intake),
        stream_routes(dataplane, hall),
        model_routes(far.catalog),
        tensor_routes(dataplane, tensor_intake),
        generate_routes(dataplane, tensor_intake),
        protocol_routes(far.catalog, far.triton, far.balancer.state, routing.table.route),
        protocol_health_routes(far.catalog),
    ]


def _limits(settings: Settings) -> Limits:
    return Limits(pixels=settings.max_image_pixels, side=settings.max_image_side)


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
