"""Operations of the API's description whose bodies, queries or answers are read and written by hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from litestar.openapi.spec import (
    Example,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)
from litestar.openapi.spec import (
    OpenAPIMediaType as BodyMediaType,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from pydantic import BaseModel

from gateway.schemas import ClassifyOptions, ClassifyRequest, DetectOptions, DetectRequest

COMPONENT = "#/components/schemas/{model}"
# A PNG of 8 x 8 pixels, from black on the left to light gray.
_RAMP = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAFElEQVR42mNgUHBIaFhw4AEDZQwAxnUcAYqwUcEAAAAASUVORK5CYII="
)


def _body(request: type[BaseModel], texts: Mapping[str, str]) -> RequestBody:
    """An image in any of the three forms; `texts` are examples of inputs that are none, in JSON, by their names."""
    binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    form = Schema(
        type=OpenAPIType.OBJECT,
        properties={"image": Schema(type=OpenAPIType.ARRAY, items=binary, min_items=1)},
        required=["image"],
    )
    examples: dict[str, Example | Reference] = {
        "one image": Example(value={"inputs": [{"image": _RAMP}]}),
        "one image by its URL": Example(value={"inputs": [{"url": "https://images.example/a.jpg"}]}),
        **{name: Example(value={"inputs": [{"text": text}]}) for name, text in texts.items()},
    }
    content: Mapping[str, BodyMediaType] = {
        "image/jpeg": BodyMediaType(schema=binary),
        "image/png": BodyMediaType(schema=binary),
        "image/webp": BodyMediaType(schema=binary),
        "multipart/form-data": BodyMediaType(schema=form),
        "application/json": BodyMediaType(
            schema=Reference(ref=COMPONENT.format(model=request.__name__)),
            examples=examples,
        ),
    }
    description = (
        "An image as it is, a form with one or more `image` parts, or JSON. With an image or a form the options stand "
        "in the query, with JSON in the body. Transparent pixels show white; of an animation the first frame counts."
    )
    return RequestBody(content=dict(content), description=description, required=True)


def _query(options: type[BaseModel]) -> list[Parameter | Reference]:
    """The options as query parameters, from the same model that validates them."""
    schema = options.model_json_schema()
    needed = schema.get("required", [])
    return [
        Parameter(
            name=name,
            param_in="query",
            required=name in needed,
            description=field["description"],
            style="form",
            explode=name != "classes",
            schema=cast("Schema", field.get("anyOf", [field])[0]),  # the other branch is null: it is absent
        )
        for name, field in schema["properties"].items()
    ]


@dataclass
class ClassifyOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = _body(ClassifyRequest, {"one text": "Vereinigte Staaten"})
        self.parameters = _query(ClassifyOptions)


@dataclass
class DetectOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = _body(DetectRequest, {})
        self.parameters = _query(DetectOptions)


@dataclass
class InferOperation(Operation):
    def __post_init__(self) -> None:
        schema = Reference(ref=COMPONENT.format(model="InferenceRequest"))
        binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody(
            content={
                "application/json": BodyMediaType(schema=schema),
                "application/octet-stream": BodyMediaType(schema=binary),
            },
            description="JSON, or JSON with Triton's binary tensor data behind it.",
            required=True,
        )
        _answer_with(
            self,
            {
                "application/json": BodyMediaType(schema=Schema(type=OpenAPIType.OBJECT)),
                "application/octet-stream": BodyMediaType(schema=binary),
            },
        )


@dataclass
class GenerateOperation(Operation):
    def __post_init__(self) -> None:
        example = {"TEXT": "one by one", "parameters": {"delay_ms": 100}}
        schema = Schema(
            type=OpenAPIType.OBJECT, description="A value or a list for each input.", examples=[example]
        )
        self.request_body = RequestBody(
            content={"application/json": BodyMediaType(schema=schema)}, required=True
        )
        if "text/event-stream" not in (_success(self).content or {}):
            _answer_with(self, {"application/json": BodyMediaType(schema=Schema(type=OpenAPIType.OBJECT))})


def _success(operation: Operation) -> OpenAPIResponse:
    return cast("OpenAPIResponse", (operation.responses or {})["200"])


def _answer_with(operation: Operation, content: dict[str, BodyMediaType]) -> None:
    """Bytes that a handler writes itself, Litestar takes for a text."""
    _success(operation).content = content


@dataclass
class EmptyOperation(Operation):
    """One whose 204 sets cookies, which Litestar would describe with a body of JSON."""

    def __post_init__(self) -> None:
        answers = self.responses or {}
        cast("OpenAPIResponse", answers["204"]).content = None


class AdminOperation:
    """Operations whose JSON body, or query, is read by hand."""

    @staticmethod
    def asking(model: type[BaseModel]) -> type[Operation]:
        """An operation class whose query is `model`."""

        @dataclass
        class Asking(Operation):
            def __post_init__(self) -> None:
                self.parameters = [*(self.parameters or []), *_query(model)]

        return Asking

    @staticmethod
    def watching(model: type[BaseModel]) -> type[Operation]:
        """An operation class whose query is `model`, and whose answer is a stream of events."""

        @dataclass
        class Watching(Operation):
            def __post_init__(self) -> None:
                self.parameters = [*(self.parameters or []), *_query(model)]
                _answer_with(
                    self, {"text/event-stream": BodyMediaType(schema=Schema(type=OpenAPIType.STRING))}
                )

        return Watching

    @staticmethod
    def taking(model: type[BaseModel]) -> type[Operation]:
        """An operation class whose body is `model`."""

        @dataclass
        class Taking(Operation):
            def __post_init__(self) -> None:
                schema = Reference(ref=COMPONENT.format(model=model.__name__))
                self.request_body = RequestBody(
                    content={"application/json": BodyMediaType(schema=schema)},
                    required=any(field.is_required() for field in model.model_fields.values()),
                )

        return Taking
