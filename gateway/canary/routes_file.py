"""A file of routes, YAML or TOML, checked offline: for every model what a PUT of its route would carry.

    routes:
      digits_classifier:
        stable: 1
        canary: 2
        steps: [1%, 5%, {weight: 25%, seconds: 10m, min_requests: 1000}, 50%, 100%]
        lease: 2h

What the file does not say has its default. Without a weight the plan in `steps` leads.
"""

import json
import tomllib
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from gateway.canary import amounts
from gateway.canary.route import Model
from gateway.canary.wanted import read_wanted
from gateway.errors import ValidationFailed

_MODEL = TypeAdapter[str](Model)


class RoutesFileError(ValueError):
    """The file cannot be used; the message says where it is wrong."""


def read_routes_file(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """The body of each model's route, `lease` in seconds from now. Raises RoutesFileError."""
    try:
        text = path.read_text("utf-8")
        loaded = tomllib.loads(text) if path.suffix == ".toml" else _yaml(text)
        return _routes(loaded)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError, RecursionError) as error:
        raise RoutesFileError(f"{path}: {' '.join(str(error).split())}") from None
    except RoutesFileError as error:
        raise RoutesFileError(f"{path}: {error}") from None


def _routes(loaded: object) -> dict[str, Mapping[str, Any]]:
    if (
        not isinstance(loaded, Mapping)
        or set(loaded) != {"routes"}
        or not isinstance(loaded["routes"], Mapping)
    ):
        raise RoutesFileError("one table `routes` is expected, and nothing beside it")
    return {_model_name(model): _body(str(model), fields) for model, fields in loaded["routes"].items()}


def _model_name(model: object) -> str:
    try:
        return _MODEL.validate_python(model, strict=True)
    except ValidationError:
        raise RoutesFileError(f"routes.{model}: not a name of a model") from None


def _body(model: str, fields: object) -> Mapping[str, Any]:
    if not isinstance(fields, Mapping):
        raise RoutesFileError(f"routes.{model}: fields are expected, such as `stable: 1`")
    body = {str(name): _plain(f"routes.{model}.{name}", str(name), value) for name, value in fields.items()}
    try:
        read_wanted(json.dumps(body))
    except ValidationFailed as error:
        first = error.errors[0]
        place = first.pointer.replace("/", ".")
        raise RoutesFileError(f"routes.{model}{place}: {first.detail}") from None
    except (TypeError, ValueError) as error:
        raise RoutesFileError(f"routes.{model}: {error}") from None
    return body


def _plain(place: str, name: str, value: object) -> object:
    """What a person writes, as the API takes it."""
    read = _READERS.get(name)
    if read is None or value is None:
        return value
    try:
        return read(value)
    except (ValueError, OverflowError) as error:
        raise RoutesFileError(f"{place}: {error}") from None


def _version(value: object) -> object:
    """`stable: 1` is what anybody writes, and a number to YAML."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_it_is(value: object) -> object:
    return value


def _of_text(read: Callable[[str], float]) -> Callable[[object], object]:
    return lambda value: read(value) if isinstance(value, str) else value


def _guard(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {name: _GUARD.get(name, _as_it_is)(field) for name, field in value.items()}


def _steps(value: object) -> object:
    return [_step(step) for step in value] if isinstance(value, list) else value


def _step(value: object) -> object:
    """A weight alone, or fields of which `weight` and `seconds` may be written as people do."""
    if not isinstance(value, Mapping):
        return {"weight": _POINTS(value)}
    return {name: _STEP.get(name, _as_it_is)(field) for name, field in value.items()}


def _lives(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {
        str(version): {str(name): _moment(at) for name, at in life.items()}
        if isinstance(life, Mapping)
        else life
        for version, life in value.items()
    }


def _moment(value: object) -> object:
    """A date begins in UTC, and so does a time without a zone."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    return value


_POINTS = _of_text(amounts.basis_points)
_SECONDS = _of_text(amounts.seconds)
_SHARE = _of_text(amounts.share)
_GUARD: Mapping[str, Callable[[object], object]] = {"max_error_gap": _SHARE, "min_agreement": _SHARE}
_STEP: Mapping[str, Callable[[object], object]] = {"weight": _POINTS, "seconds": _SECONDS}
_READERS: Mapping[str, Callable[[object], object]] = {
    "stable": _version,
    "canary": _version,
    "weight": _POINTS,
    "mirror": _POINTS,
    "lease": _SECONDS,
    "guard": _guard,
    "steps": _steps,
    "lives": _lives,
}


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's own loader silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        keys = (key for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key_node in keys:
            if key_node.value in seen:
                raise RoutesFileError(f"line {key_node.start_mark.line + 1}: {key_node.value} stands twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _yaml(text: str) -> object:
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader, only stricter
