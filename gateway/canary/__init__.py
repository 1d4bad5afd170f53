"""Which version of a model answers a request, and how traffic moves from one version to another."""

from gateway.canary.preflight import Probe
from gateway.canary.route import Life, Route, Source
from gateway.canary.router import Ask, Choice, Preference, Router

__all__ = ["Ask", "Choice", "Life", "Preference", "Probe", "Route", "Router", "Source"]
