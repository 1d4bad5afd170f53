"""The questions of the Open Inference Protocol: health, and what a model is, how it is configured, how it does."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as release_of
from typing import Any, Protocol

from litestar import Response, Router, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import operation_id, protocol_failures
from gateway.auth import may_use
from gateway.canary import Route
from gateway.canary.table import Live
from gateway.catalog import Card, Catalog
from gateway.control.needs import stable_version
from gateway.errors import ModelUnavailable, OutOfService, VersionNotFound
from gateway.upstream.breaker import State

# By Triton's names; perf_analyzer asks for a configuration and for statistics only where they are listed.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "parameters",
    "schedule_policy",
    "statistics",
)
# What a client needs to form its requests. The rest may hold paths, and what operators write for themselves.
CONFIG_FIELDS = (
    "name",
    "platform",
    "backend",
    "version_policy",
    "max_batch_size",
    "input",
    "output",
    "batch_input",
    "batch_output",
    "dynamic_batching",
    "sequence_batching",
    "ensemble_scheduling",
    "instance_group",
    "model_transaction_policy",
    "response_cache",
)
_FILES = ("label_filename", "data_file")  # at any depth of them
_MODEL = "/v2/models/{model:str}"
_VERSION = _MODEL + "/versions/{version:str}"
_TAGS = ["Open Inference Protocol"]
_FAILURES = (404, 502)
_TRITONS = (*_FAILURES, 504)  # where Triton itself is asked


class Described(Protocol):
    """What Triton says of its models, in the JSON of its own API. Each raises UpstreamError."""

    async def metadata(self, model: str, version: str) -> Mapping[str, Any]: ...

    async def config(self, model: str, version: str) -> Mapping[str, Any]: ...

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]: ...


def protocol_health_routes(catalog: Catalog) -> Router:
    """For those who look whether to send anything; they need no key."""

    @get("/v2/health/live", summary="Is the server alive?", tags=_TAGS, sync_to_thread=False)
    def live() -> dict[str, bool]:
        return {"live": True}

    @get(
        "/v2/health/ready",
        summary="Are models served?",
        tags=_TAGS,
        responses={
            503: ResponseSpec(
                data_container=dict[str, bool], description="Not at the moment", generate_examples=False
            )
        },
        sync_to_thread=False,
    )
    def ready() -> Response[dict[str, bool]]:
        status = catalog.status()
        good = status.answering and status.models > 0
        return Response({"ready": good}, status_code=200 if good else 503)

    return Router("/", route_handlers=[live, ready], opt={"public": True})


def protocol_routes(
    catalog: Catalog,
    triton: Described,
    state: Callable[[str, str], State],
    route: Callable[[str], Live[Route] | None],
) -> Router:
    """`state` is that of a version's breakers, `route` that of a model."""

    @get(
        "/v2",
        summary="What is served here?",
        tags=_TAGS,
        responses=protocol_failures(),
        sync_to_thread=False,
    )
    def server() -> dict[str, object]:
        return {
            "name": "triton-gateway",
            "version": release_of("triton-gateway"),
            "extensions": list(EXTENSIONS),
        }

    @get(
        [_MODEL, _VERSION],
        operation_id=operation_id,
        summary="A model's tensors",
        tags=_TAGS,
        responses=protocol_failures(*_TRITONS),
    )
    async def metadata(
        request: HttpRequest, model: FromPath[str], version: FromPath[str | None] = None
    ) -> dict[str, Any]:
        card = _found(request, catalog, model, version)
        return dict(await triton.metadata(card.name, version or ""))

    @get(
        [f"{_MODEL}/ready", f"{_VERSION}/ready"],
        operation_id=operation_id,
        summary="Is a model ready?",
        tags=_TAGS,
        responses=protocol_failures(*_FAILURES),
        sync_to_thread=False,
    )
    def model_ready(
        request: HttpRequest, model: FromPath[str], version: FromPath[str | None] = None
    ) -> dict[str, object]:
        card = _found(request, catalog, model, version)
        live = route(card.name)
        answering = version or stable_version(card, live.route if live else None)
        if answering not in card.served.versions:
            raise ModelUnavailable("This model cannot be served at the moment.", retry_after=2)
        if state(card.name, answering) is State.OPEN:
            raise OutOfService("The model's calls fail, and it is left alone for a moment.", retry_after=1)
        return {"name": card.name, "ready": True}

    @get(
        [f"{_MODEL}/config", f"{_VERSION}/config"],
        operation_id=operation_id,
        summary="How a model is configured",
        tags=_TAGS,
        responses=protocol_failures(*_TRITONS),
    )
    async def config(
        request: HttpRequest, model: FromPath[str], version: FromPath[str | None] = None
    ) -> dict[str, Any]:
        card = _found(request, catalog, model, version)
        known = await triton.config(card.name, version or "")
        return {name: _without_files(known[name]) for name in CONFIG_FIELDS if name in known}

    @get(
        ["/v2/models/stats", f"{_MODEL}/stats", f"{_VERSION}/stats"],
        operation_id=operation_id,
        summary="How models do",
        tags=_TAGS,
        responses=protocol_failures(*_TRITONS),
    )
    async def statistics(
        request: HttpRequest, model: FromPath[str | None] = None, version: FromPath[str | None] = None
    ) -> dict[str, Any]:
        caller = context_of(request).caller
        name = "" if model is None else _found(request, catalog, model, version).name
        entries = await triton.statistics(name, version or "")
        return {"model_stats": [entry for entry in entries if may_use(caller, entry["name"])]}

    return Router("/", route_handlers=[server, metadata, model_ready, config, statistics])


def _found(request: HttpRequest, catalog: Catalog, model: str, version: str | None) -> Card:
    """Raises ModelNotFound, the same for a model that the caller may not use, ModelUnavailable, VersionNotFound."""
    caller = context_of(request).caller
    card = catalog.callable(model, lambda name: may_use(caller, name))
    if version is not None and version not in card.served.versions:
        raise VersionNotFound("This version of the model is not loaded.")
    return card


def _without_files(value: Any) -> Any:
    """As Triton tells of what has none: clients find all of its fields."""
    if isinstance(value, Mapping):
        return {name: "" if name in _FILES else _without_files(inner) for name, inner in value.items()}
    return [_without_files(inner) for inner in value] if isinstance(value, list) else value
