"""What an operator asks of a route: read strictly from a request or a file, whole or as a change to what stands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.canary.route import (
    BY_PRINCIPAL,
    DEFAULT_GUARD,
    STRICT,
    Guard,
    Lives,
    Moment,
    Route,
    Steps,
    Stickiness,
    Subjects,
    Version,
    Weight,
    check_steps,
    check_versions,
)
from gateway.errors import FieldError, ValidationFailed
from gateway.schemas import first_errors, in_words

_T = TypeVar("_T")

# Another pair of versions, or another plan, does not inherit a weight: without one the plan begins, or nobody moves.
_BEGINS_ANEW = frozenset({"stable", "canary", "steps"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of a route that is an operator's to say; the fields mean what they mean in `Route`.

    A `weight` is set by hand. Without one the plan in `steps` begins, or goes on where it is the one that runs.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    stable: Version
    canary: Version | None = None
    weight: Weight | None = None
    sticky: Stickiness = BY_PRINCIPAL
    mirror: Weight = 0
    guard: Guard = DEFAULT_GUARD
    steps: Steps = ()
    lease: Moment | None = None
    always: Subjects = ()
    lives: Lives = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_versions(self.stable, self.canary)
        check_steps(self.steps)
        if self.canary is None and (self.weight or self.mirror or self.steps or self.lease is not None):
            raise ValueError("weight, mirror, steps and lease need a canary")


_CODEC = TypeAdapter(Wanted)
_CHANGE = TypeAdapter(dict[str, JsonValue])


def read_wanted(text: str | bytes) -> Wanted:
    """Raises ValidationFailed that names every wrong field."""
    return _read(_CODEC, text)


def wanted_of(route: Route) -> Wanted:
    """What asks for the route as it stands: a plan that is followed leads by itself, so no weight is asked for."""
    return Wanted(
        stable=route.stable,
        canary=route.canary,
        weight=None if route.follows_plan else route.weight,
        sticky=route.sticky,
        mirror=route.mirror,
        guard=route.guard,
        steps=route.steps,
        lease=route.lease,
        always=route.always,
        lives=route.lives,
    )


def amend(route: Route, change: str | bytes) -> Wanted:
    """The route as it stands with a JSON merge patch (RFC 7396) on it. Raises ValidationFailed."""
    fields = _read(_CHANGE, change)
    standing = _CODEC.dump_python(wanted_of(route), mode="json")
    if "weight" not in fields and not _BEGINS_ANEW.isdisjoint(fields):
        del standing["weight"]
    return _read(_CODEC, json.dumps(_merged(standing, fields)))


def _merged(standing: object, change: JsonValue) -> object:
    if not isinstance(change, Mapping):
        return change
    kept = dict(standing) if isinstance(standing, Mapping) else {}
    for name, value in change.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = _merged(kept.get(name), value)
    return kept


def _read(codec: TypeAdapter[_T], text: str | bytes) -> _T:
    try:
        return codec.validate_json(text)
    except ValidationError as error:
        raise ValidationFailed(
            "The route cannot be made like this.",
            [
                FieldError("".join(f"/{part}" for part in problem["loc"]), _message(problem))
                for problem in first_errors(error)
            ],
        ) from None


_MESSAGES = {  # in place of those of pydantic's that speak to programmers
    "string_pattern_mismatch": 'A version is a whole number from 1, such as "2".',  # nothing else has a pattern
    "unexpected_keyword_argument": "There is no such field.",
}


def _message(problem: ErrorDetails) -> str:
    return _MESSAGES.get(problem["type"], in_words(problem["msg"]))
