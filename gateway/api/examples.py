"""Examples in the API's description: of requests and answers from pages/examples.json, of problems from their table."""

import json
from collections.abc import Mapping
from typing import Any

from gateway.api.pages import read_page
from gateway.api.problems import KINDS, described

_JSON = "application/json"
_EVENTS = "text/event-stream"
_METHODS = ("get", "post", "put", "patch", "delete")

EXAMPLES: Mapping[str, Mapping[str, Any]] = json.loads(read_page("examples.json"))
"""By method and path, such as "POST /v1/classify": `request` and `answer`, whichever there is one of; an `answer` also
by the schema that it is of. A text is a stream of events."""


def with_examples(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The description with what it shows of each operation; the one given stays as it is."""
    paths = {
        path: {key: _shown(path, key, part) for key, part in item.items()} for path, item in _paths(schema)
    }
    return {**schema, "paths": paths}


def _paths(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(schema["paths"].items())


def _shown(path: str, method: str, operation: Any) -> Any:
    if method not in _METHODS:
        return operation
    known = EXAMPLES.get(f"{method.upper()} {_told_apart(path)}", {})
    answers = {
        status: _answer(status, answer, known.get("answer"))
        for status, answer in operation["responses"].items()
    }
    body = operation.get("requestBody")
    asked = (
        {}
        if body is None or "request" not in known
        else {"requestBody": _exemplified(body, known["request"])}
    )
    return {**operation, "responses": answers, **asked}


def _told_apart(path: str) -> str:
    """The path whose examples these are: short paths and those with a version are the same routes."""
    path = path.replace("/versions/{version}", "")
    return f"/v1{path}" if path in ("/classify", "/detect") else path


def _answer(status: str, answer: Mapping[str, Any], example: Any) -> Mapping[str, Any]:
    content = answer.get("content", {})
    if not status.startswith("2"):
        return answer
    if example is None:
        example = EXAMPLES.get(_schema_of(content), {}).get("answer")
    return answer if example is None else _exemplified(answer, example)


def _schema_of(content: Mapping[str, Any]) -> str:
    """The name of the schema that an answer in JSON has."""
    reference: str = content.get(_JSON, {}).get("schema", {}).get("$ref", "")
    return reference.rpartition("/")[2]


def of_problems(status: int) -> dict[str, Any]:
    """The problem of each code that has this status."""
    codes = [code for code, kind in KINDS.items() if kind.status == status]
    return {code: {"value": _problem(code)} for code in codes}


def _problem(code: str) -> Mapping[str, Any]:
    problem = described(code, KINDS[code].remedy, "/v1/classify", "5b0fd0f2c8f74f0d")
    return problem.model_dump(exclude_none=True)


def _exemplified(part: Mapping[str, Any], example: Any) -> Mapping[str, Any]:
    """A body or an answer with this example of its JSON, or of its events."""
    content = part.get("content", {})
    media_type = _EVENTS if isinstance(example, str) else _JSON
    if media_type not in content:
        return part
    shown = {**content[media_type], "examples": {"usual": {"value": example}}}
    return {**part, "content": {**content, media_type: shown}}
