"""Which models Triton has loaded: the administration of it, and the healing of processes that died."""

from dataclasses import dataclass

from gateway.api.body import BodyReader
from gateway.api.model_control import model_control_routes
from gateway.assembly.access import STORE_TIMEOUT
from gateway.assembly.far_side import FarSide
from gateway.assembly.part import Part
from gateway.assembly.rollouts import Routing
from gateway.control import Healer, ModelControl, Turns
from gateway.settings import Settings
from gateway.store import Audit, connect
from gateway.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Control:
    """`healer` hears of calls that failed because a model's process is gone."""

    healer: Healer
    part: Part


def control(
    settings: Settings, far: FarSide, routing: Routing, metrics: Metrics, bodies: BodyReader, audit: Audit
) -> Control:
    redis = connect(settings.redis_url, timeout=STORE_TIMEOUT)
    models = ModelControl(far.triton, far.catalog, routing.table.routes, far.balancer.state)
    healer = Healer(
        models, Turns(redis), enabled=settings.heal_models, told=metrics.upstream.healing, audit=audit
    )
    part = Part(handlers=[model_control_routes(models, bodies, audit)], resources=[redis], tasks=[healer.run])
    return Control(healer, part)
