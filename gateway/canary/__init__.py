"""Which version of a model answers a request, and how traffic moves from one version to another."""

from gateway.canary.router import StableRouter

__all__ = ["StableRouter"]
