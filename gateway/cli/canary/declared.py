"""What a routes file asks for against what stands: nothing to do, a difference, or a rollout that is over.

A rollout that was rolled back, promoted or ended is not begun again because a file still names it: a pipeline that
applies the same file every hour would undo what the guard did. `--restart` begins it again.
"""

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml
from pydantic import TypeAdapter

from gateway.canary import amounts
from gateway.canary.lifecycle import percent
from gateway.canary.route import Phase
from gateway.canary.wanted import Wanted, read_wanted
from gateway.cli.admin_client import Answer, Document, printable
from gateway.cli.canary.wording import unreadable

_WANTED = TypeAdapter(Wanted)
_FOLLOWS_PLAN = (Phase.PROGRESSING, Phase.PAUSED)


class Standing(StrEnum):
    """How a model's route relates to the file."""

    SAME = "same"
    DIFFERS = "differs"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`body` is what a PUT would carry, `diff` unified lines, `note` why nothing is done."""

    model: str
    state: Standing
    body: Document
    standing: Answer
    diff: tuple[str, ...] = ()
    note: str = ""


def compare(model: str, body: Document, standing: Answer, *, restart: bool) -> Comparison:
    """`body` is a route of the file, as `read_routes_file` answers it."""
    route = standing.document
    wanted = _asked(body)
    shown = {name: _of_lease(name, route[name], wanted) for name in wanted}
    over = _over(wanted, route)
    if over and not restart:
        return Comparison(model, Standing.OVER, body, standing, note=printable(over))
    diff = tuple(_diff(model, route["generation"], shown, wanted))
    note = f"begins again: {over}" if over else unreadable(route)
    state = Standing.DIFFERS if diff or note else Standing.SAME
    return Comparison(model, state, body, standing, diff, printable(note))


def _asked(body: Document) -> dict[str, Any]:
    """With the defaults that a PUT would set; without a weight where the file leaves it to the plan."""
    wanted: dict[str, Any] = _WANTED.dump_python(read_wanted(json.dumps(body)), mode="json")
    if wanted["weight"] is None:
        del wanted["weight"]
    return wanted


def _of_lease(name: str, value: Any, wanted: Document) -> Any:
    """A lease that runs is the one of the file, however much of it is left: applying does not renew it."""
    return wanted["lease"] if name == "lease" and value is not None and wanted["lease"] is not None else value


def _over(wanted: Document, route: Document) -> str:
    """Why the rollout of the file is over, empty where it is not."""
    if wanted["canary"] is None:
        return ""
    if route["phase"] == Phase.PROMOTED and route["stable"] == wanted["canary"]:
        return f"version {wanted['canary']} was promoted; let the file say stable: {wanted['canary']}"
    same_pair = (route["stable"], route["canary"]) == (wanted["stable"], wanted["canary"])
    return _ended(wanted, route) if same_pair else ""


def _ended(wanted: Document, route: Document) -> str:
    """The same of one with the versions that stand."""
    if route["phase"] == Phase.ROLLED_BACK:
        return f"version {wanted['canary']} was rolled back: {route['reason']}"
    plan_leads = wanted["steps"] and "weight" not in wanted
    if not route["under_way"]:
        tried = plan_leads or any(wanted.get(name) for name in ("weight", "mirror", "lease", "always"))
        return f"the rollout has ended: {route['reason']}" if tried else ""
    if (
        plan_leads
        and route["phase"] not in _FOLLOWS_PLAN
        and _plain(route["steps"]) == _plain(wanted["steps"])
    ):
        return f"the plan does not run: {route['reason']}"
    return ""


def _diff(model: str, generation: int, standing: Document, wanted: Document) -> list[str]:
    if _plain(standing) == _plain(wanted):
        return []
    lines = difflib.unified_diff(
        _text(standing),
        _text(wanted),
        f"{model}  generation {generation}",
        f"{model}  file",
        n=2,
        lineterm="",
    )
    return [printable(line) for line in lines]


def _text(route: Document) -> list[str]:
    """As a routes file has it."""
    said = {name: _SAID.get(name, _plain)(value) for name, value in route.items() if value is not None}
    return yaml.safe_dump(said, sort_keys=False, width=110).splitlines()


def _plain(value: Any) -> Any:
    """The same number is the same text, whoever wrote it."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _steps(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**step, "weight": percent(step["weight"]), "seconds": amounts.duration(step["seconds"])}
        for step in steps
    ]


_SAID: Mapping[str, Callable[[Any], Any]] = {
    "weight": percent,
    "mirror": percent,
    "lease": amounts.duration,
    "steps": _steps,
}
