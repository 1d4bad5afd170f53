"""/admin/v1/workers: who serves, and whether everybody applies the same routes."""

from datetime import UTC, datetime

from litestar import Router, get

from gateway.api.canaries import translated
from gateway.api.canary_schemas import WorkerList, WorkerView
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import failures
from gateway.auth.scopes import ADMIN_CANARY, is_listed
from gateway.canary.fleet import Fleet, Worker
from gateway.domain import Principal


def fleet_routes(fleet: Fleet) -> Router:
    @get(
        "/admin/v1/workers",
        opt={"scope": ADMIN_CANARY},
        operation_id="workers",
        summary="List the workers of all replicas, with the generation of each route that they apply",
        responses=failures(),
        tags=["canaries"],
    )
    async def listed(request: HttpRequest) -> WorkerList:
        caller = context_of(request).caller
        with translated():
            return WorkerList(workers=[_view(worker, caller) for worker in await fleet.workers()])

    return Router("/", route_handlers=[listed])


def _view(worker: Worker, caller: Principal) -> WorkerView:
    """With the routes of the caller's models."""
    return WorkerView(
        id=worker.id,
        host=worker.host,
        process=worker.process,
        started_at=datetime.fromtimestamp(worker.started_at, UTC),
        seen_at=datetime.fromtimestamp(worker.seen_at, UTC),
        generations={
            model: generation for model, generation in worker.generations.items() if is_listed(caller, model)
        },
    )
