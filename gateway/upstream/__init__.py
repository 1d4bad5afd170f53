"""The one door to Triton: nothing else in the gateway knows gRPC or protobuf."""

from gateway.upstream.breaker import Breakers
from gateway.upstream.client import TritonClient
from gateway.upstream.guarded import GuardedTriton
from gateway.upstream.retry import RetryBudget

__all__ = ["Breakers", "GuardedTriton", "RetryBudget", "TritonClient"]
