"""/admin/v1/workers: who serves, and whether everybody applies the same routes."""

from datetime import UTC, datetime

from litestar import Router, get

from gateway.api.canaries import translated
from gateway.api.canary_schemas import WorkerList, WorkerView
from gateway.api.documentation import failures
from gateway.auth.scopes import ADMIN_CANARY
from gateway.canary.fleet import Fleet, Worker


def fleet_routes(fleet: Fleet) -> Router:
    @get(
        "/admin/v1/workers",
        opt={"scope": ADMIN_CANARY},
        operation_id="workers",
        summary="List the workers of all replicas, with the generation of each route that they apply",
        responses=failures(),
        tags=["canaries"],
    )
    async def listed() -> WorkerList:
        with translated():
            return WorkerList(workers=[_view(worker) for worker in await fleet.workers()])

    return Router("/", route_handlers=[listed])


def _view(worker: Worker) -> WorkerView:
    return WorkerView(
        id=worker.id,
        host=worker.host,
        process=worker.process,
        started_at=datetime.fromtimestamp(worker.started_at, UTC),
        seen_at=datetime.fromtimestamp(worker.seen_at, UTC),
        generations=dict(worker.generations),
    )
