"""The one door to Triton: nothing else in the gateway knows gRPC or protobuf."""

from gateway.upstream.balancer import Balancer
from gateway.upstream.breaker import Breakers
from gateway.upstream.client import TritonClient
from gateway.upstream.endpoints import Endpoints, Resolve, system_resolve
from gateway.upstream.everywhere import EveryTriton
from gateway.upstream.guarded import GuardedTriton
from gateway.upstream.replicas import Replicas
from gateway.upstream.retry import RetryBudget

__all__ = [
    "Balancer",
    "Breakers",
    "Endpoints",
    "EveryTriton",
    "GuardedTriton",
    "Replicas",
    "Resolve",
    "RetryBudget",
    "TritonClient",
    "system_resolve",
]
