"""Routes in every state a test needs."""

from typing import Any

from gateway.canary import lifecycle
from gateway.canary.route import Route, Step, default_route
from gateway.canary.wanted import Wanted

NOW = 1_800_000_000.0

PLAN = (Step(100, 10, 100), Step(500, 20, 200), Step(10_000, 30, 300))


def by_hand(weight: int = 500, **wanted: Any) -> Route:
    """Version 2 of a model on a weight."""
    return lifecycle.put(default_route("pets", "1"), Wanted("1", "2", weight, **wanted), NOW, "r1")


def plan_route(**wanted: Any) -> Route:
    """At the first step of the plan."""
    return lifecycle.put(default_route("pets", "1"), Wanted("1", "2", steps=PLAN, **wanted), NOW, "r1")


def last_step(**wanted: Any) -> Route:
    return lifecycle.advance(lifecycle.advance(plan_route(**wanted), NOW), NOW)


def paused() -> Route:
    return lifecycle.pause(plan_route(), NOW)


def rolled_back() -> Route:
    return lifecycle.rollback(plan_route(mirror=1000), "10 % errors", NOW)


def aborted() -> Route:
    return lifecycle.abort(plan_route(), NOW)


def promoted() -> Route:
    return lifecycle.promote(last_step(), NOW)
