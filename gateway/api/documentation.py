"""OpenAPI for what Litestar cannot see: bodies in three forms, read by hand, and the problems that answer them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from litestar import Router
from litestar.enums import OpenAPIMediaType
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, Tag
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition
from pydantic.json_schema import models_json_schema

from gateway.api.admin_schemas import KeyRequest, RotateRequest, TokenRequest
from gateway.api.canary_schemas import CheckRequest, ReasonRequest, RouteRequest
from gateway.api.context import HttpRequest
from gateway.api.credentials import SCHEMES, USUAL
from gateway.api.description import completed
from gateway.api.examples import with_examples
from gateway.api.header_fields import HEADERS, PARAMETERS
from gateway.api.model_schemas import LoadRequest, UnloadRequest
from gateway.api.operations import COMPONENT
from gateway.api.pages import read_page
from gateway.api.problems import KINDS, MEDIA_TYPE
from gateway.api.static import page_headers
from gateway.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    DetectRequest,
    DetectResponse,
    ModelList,
    Problem,
    ProtocolError,
)
from gateway.translate.protocol import InferenceRequest

_ABOUT = """Images and texts in, labels and boxes out, answered by NVIDIA Triton. Frames go over a WebSocket at
`/v1/detect/stream` and `/v1/classify/stream`. Every error has a page: see [/problems](/problems). What
answers GET answers HEAD too, without the body.

Beside what an operation lists, any request may be answered 404 where nothing has its path; 405 where its path does not
take its method, with those that it takes in `Allow`; 400, 408, 414 or 431 where its head is not one that the server
reads; 500; and 503 with `Retry-After` where the process ends."""
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
_DOOR = (400, 401, 403, 429, 500, 503)  # what may answer every request that needs a credential
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
        description=_ABOUT,
        security=USUAL,
        components=Components(
            parameters=dict(PARAMETERS), headers=dict(HEADERS), security_schemes=dict(SCHEMES)
        ),
        tags=[Tag(name, description=about) for name, about in _TAGS],
        render_plugins=pages,
        openapi_router=Router(
            "/docs",
            route_handlers=[],
            include_in_schema=False,
            before_request=_known_path,
            opt={"public": True},
            response_headers=page_headers(),
        ),
    )


class _Page(OpenAPIRenderPlugin):
    def render(self, request: HttpRequest, openapi_schema: dict[str, Any]) -> bytes:
        return read_page("docs.html")


class _Document(OpenAPIRenderPlugin):
    """Written at the first request: it costs a tenth of a second, and needs no credential."""

    _written: bytes | None = None

    def render(self, request: HttpRequest, openapi_schema: dict[str, Any]) -> bytes:
        if self._written is None:
            described = completed(_with_schemas(openapi_schema), request.app.routes)
            self._written = self.render_json(request, described)
        return self._written


def _with_schemas(document: Mapping[str, Any]) -> dict[str, Any]:
    """Litestar's paths, with every schema as pydantic writes it: the bounds that are shown are those checked."""
    _, definitions = models_json_schema([(model, "validation") for model in _SHOWN], ref_template=COMPONENT)
    components = document["components"]
    schemas = {**components["schemas"], **definitions["$defs"]}
    return with_examples({**document, "components": {**components, "schemas": schemas}})


def _known_path(request: HttpRequest) -> None:
    """Litestar answers other paths here with a page of its own; ours are problems like everywhere else."""
    if request.scope["path"].removeprefix("/docs") not in ("", "/", "/openapi.json"):
        raise NotFoundException


def operation_id(_: HTTPRouteHandler, __: Method, path: list[str | PathParameterDefinition]) -> str:
    """From the path, so that `/v1/classify` and its alias `/classify` have names of their own."""
    return "_".join(part if isinstance(part, str) else part.name for part in path)


def failures(*statuses: int) -> dict[int, ResponseSpec]:
    """The problem answers of a route behind the door: the door's and these, with the codes that each can carry."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            description=", ".join(f"`{code}`" for code, kind in KINDS.items() if kind.status == status),
            media_type=cast("Any", MEDIA_TYPE),
            generate_examples=False,
        )
        for status in sorted({*_DOOR, *statuses})
    }


def protocol_failures(*statuses: int) -> dict[int, ResponseSpec]:
    """The error answers of a route of the Open Inference Protocol that is behind the door: the door's, and these."""
    return {
        status: ResponseSpec(
            data_container=ProtocolError, description=HTTPStatus(status).phrase, generate_examples=False
        )
        for status in sorted({*_DOOR, *statuses})
    }
