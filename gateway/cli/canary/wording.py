"""Routes, changes and figures in words: what the commands print, from the documents of the API."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.canary import amounts
from gateway.canary.lifecycle import percent
from gateway.cli.admin_client import Document, printable

NOTHING = "–"  # noqa: RUF001 - an en dash stands for a figure that is not there
_PASSING = 5.0  # seconds by which a lease may have run down between two readings without being another one
_ORDER = ("phase", "stable", "canary", "weight", "step", "steps", "mirror", "lease")
_UNSAID = ("model", "generation", "reason", "since", "step_started_at", "under_way")  # or said by the others


def summary(route: Document) -> str:
    """One line: where the route stands."""
    canary = route["canary"]
    split = f"{percent(route['weight'])} on {canary}" if canary else "no canary"
    frozen = ", frozen" if route["frozen"] else ""
    reason = f" - {route['reason']}" if route["reason"] else ""
    return printable(
        f"{route['model']}: {route['phase']}{frozen}, stable {route['stable']}, {split} "
        f"(generation {route['generation']}){reason}"
    )


def changes(before: Document, after: Document) -> list[tuple[str, str, str]]:
    """Field, old and new, for every field that is another one."""
    old, new = dict(_flat(before)), dict(_flat(after))
    return [
        (name, said(name, old.get(name)), said(name, new.get(name)))
        for name in sorted({*old, *new}, key=_place)
        if not _same(name, old.get(name), new.get(name))
    ]


def unreadable(route: Document) -> str:
    """What is wrong where a route cannot be read, empty where it can."""
    if not route["unreadable"]:
        return ""
    return f"what stands cannot be read ({route['unreadable']}); this is what the gateway goes by"


def said(name: str, value: Any) -> str:
    """A field's value as the options take it."""
    if value is None or value in ([], {}):
        return "none"
    return printable(_SAID[name](value) if name in _SAID else value)


def shown(version: Document | None) -> Mapping[str, str]:
    """The figures of one side of a report, by column."""
    if version is None:
        return {}
    return {
        "requests": f"{version['requests']}",
        "errors": f"{version['errors']} ({rate(version['error_rate'])})",
        "p50": milliseconds(version["p50_ms"]),
        "p95": milliseconds(version["p95_ms"]),
    }


def agreement(found: Document | None) -> str:
    """Such as "96.2 % of 52"."""
    if not found or not found["compared"]:
        return NOTHING
    return f"{rate(found['agreed'] / found['compared'])} of {found['compared']}"


def decision(found: Document | None) -> str:
    """The verdict with its sentence."""
    return printable(f"{found['verdict']}: {found['detail']}") if found else NOTHING


def rate(part: float) -> str:
    return f"{round(part * 100, 2):g} %"


def milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f} ms"


def moment(text: str) -> str:
    """The API's time, to the second, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _flat(route: Document) -> Iterator[tuple[str, Any]]:
    for name, value in route.items():
        if name in _UNSAID:
            continue
        if name == "guard":
            yield from ((f"guard.{inner}", bound) for inner, bound in value.items())
        else:
            yield name, value


def _place(name: str) -> tuple[int, str]:
    """What matters most comes first."""
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def _same(name: str, old: Any, new: Any) -> bool:
    if name == "lease" and old is not None and new is not None:
        return bool(0 <= old - new < _PASSING)
    return bool(old == new)


def _steps(steps: list[dict[str, Any]]) -> str:
    """One bound for all where it is the same for all."""
    bounds = [f"{amounts.duration(step['seconds'])} and {step['min_requests']} requests" for step in steps]
    weights = [percent(step["weight"]) for step in steps]
    if len(set(bounds)) == 1:
        return f"{', '.join(weights)}; each {bounds[0]}"
    return ", ".join(f"{weight} for {bound}" for weight, bound in zip(weights, bounds, strict=True))


def _lives(lives: Mapping[str, Mapping[str, float | None]]) -> str:
    return ", ".join(
        f"{version} {name.removesuffix('_at')} {datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
        for version, life in lives.items()
        for name, at in life.items()
        if at is not None
    )


_SAID: Mapping[str, Callable[[Any], str]] = {
    "weight": percent,
    "mirror": percent,
    "lease": lambda left: amounts.duration(round(left, 0 if left >= 60 else 1)),
    "steps": _steps,
    "always": ", ".join,
    "lives": _lives,
    "frozen": lambda value: "yes" if value else "no",
    "step": lambda value: "none" if value < 0 else str(value + 1),
    "guard.max_error_gap": rate,
    "guard.min_agreement": rate,
    "guard.window": amounts.duration,
}
