"""What the gateway answers, as frozen dataclasses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from triton_gateway_client.errors import reading

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class and its score, 0 to 1."""

    class_id: int
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Box:
    """In pixels of the original image; the origin is the top left corner."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One object, its score, 0 to 1, and where it is."""

    class_id: int
    label: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class InputError:
    """Why one input of a batch has no result while the others do; `code` is that of a problem."""

    status: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Served:
    """Which version answered, and as what: `stable`, `canary` or `pinned`."""

    name: str
    version: str
    variant: str


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """`results` has one entry an input, in their order: what was found, best first, or why nothing was."""

    id: str
    model: Served
    results: Sequence[Sequence[Result] | InputError]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the key may call; `default` answers requests for its task that name no model."""

    name: str
    task: str
    default: bool
    default_version: str
    versions: Sequence[str]
    labels: Sequence[str]
    max_batch_size: int


def classified(document: Mapping[str, Any]) -> Answer[Prediction]:
    return _answer(document, "predictions", lambda found: _picked(Prediction, found))


def detected(document: Mapping[str, Any]) -> Answer[Detection]:
    return _answer(document, "detections", _detection)


def models(document: Mapping[str, Any]) -> list[Model]:
    with reading():
        return [_picked(Model, model) for model in document["models"]]


def _answer(
    document: Mapping[str, Any], field: str, read: Callable[[Mapping[str, Any]], Result]
) -> Answer[Result]:
    with reading():
        results: list[Sequence[Result] | InputError] = [
            _picked(InputError, result["error"])
            if "error" in result
            else [read(found) for found in result[field]]
            for result in document["results"]
        ]
        return Answer(document["id"], _picked(Served, document["model"]), results)


def _detection(found: Mapping[str, Any]) -> Detection:
    return Detection(found["class_id"], found["label"], found["score"], _picked(Box, found["box"]))


def _picked(kind: type[Result], document: Mapping[str, Any]) -> Result:
    """Only the fields that this version of the client knows: the gateway may add some."""
    return kind(**{name: document[name] for name in kind.__dataclass_fields__})  # type: ignore[attr-defined]
