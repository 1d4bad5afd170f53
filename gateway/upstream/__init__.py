"""The one door to Triton: nothing else in the gateway knows gRPC or protobuf."""

from gateway.upstream.client import TritonClient

__all__ = ["TritonClient"]
