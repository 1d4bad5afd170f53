"""Which version of a model answers a request."""

from gateway.canary.router import StableRouter

__all__ = ["StableRouter"]
