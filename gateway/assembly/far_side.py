"""The Tritons as this worker sees them: their clients, and the catalog that is read through them."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.assembly.part import Part
from gateway.catalog import Catalog
from gateway.settings import Settings
from gateway.translate.tokenizer import Tokenizers
from gateway.upstream import Balancer, Breakers, Endpoints, EveryTriton, Replicas, Resolve, system_resolve
from gateway.upstream.breaker import State


@dataclass(frozen=True)
class FarSide:
    """`triton` is what all of them are asked at once, `replicas` what calls are balanced over, by `balancer` behind
    `breakers`. `tokenizers` are made ready by the catalog, as it finds models for texts.
    """

    triton: EveryTriton
    replicas: Replicas
    breakers: Breakers
    balancer: Balancer
    catalog: Catalog
    tokenizers: Tokenizers
    part: Part


def far_side(
    settings: Settings,
    resolve: Resolve | None = None,
    changed: Callable[[str, str, str, State], None] = lambda *_: None,
) -> FarSide:
    """`resolve` looks names of Tritons up; the system by default. `changed` hears of each breaker's new state."""
    replicas = Replicas(Endpoints(settings.triton_url, resolve or system_resolve), clock=time.monotonic)
    triton = EveryTriton(replicas)
    breakers = Breakers(clock=time.monotonic, uniform=random.uniform, changed=changed)
    balancer = Balancer(replicas, breakers, draw=random.random)
    tokenizers = Tokenizers(settings.model_repository)
    catalog = Catalog(
        triton, interval=settings.catalog_interval, clock=time.monotonic, prepare=tokenizers.prepare
    )
    part = Part(resources=[replicas], tasks=[replicas.follow, catalog.watch])
    return FarSide(triton, replicas, breakers, balancer, catalog, tokenizers, part)
