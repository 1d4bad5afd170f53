"""Which version of a model answers a request, and how traffic moves from one version to another."""

from gateway.canary.preflight import Probe
from gateway.canary.report import Versions
from gateway.canary.route import Life, Route, Source
from gateway.canary.router import Ask, Choice, Preference, Router
from gateway.canary.shadow import Mirror, Original

__all__ = [
    "Ask",
    "Choice",
    "Life",
    "Mirror",
    "Original",
    "Preference",
    "Probe",
    "Route",
    "Router",
    "Source",
    "Versions",
]
