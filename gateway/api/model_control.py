"""/admin/v1/models: what Triton has loaded, and how it does; models are loaded, unloaded and healed here."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from litestar import Router, get, post
from litestar.params import FromPath

from gateway.api.body import BodyReader
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import failures
from gateway.api.model_schemas import LoadRequest, ModelView, RepositoryView, UnloadRequest, model_view
from gateway.api.operations import AdminOperation
from gateway.api.parsing import read_json
from gateway.auth.scopes import ADMIN_MODELS, is_listed
from gateway.control import ModelControl
from gateway.domain import Principal
from gateway.errors import DeadlineExceeded, Forbidden, ModelNotLoaded, UpstreamError
from gateway.store import Area, Audit

_CHANGES = (404, 408, 409, 413, 415, 422, 502, 504)
_LOOKS = (404, 502, 504)


def model_control_routes(control: ModelControl, bodies: BodyReader, audit: Audit) -> Router:
    """The handlers, bound to their collaborators. Every one needs the scope admin:models."""

    def noted(request: HttpRequest, action: str, model: str) -> AbstractAsyncContextManager[None]:
        return _noted(audit, context_of(request).caller.id, action, model)

    @get("/", summary="List the models of the repository", responses=failures(*_LOOKS))
    async def listed(request: HttpRequest) -> RepositoryView:
        caller = context_of(request).caller
        states = [state for state in await control.models() if is_listed(caller, state.name)]
        return RepositoryView(models=[model_view(state) for state in states])

    @get("/{model:str}", summary="Show a model", responses=failures(*_LOOKS))
    async def show(model: FromPath[str]) -> ModelView:
        return model_view(await control.model(model))

    @post(
        "/{model:str}/load",
        status_code=200,
        operation_class=AdminOperation.taking(LoadRequest),
        summary="Load a model, or again where its files changed or with another configuration",
        description="Returns when it serves. What served before goes on until then, and where Triton cannot load it.",
        responses=failures(*_CHANGES),
    )
    async def load(request: HttpRequest, model: FromPath[str]) -> ModelView:
        async with bodies.document(request) as body:
            wanted = read_json(request, body or b"{}", LoadRequest)
        async with noted(request, "load", model):
            state = await control.load(model, wanted.config, force=wanted.force)
        return model_view(state)

    @post(
        "/{model:str}/unload",
        status_code=200,
        operation_class=AdminOperation.taking(UnloadRequest),
        summary="Unload a model",
        description="Calls that are under way end first. Refused for what a route or a default needs.",
        responses=failures(*_CHANGES),
    )
    async def unload(request: HttpRequest, model: FromPath[str]) -> ModelView:
        async with bodies.document(request) as body:
            wanted = read_json(request, body or b"{}", UnloadRequest)
        async with noted(request, "unload", model):
            state = await control.unload(model, force=wanted.force)
        return model_view(state)

    @post(
        "/{model:str}/heal",
        status_code=200,
        summary="Unload a model and load it at once",
        description="Starts a process again that died; of an ensemble, that of any of its steps. The model's callers "
        "get 503 in between.",
        responses=failures(*_CHANGES),
    )
    async def heal(request: HttpRequest, model: FromPath[str]) -> ModelView:
        _check_steps(context_of(request).caller, control.catalog.with_steps(model))
        async with noted(request, "heal", model):
            state = await control.heal(model)
        return model_view(state)

    return Router(
        "/admin/v1/models",
        route_handlers=[listed, show, load, unload, heal],
        opt={"scope": ADMIN_MODELS},
        tags=["model control"],
    )


@asynccontextmanager
async def _noted(audit: Audit, actor: str, action: str, model: str) -> AsyncIterator[None]:
    """Notes what came of the block. What it refuses before Triton is told has changed nothing."""

    async def note(outcome: str = "") -> None:
        await audit.note(actor, Area.MODELS, action + outcome, model)

    try:
        yield
    except ModelNotLoaded:
        await note(", in vain")
        raise
    except (DeadlineExceeded, UpstreamError, asyncio.CancelledError):  # the last at the end of the process
        await note(", outcome unknown")
        raise
    await note()


def _check_steps(caller: Principal, names: Iterable[str]) -> None:
    """Raises Forbidden where one of an ensemble's is not the caller's."""
    if others := [name for name in names if not is_listed(caller, name)]:
        raise Forbidden(f"Its steps are healed as well, and you may not administer {', '.join(others)}.")
