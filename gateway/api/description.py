"""What Litestar's description lacks: the credentials and headers of each operation, from its route's `opt`, and the
answers that many operations give alike, which stand once among the components."""

from collections.abc import Iterable, Mapping
from typing import Any

from litestar.routes import BaseRoute, HTTPRoute

from gateway.api.credentials import USUAL, security_of
from gateway.api.examples import of_problems
from gateway.api.header_fields import ALWAYS_READ, ALWAYS_TOLD, TOLD_TO_CALLERS, header_refs, parameter_refs
from gateway.api.problems import MEDIA_TYPE
from gateway.schemas import Problem, ProtocolError

_SHARED = (Problem.__name__, ProtocolError.__name__)
_UNKNOWN = "401"  # tells nobody anything of quotas and times
_MORE_HEADERS = {_UNKNOWN: ["WWW-Authenticate"], "429": ["Retry-After"], "503": ["Retry-After"]}


def completed(document: Mapping[str, Any], routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The description with all of that; the one given stays as it is."""
    opts = {
        (route.path_format, method.lower()): handler.opt
        for route in routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
    }
    shared: dict[str, Any] = {}
    paths = {
        path: {
            method: _operation(operation, opts[path, method], shared) for method, operation in item.items()
        }
        for path, item in document["paths"].items()
    }
    return {**document, "paths": paths, "components": {**document["components"], "responses": shared}}


def _operation(
    operation: Mapping[str, Any], opt: Mapping[str, Any], shared: dict[str, Any]
) -> dict[str, Any]:
    """`shared` takes up what this operation has in common with others."""
    security = operation.get("security", security_of(opt))
    told = [*ALWAYS_TOLD, *(TOLD_TO_CALLERS if security else ())]
    answers: dict[str, Any] = {}
    for status, answer in operation["responses"].items():
        name = _name_of(status, answer)
        if name is None:
            tells = opt.get("tells", ()) if status.startswith("2") else ()
            answers[status] = {**answer, "headers": header_refs([*told, *tells])}
        else:
            shared.setdefault(name, _shared(status, answer))
            answers[status] = {"$ref": f"#/components/responses/{name}"}
    return {
        **operation,
        "parameters": [
            *map(_parameter, operation.get("parameters", ())),
            *parameter_refs([*opt.get("reads", ()), *ALWAYS_READ]),
        ],
        "responses": answers,
        **({} if security == USUAL else {"security": security}),
    }


def _parameter(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """A handler of several paths may do without a name that one of them lacks; a path that has it needs it."""
    if described["in"] != "path":
        return described
    schema = described["schema"]
    (needed,) = (each for each in schema.get("oneOf", [schema]) if each != {"type": "null"})
    return {**described, "schema": needed}


def _name_of(status: str, answer: Mapping[str, Any]) -> str | None:
    """What an answer is called that others give, too; None for one that only this operation gives."""
    for media in answer.get("content", {}).values():
        model = media.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if model in _SHARED:
            return f"{model}{status}"
    return None


def _shared(status: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    known = () if status == _UNKNOWN else (*TOLD_TO_CALLERS, "Priority")
    told = [*ALWAYS_TOLD, *known, *_MORE_HEADERS.get(status, ())]
    return {
        **answer,
        "headers": header_refs(told),
        "content": {
            kind: {**media, **({"examples": of_problems(int(status))} if kind == MEDIA_TYPE else {})}
            for kind, media in answer["content"].items()
        },
    }
