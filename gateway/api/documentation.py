"""OpenAPI for what Litestar cannot see: bodies in three forms, read by hand, and the problems that answer them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.api.problems import KINDS, MEDIA_TYPE
from gateway.schemas import (
    ClassifyOptions,
    ClassifyRequest,
    ClassifyResponse,
    DetectOptions,
    DetectRequest,
    DetectResponse,
    ModelList,
    Options,
    Problem,
)

_COMPONENT = "#/components/schemas/{model}"
_SHOWN = (ClassifyRequest, DetectRequest, ClassifyResponse, DetectResponse, ModelList, Problem)


def document(app: Litestar) -> dict[str, Any]:
    """The OpenAPI document: Litestar's paths, with every schema as pydantic writes it.

    So the bounds that are checked are the ones that are shown, the request bodies' included.
    """
    shown = app.openapi_schema.to_schema()
    _, definitions = models_json_schema([(model, "validation") for model in _SHOWN], ref_template=_COMPONENT)
    shown["components"]["schemas"] |= definitions["$defs"]
    return shown


def operation_id(_: HTTPRouteHandler, __: Method, path: list[str | PathParameterDefinition]) -> str:
    """From the path, so that `/v1/classify` and its alias `/classify` have names of their own."""
    return "_".join(str(part) for part in path)


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


def _image_body(request: type[BaseModel]) -> RequestBody:
    binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
    form = Schema(
        type=OpenAPIType.OBJECT,
        properties={"image": Schema(type=OpenAPIType.ARRAY, items=binary, min_items=1)},
        required=["image"],
    )
    one_pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
    content: Mapping[str, OpenAPIMediaType] = {
        "image/jpeg": OpenAPIMediaType(schema=binary),
        "image/png": OpenAPIMediaType(schema=binary),
        "image/webp": OpenAPIMediaType(schema=binary),
        "multipart/form-data": OpenAPIMediaType(schema=form),
        "application/json": OpenAPIMediaType(
            schema=Reference(ref=_COMPONENT.format(model=request.__name__)),
            examples={"one image": Example(value={"inputs": [{"image": one_pixel}]})},
        ),
    }
    description = (
        "An image as it is, a form with one or more `image` parts, or JSON. With an image or a form the options stand "
        "in the query, with JSON in the body. Transparent pixels show white; of an animation the first frame counts."
    )
    return RequestBody(content=dict(content), description=description, required=True)


def _query(options: type[Options]) -> list[Parameter | Reference]:
    """The options as query parameters, from the same model that validates them."""
    return [
        Parameter(
            name=name,
            param_in="query",
            required=False,
            description=field["description"],
            style="form",
            explode=name != "classes",
            schema=cast("Schema", field["anyOf"][0]),  # the other branch is null: the option is absent
        )
        for name, field in options.model_json_schema()["properties"].items()
    ]


@dataclass
class ClassifyOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = _image_body(ClassifyRequest)
        self.parameters = _query(ClassifyOptions)


@dataclass
class DetectOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = _image_body(DetectRequest)
        self.parameters = _query(DetectOptions)
