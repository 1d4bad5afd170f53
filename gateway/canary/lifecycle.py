"""How a route changes: each transition is a pure function from one route to the next, or a refusal with its reason.

    steady ───────── start, put with a plan ──────────> progressing ── promote ──> promoted
    steady <─ put with a weight, abort, lease is over ─ progressing <─ resume ─┐
    any rollout ── rollback ──> rolled-back             progressing ── pause ──┴─> paused

A rollback, an abort and a lease that ends take everybody off the canary and leave it named; nothing but an operator
begins again. While a route is frozen only a rollback passes.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from gateway.canary.route import Guard, Phase, Route
from gateway.canary.split import FULL
from gateway.canary.wanted import Wanted

_LONGEST_REASON = 1000


class RefusedChange(Exception):
    """The route cannot change like this now; the text says why, to the operator."""


class Action(StrEnum):
    """What the clock asks for, without an operator."""

    ADVANCE = "advance"
    PROMOTE = "promote"
    EXPIRE_LEASE = "expire-lease"


def new_salt() -> str:
    """For one rollout, so that it is not always the same callers who go first."""
    return secrets.token_urlsafe(9)


def put(route: Route, wanted: Wanted, now: float, salt: str) -> Route:
    """The route as wanted. `salt` is for a rollout that begins with this; a mere change of weight keeps its own.

    What leaves versions, weight and plan as they are changes settings only, and a plan that runs goes on. A weight that
    is asked for takes over from it, also where it is that of the step.
    """
    _check_thawed(route)
    _check_lease(wanted.lease, now)
    if not _waits_as_before(route, wanted):
        _check_sighted(wanted.guard, wanted.mirror)
    if _keeps_course(route, wanted):
        if wanted.lease is not None:
            _check_under_way(route)
        return replace(route, **_settings(wanted))
    inherited = route.weight if _same_pair(route, wanted) else 0
    weight = inherited if wanted.weight is None else wanted.weight
    by_hand = replace(
        route,
        stable=wanted.stable,
        canary=wanted.canary,
        weight=weight,
        salt=_salt(route, wanted, salt),
        phase=Phase.STEADY,
        step=-1,
        step_started_at=None,
        reason=f"Set by hand to {percent(weight)}.",
        since=now,
        **_settings(wanted),
    )
    return start(by_hand, now, salt) if wanted.steps and wanted.weight is None else by_hand


def start(route: Route, now: float, salt: str) -> Route:
    """The plan at its first step; `salt` is for a rollout that begins with it."""
    _check_thawed(route)
    if route.canary is None:
        raise RefusedChange("There is no canary.")
    if not route.steps:
        raise RefusedChange("There is no plan.")
    if route.follows_plan:
        raise RefusedChange("The plan runs already.")
    _check_sighted(route.guard, route.mirror)
    return _at_step(route, 0, now, route.salt or salt)


def advance(route: Route, now: float) -> Route:
    """The next step of the plan."""
    _check_thawed(route)
    if route.phase is not Phase.PROGRESSING:
        raise RefusedChange("No plan is progressing.")
    if route.step + 1 == len(route.steps):
        raise RefusedChange("This is the last step of the plan.")
    return _at_step(route, route.step + 1, now, route.salt)


def pause(route: Route, now: float) -> Route:
    """The plan waits at its weight; the guard watches on."""
    _check_thawed(route)
    if route.phase is not Phase.PROGRESSING:
        raise RefusedChange("No plan is progressing.")
    return replace(route, phase=Phase.PAUSED, reason=f"Paused at {percent(route.weight)}.", since=now)


def resume(route: Route, now: float) -> Route:
    """The plan goes on, and its step counts its time and its requests from now."""
    _check_thawed(route)
    if route.phase is not Phase.PAUSED:
        raise RefusedChange("No plan is paused.")
    return _at_step(route, route.step, now, route.salt)


def abort(route: Route, now: float) -> Route:
    """The rollout ends without a verdict on the canary."""
    _check_thawed(route)
    _check_under_way(route)
    return _ended(route, Phase.STEADY, f"Aborted at {percent(route.weight)}.", now)


def expire_lease(route: Route, now: float) -> Route:
    """The rollout ends because nobody renewed its lease."""
    _check_thawed(route)
    if route.lease is None or now < route.lease:
        raise RefusedChange("The lease is not over.")
    return _ended(route, Phase.STEADY, f"The lease ended at {percent(route.weight)}.", now)


def rollback(route: Route, reason: str, now: float) -> Route:
    """The rollout ends because of the canary. Passes a frozen route too: safety is not a change to wait with."""
    _check_under_way(route)
    return _ended(route, Phase.ROLLED_BACK, reason, now)


def promote(route: Route, now: float) -> Route:
    """The canary becomes the stable version, and nothing is left of its rollout."""
    _check_thawed(route)
    if route.canary is None:
        raise RefusedChange("There is no canary.")
    _check_under_way(route)
    reason = f"Version {route.canary} took over from version {route.stable} at {percent(route.weight)}."
    ended = _ended(route, Phase.STEADY, reason, now)
    return replace(ended, stable=route.canary, canary=None, steps=(), phase=Phase.PROMOTED)


def undo(route: Route, before: Route, now: float) -> Route:
    """The route `before` the last change; a plan that ran then waits, so that nothing moves until it is resumed.

    Its evidence begins anew: the ledger knows by `since`.
    """
    _check_thawed(route)
    _check_lease(before.lease, now)
    if not before.follows_plan:
        return replace(before, since=now)
    reason = f"Undone, back at {percent(before.weight)}."
    return replace(before, phase=Phase.PAUSED, step_started_at=now, reason=reason, since=now)


def freeze(route: Route) -> Route:
    """Nothing changes any more, except that the guard or an operator rolls back."""
    _check_thawed(route)
    return replace(route, frozen=True)


def unfreeze(route: Route) -> Route:
    """What became due meanwhile happens now."""
    if not route.frozen:
        raise RefusedChange("The route is not frozen.")
    return replace(route, frozen=False)


def due(route: Route, now: float, *, served: int, healthy: bool) -> Action | None:
    """What has to happen now without an operator.

    `served` is what the canary answered since its step began, `healthy` the guard's word on it: without both a step
    never goes on, however long it lasts. A plan that ends below 100 % waits there for an operator.
    """
    if route.frozen:
        return None
    if route.lease is not None and now >= route.lease:
        return Action.EXPIRE_LEASE
    if route.phase is not Phase.PROGRESSING or route.step_started_at is None or not healthy:
        return None
    step = route.steps[route.step]
    if now - route.step_started_at < step.seconds or served < step.min_requests:
        return None
    if route.step + 1 < len(route.steps):
        return Action.ADVANCE
    return Action.PROMOTE if step.weight == FULL else None


_TRANSITIONS: Mapping[Action, Callable[[Route, float], Route]] = {
    Action.ADVANCE: advance,
    Action.PROMOTE: promote,
    Action.EXPIRE_LEASE: expire_lease,
}


def perform(route: Route, action: Action, now: float) -> Route:
    """The route after what was due."""
    return _TRANSITIONS[action](route, now)


def percent(weight: int) -> str:
    """For the operator: basis points as "2.5 %"."""
    return f"{weight / 100:g} %"


def _same_pair(route: Route, wanted: Wanted) -> bool:
    return (route.stable, route.canary) == (wanted.stable, wanted.canary)


def _keeps_course(route: Route, wanted: Wanted) -> bool:
    if not _same_pair(route, wanted) or wanted.steps != route.steps:
        return False
    if route.follows_plan:
        return wanted.weight is None
    begins_plan = bool(wanted.steps) and wanted.weight is None
    begins_mirror = not route.under_way and wanted.mirror > 0
    return wanted.weight in (None, route.weight) and not begins_plan and not begins_mirror


def _salt(route: Route, wanted: Wanted, drawn: str) -> str:
    if wanted.canary is None:
        return ""
    return route.salt if _same_pair(route, wanted) and route.under_way else drawn


def _settings(wanted: Wanted) -> dict[str, Any]:
    return {
        "sticky": wanted.sticky,
        "mirror": wanted.mirror,
        "guard": wanted.guard,
        "steps": wanted.steps,
        "lease": wanted.lease,
        "always": wanted.always,
        "lives": wanted.lives,
    }


def _at_step(route: Route, index: int, now: float, salt: str) -> Route:
    weight = route.steps[index].weight
    return replace(
        route,
        salt=salt,
        weight=weight,
        phase=Phase.PROGRESSING,
        step=index,
        step_started_at=now,
        reason=f"Step {index + 1} of {len(route.steps)}: {percent(weight)}.",
        since=now,
    )


def _ended(route: Route, phase: Phase, reason: str, now: float) -> Route:
    return replace(
        route,
        weight=0,
        mirror=0,
        always=(),
        salt="",
        lease=None,
        phase=phase,
        step=-1,
        step_started_at=None,
        reason=reason[:_LONGEST_REASON],
        since=now,
    )


def _check_thawed(route: Route) -> None:
    if route.frozen:
        raise RefusedChange("The route is frozen.")


def _check_under_way(route: Route) -> None:
    if not route.under_way:
        raise RefusedChange("No rollout is under way.")


def _check_lease(lease: float | None, now: float) -> None:
    if lease is not None and lease <= now:
        raise RefusedChange("The lease would be over already.")


def _waits_as_before(route: Route, wanted: Wanted) -> bool:
    """Nobody is sent to a canary, and none is named, nor its bound set, by this change: as after a rollback."""
    if wanted.canary is None:
        return True
    if wanted.weight or (wanted.steps and wanted.weight is None):
        return False
    return _same_pair(route, wanted) and wanted.guard.min_agreement == route.guard.min_agreement


def _check_sighted(guard: Guard, mirror: int) -> None:
    if guard.min_agreement is not None and mirror == 0:
        raise RefusedChange(
            "A bound on agreement needs a mirror share: without comparisons nothing passes. "
            "Set `mirror` (--mirror 10%), or `guard.min_agreement` to null (--min-agreement none)."
        )
