"""/admin/v1/audit: every change of routes, models and keys in one list; each caller sees what it may administer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from litestar import Router, get
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.canaries import translated
from gateway.api.canary_schemas import event_view
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import failures
from gateway.api.operations import AdminOperation
from gateway.api.parsing import read_query
from gateway.auth.scopes import (
    ADMIN_CANARY,
    ADMIN_KEYS,
    ADMIN_MODELS,
    ANY_ADMINISTRATION,
    has_scope,
    is_listed,
)
from gateway.canary.store import Event, RouteStore
from gateway.store import Area, Audit, Note, order

_SCOPES = {Area.CANARIES: ADMIN_CANARY, Area.MODELS: ADMIN_MODELS, Area.KEYS: ADMIN_KEYS}


class AuditQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=100, ge=1, le=1000, description="About so many.")
    before: str | None = Field(default=None, description="The id of a change: only those before it.")


class Change(BaseModel):
    """`subject` is the model, the key or the token; routes say their generation, and how they were and are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    at: datetime
    area: Area
    action: str
    subject: str
    actor: str
    reason: str = ""
    generation: int | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class ChangeList(BaseModel):
    """The newest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    changes: list[Change]


def audit_routes(audit: Audit, routes: RouteStore) -> Router:
    @get(
        "/admin/v1/audit",
        opt={"scope": ANY_ADMINISTRATION},
        operation_class=AdminOperation.asking(AuditQuery),
        operation_id="audit",
        summary="Who changed what, and when",
        description="Changes of routes, models and keys, those that your scopes and models let you administer, the "
        "newest first. "
        "The last 5,000 of routes and of the rest are kept, about.",
        responses=failures(422),
        tags=["audit"],
    )
    async def changes(request: HttpRequest) -> ChangeList:
        asked = read_query(request.scope["query_string"], AuditQuery)
        caller = context_of(request).caller
        allowed = {area for area, scope in _SCOPES.items() if has_scope(caller, scope)}

        def sees(note: Note) -> bool:
            return note.area in allowed and (note.area is not Area.MODELS or is_listed(caller, note.subject))

        with translated():
            notes = await audit.notes(sees, limit=asked.limit, before=asked.before)
            events: Sequence[Event] = ()
            if Area.CANARIES in allowed:
                events = await routes.events(limit=asked.limit, before=asked.before, among=caller.models)
        return ChangeList(changes=newest(asked.limit, [*map(_of_route, events), *map(_of_note, notes)]))

    return Router("/", route_handlers=[changes])


def newest(limit: int, changes: Sequence[Change]) -> list[Change]:
    """The `limit` newest, and one more where it has the id of the last: the next page begins before both."""
    ordered = sorted(changes, key=lambda change: order(change.id), reverse=True)
    last = ordered[limit - 1 : limit]
    return ordered[:limit] + [change for change in ordered[limit:] if last and change.id == last[0].id]


def _of_route(event: Event) -> Change:
    view = event_view(event)
    return Change(
        id=view.id,
        at=view.at,
        area=Area.CANARIES,
        action=view.action,
        subject=view.model,
        actor=view.actor,
        reason=view.reason,
        generation=view.generation,
        before=view.before,
        after=view.after,
    )


def _of_note(note: Note) -> Change:
    return Change(
        id=note.id,
        at=datetime.fromtimestamp(note.at, UTC),
        area=note.area,
        action=note.action,
        subject=note.subject,
        actor=note.actor,
    )
