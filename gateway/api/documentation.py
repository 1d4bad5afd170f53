"""OpenAPI for what Litestar cannot see: bodies in three forms, read by hand, and the problems that answer them."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from litestar import Router
from litestar.enums import OpenAPIMediaType
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Example,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
    Tag,
)
from litestar.openapi.spec import (
    OpenAPIMediaType as BodyMediaType,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.api.admin_schemas import KeyRequest, RotateRequest, TokenRequest
from gateway.api.canary_schemas import CheckRequest, ReasonRequest, RouteRequest
from gateway.api.context import HttpRequest
from gateway.api.examples import with_examples
from gateway.api.model_schemas import LoadRequest, UnloadRequest
from gateway.api.pages import read_page
from gateway.api.problems import KINDS, MEDIA_TYPE
from gateway.api.static import SECURITY
from gateway.schemas import (
    ClassifyOptions,
    ClassifyRequest,
    ClassifyResponse,
    DetectOptions,
    DetectRequest,
    DetectResponse,
    ModelList,
    Problem,
    ProtocolError,
)
from gateway.translate.protocol import InferenceRequest

_COMPONENT = "#/components/schemas/{model}"
# A PNG of 8 x 8 pixels, from black on the left to light gray.
_RAMP = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAFElEQVR42mNgUHBIaFhw4AEDZQwAxnUcAYqwUcEAAAAASUVORK5CYII="
)
_TAGS = (  # in the order in which a reader meets them
    ("inference", "Images and texts to labels and boxes."),
    ("models", "What your key may call."),
    ("tokens", "From a key to a token for a page, and a token's end."),
    ("Open Inference Protocol", "Tensors, for clients that speak it already."),
    ("canaries", "For operators: traffic between versions."),
    ("model control", "For operators: which models are loaded."),
    ("keys", "For operators: who may call."),
    ("audit", "For operators: who changed what."),
    ("console", "The session of the console's page."),
    ("health", "Is it alive, would it answer?"),
)
_SHOWN = (
    KeyRequest,
    RotateRequest,
    TokenRequest,
    RouteRequest,
    ReasonRequest,
    CheckRequest,
    LoadRequest,
    UnloadRequest,
    ClassifyRequest,
    DetectRequest,
    ClassifyResponse,
    DetectResponse,
    ModelList,
    Problem,
    ProtocolError,
    InferenceRequest,
)


def openapi_config() -> OpenAPIConfig:
    """The description at /docs/openapi.json, and a page that shows it at /docs without asking any other host."""
    pages = [_Page(path="/"), _Document(path="/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON)]
    return OpenAPIConfig(
        title="Triton gateway",
        version="1",
        description="Images and texts in, labels and boxes out, answered by NVIDIA Triton. Frames go over a WebSocket "
        "at `/v1/detect/stream` and `/v1/classify/stream`. Every error has a page: see [/problems](/problems).",
        tags=[Tag(name, description=about) for name, about in _TAGS],
        render_plugins=pages,
        openapi_router=Router(
            "/docs",
            route_handlers=[],
            include_in_schema=False,
            before_request=_known_path,
            opt={"public": True},
            response_headers=SECURITY,
        ),
    )


class _Page(OpenAPIRenderPlugin):
    def render(self, request: HttpRequest, openapi_schema: dict[str, Any]) -> bytes:
        return read_page("docs.html")


class _Document(OpenAPIRenderPlugin):
    def render(self, request: HttpRequest, openapi_schema: dict[str, Any]) -> bytes:
        """Litestar's paths, with every schema as pydantic writes it: the bounds that are shown are those checked."""
        _, definitions = models_json_schema(
            [(model, "validation") for model in _SHOWN], ref_template=_COMPONENT
        )
        components = openapi_schema["components"]
        schemas = {**components["schemas"], **definitions["$defs"]}
        shown = with_examples(openapi_schema)
        return self.render_json(request, {**shown, "components": {**components, "schemas": schemas}})


def _known_path(request: HttpRequest) -> None:
    """Litestar answers other paths here with a page of its own; ours are problems like everywhere else."""
    if request.scope["path"].removeprefix("/docs") not in ("", "/", "/openapi.json"):
        raise NotFoundException


def operation_id(_: HTTPRouteHandler, __: Method, path: list[str | PathParameterDefinition]) -> str:
    """From the path, so that `/v1/classify` and its alias `/classify` have names of their own."""
    return "_".join(part if isinstance(part, str) else part.name for part in path)


def failures(*statuses: int) -> dict[int, ResponseSpec]:
    """The problem answers of a route, with the codes that each status can carry."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            description=", ".join(f"`{code}`" for code, kind in KINDS.items() if kind.status == status),
            media_type=cast("Any", MEDIA_TYPE),
            generate_examples=False,
        )
        for status in statuses
    }


def protocol_failures(*statuses: int) -> dict[int, ResponseSpec]:
    """The error answers of a route of the Open Inference Protocol."""
    return {
        status: ResponseSpec(
            data_container=ProtocolError, description=HTTPStatus(status).phrase, generate_examples=False
        )
        for status in statuses
    }


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
            schema=Reference(ref=_COMPONENT.format(model=request.__name__)),
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
        schema = Reference(ref=_COMPONENT.format(model="InferenceRequest"))
        binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        self.request_body = RequestBody(
            content={
                "application/json": BodyMediaType(schema=schema),
                "application/octet-stream": BodyMediaType(schema=binary),
            },
            description="JSON, or JSON with Triton's binary tensor data behind it.",
            required=True,
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
    def taking(model: type[BaseModel]) -> type[Operation]:
        """An operation class whose body is `model`."""

        @dataclass
        class Taking(Operation):
            def __post_init__(self) -> None:
                schema = Reference(ref=_COMPONENT.format(model=model.__name__))
                self.request_body = RequestBody(
                    content={"application/json": BodyMediaType(schema=schema)},
                    required=any(field.is_required() for field in model.model_fields.values()),
                )

        return Taking
