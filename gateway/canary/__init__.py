"""Which version of a model answers a request."""

from gateway.canary.route import StableRouter

__all__ = ["StableRouter"]
