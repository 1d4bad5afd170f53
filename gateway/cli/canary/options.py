"""What the options of `gateway canary set` are made of: amounts as people write them, and `none` for what goes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from gateway.canary import amounts

_T = TypeVar("_T")

NONE = "none"
GUARD = (
    *("min_requests", "max_error_gap", "error_z", "latency_factor", "latency_windows"),
    *("window", "min_agreement", "min_compared"),
)


def amount(name: str, read: Callable[[str], _T], *, or_none: bool = False) -> Callable[[str], _T | str]:
    """An option's type: text that `read` reads; `none` too, where that is something to ask for."""

    def convert(text: str) -> _T | str:
        if or_none and text == NONE:
            return NONE
        try:
            return read(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    convert.__name__ = name  # what `--help` calls it
    return convert


def number(text: str) -> float:
    """Finite. Raises ValueError."""
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text!r} is not finite")
    return found


def weights(text: str) -> list[int]:
    """Of "1%,5%,25%,50%,100%". Raises ValueError."""
    found = [amounts.basis_points(part) for part in text.split(",")]
    if found != sorted(set(found)) or found[0] == 0:
        raise ValueError(f"{text!r}: weights above 0 that rise from step to step")
    return found


NUMBER = amount("number", number)
WEIGHT = amount("percent", amounts.basis_points)
SHARE = amount("percent", amounts.share)
DURATION = amount("duration", amounts.seconds)
LEASE = amount("duration", amounts.seconds, or_none=True)
BOUND = amount("percent", amounts.share, or_none=True)
WEIGHTS = amount("percents", weights, or_none=True)


def merge_patch(given: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a PATCH, from the options by name; those that are None were not given. Raises click.UsageError."""
    fields = {name: value for name, value in given.items() if value not in (None, ())}
    body: dict[str, Any] = {
        name: fields[name] for name in ("stable", "weight", "sticky", "mirror") if name in fields
    }
    body |= _canary(fields) | _steps(fields)
    if "lease" in fields:
        body["lease"] = None if fields["lease"] == NONE else fields["lease"]
    if "always" in fields:
        body["always"] = [] if fields["always"] == (NONE,) else list(fields["always"])
    guard = {name: None if fields[name] == NONE else fields[name] for name in GUARD if name in fields}
    if guard:
        body["guard"] = guard
    if not body:
        raise click.UsageError("Say by at least one option what shall change.")
    return body


def _canary(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without a canary there is nothing to lead to it either."""
    if "canary" not in fields:
        return {}
    if fields["canary"] == NONE:
        return {"canary": None, "steps": [], "mirror": 0, "lease": None}
    return {"canary": fields["canary"]}


def _steps(fields: Mapping[str, Any]) -> dict[str, Any]:
    bounds = {
        name: fields[option]
        for name, option in (("seconds", "step_seconds"), ("min_requests", "step_requests"))
        if option in fields
    }
    if "steps" not in fields:
        if bounds:
            raise click.UsageError("--step-seconds and --step-requests belong to --steps.")
        return {}
    steps: Sequence[int] = [] if fields["steps"] == NONE else fields["steps"]
    return {"steps": [{"weight": weight, **bounds} for weight in steps]}
