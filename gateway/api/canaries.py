"""/admin/v1/canaries: routes are read, set, moved on and taken back here; every change is compare-and-set and logged.

A change needs the ETag of what it changes as `If-Match`. The actions (`promote`, `rollback` and so on) take one and do
not need it: who has to roll back at night should not have to read first.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from litestar import Response, Router, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.api.body import BodyReader
from gateway.api.canary_schemas import (
    CallerList,
    CallerQuery,
    CheckRequest,
    EventList,
    EventQuery,
    PreflightView,
    ReasonRequest,
    Report,
    RouteList,
    RouteRequest,
    RouteView,
    caller_list,
    document_of,
    event_view,
    preflight_view,
    report_view,
    route_view,
)
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import failures
from gateway.api.header_fields import ETAG, GENERATION, IF_MATCH, MAY_MATCH
from gateway.api.operations import AdminOperation
from gateway.api.parsing import load_json_object, read_json, read_query
from gateway.auth.scopes import ADMIN_CANARY, is_listed
from gateway.canary import lifecycle
from gateway.canary.callers import Callers
from gateway.canary.lifecycle import RefusedChange
from gateway.canary.reports import Reports
from gateway.canary.rollouts import Rollouts, Transition
from gateway.canary.route import Route
from gateway.canary.store import Cause, LostRace
from gateway.canary.table import Live
from gateway.canary.wanted import amend, read_wanted
from gateway.catalog import Catalog
from gateway.errors import (
    Overloaded,
    PreconditionFailed,
    PreconditionRequired,
    RouteConflict,
    ValidationFailed,
)
from gateway.store import StoreAway

_ETAG = re.compile(GENERATION)
_CHANGES = (404, 408, 409, 412, 413, 415, 422, 428)


class Desk:
    """What the handlers share: from a request to a change of a route, and back to an answer."""

    def __init__(self, rollouts: Rollouts, bodies: BodyReader, clock: Callable[[], float]) -> None:
        self.rollouts = rollouts
        self.bodies = bodies
        self.clock = clock

    async def body(self, request: HttpRequest) -> str:
        """The request's JSON object, as routes are read. Raises RequestError."""
        async with self.bodies.document(request) as body:
            return document_of(load_json_object(request, body), self.clock())

    async def reason(self, request: HttpRequest) -> str:
        async with self.bodies.document(request) as body:
            return read_json(request, body or b"{}", ReasonRequest).reason

    async def change(
        self, request: HttpRequest, model: str, action: str, transition: Transition, *, reason: str = ""
    ) -> Response[RouteView]:
        """Makes the change that the request asks for. Raises GatewayError."""
        with translated():
            live = await self.rollouts.change(
                model, transition, _cause(request, action, reason), expected=_expected(request)
            )
        return self.answer(live)

    def answer(self, live: Live[Route]) -> Response[RouteView]:
        return Response(route_view(live, self.clock()), headers={"ETag": f'"{live.generation}"'})


def canary_routes(
    rollouts: Rollouts,
    reports: Reports,
    callers: Callers,
    catalog: Catalog,
    bodies: BodyReader,
    clock: Callable[[], float],
) -> Router:
    """The handlers, bound to their collaborators. Every one needs the scope admin:canary. `clock` is the store's."""
    desk = Desk(rollouts, bodies, clock)

    @put(
        "/{model:str}",
        opt={"reads": IF_MATCH, "tells": ETAG},
        operation_class=AdminOperation.taking(RouteRequest),
        summary="Set a route",
        responses=failures(*_CHANGES),
    )
    async def replace(request: HttpRequest, model: FromPath[str]) -> Response[RouteView]:
        _require_generation(request)
        wanted = read_wanted(await desk.body(request))
        salt = lifecycle.new_salt()
        return await desk.change(
            request, model, "put", lambda route: lifecycle.put(route, wanted, desk.clock(), salt)
        )

    @patch(
        "/{model:str}",
        opt={"reads": IF_MATCH, "tells": ETAG},
        operation_class=AdminOperation.taking(RouteRequest),
        summary="Change some of a route (JSON merge patch)",
        responses=failures(*_CHANGES),
    )
    async def amended(request: HttpRequest, model: FromPath[str]) -> Response[RouteView]:
        _require_generation(request)
        change = await desk.body(request)
        salt = lifecycle.new_salt()
        return await desk.change(
            request,
            model,
            "patch",
            lambda route: lifecycle.put(route, amend(route, change), desk.clock(), salt),
        )

    @delete(
        "/{model:str}",
        opt={"reads": IF_MATCH},
        summary="Back to the default route",
        responses=failures(*_CHANGES),
    )
    async def remove(request: HttpRequest, model: FromPath[str]) -> None:
        expected = _require_generation(request)
        with translated():
            await rollouts.delete(model, _cause(request, "delete", ""), expected=expected)

    @post(
        "/{model:str}/check",
        status_code=200,
        operation_class=AdminOperation.taking(CheckRequest),
        summary="Run the pre-flight of a canary alone",
        responses=failures(404, 408, 413, 415, 422),
    )
    async def check(request: HttpRequest, model: FromPath[str]) -> PreflightView:
        async with bodies.document(request) as body:
            wanted = read_json(request, body, CheckRequest)
        with translated():
            route = (await rollouts.standing(model)).route
            if wanted.to == route.stable:
                raise ValidationFailed.of("/to", "This is the stable version.")
            return preflight_view(
                route, wanted.to, await rollouts.preflight.run(model, route.stable, wanted.to)
            )

    @post(
        "/{model:str}/undo",
        status_code=200,
        opt={"reads": MAY_MATCH, "tells": ETAG},
        operation_class=AdminOperation.taking(ReasonRequest),
        summary="Take the last change back",
        responses=failures(*_CHANGES),
    )
    async def undo(request: HttpRequest, model: FromPath[str]) -> Response[RouteView]:
        cause = _cause(request, "undo", await desk.reason(request))
        with translated():
            return desk.answer(await rollouts.undo(model, desk.clock, cause, expected=_expected(request)))

    return Router(
        "/admin/v1/canaries",
        route_handlers=[
            replace,
            amended,
            remove,
            check,
            undo,
            *_views(desk, reports, callers, catalog),
            *_actions(desk),
        ],
        opt={"scope": ADMIN_CANARY},
        tags=["canaries"],
    )


def _views(desk: Desk, reports: Reports, callers: Callers, catalog: Catalog) -> list[HTTPRouteHandler]:
    """What changes nothing."""
    rollouts = desk.rollouts

    @get("/", summary="List the routes of all models", responses=failures())
    async def listed(request: HttpRequest) -> RouteList:
        caller = context_of(request).caller
        with translated():
            await rollouts.table.refresh()  # nobody else tells of a rollout whose model is not served
            known = rollouts.models(card.name for card in catalog.callable_cards())
            names = [name for name in known if is_listed(caller, name)]
            routes = [await rollouts.standing(name) for name in names]
        return RouteList(canaries=[route_view(live, desk.clock()) for live in routes])

    @get("/{model:str}", opt={"tells": ETAG}, summary="Show a route", responses=failures(404))
    async def show(model: FromPath[str]) -> Response[RouteView]:
        with translated():
            return desk.answer(await rollouts.standing(model))

    @get(
        "/{model:str}/report",
        summary="What is known of a rollout",
        responses=failures(404),
    )
    async def report(model: FromPath[str]) -> Report:
        with translated():
            return report_view(await reports.of(await rollouts.standing(model)))

    @get(
        "/{model:str}/events",
        operation_class=AdminOperation.asking(EventQuery),
        summary="The log of a route",
        responses=failures(404, 422),
    )
    async def events(request: HttpRequest, model: FromPath[str]) -> EventList:
        asked = read_query(request.scope["query_string"], EventQuery)
        with translated():
            await rollouts.standing(model)  # a model that there is not has no log
            found = await rollouts.events(model, limit=asked.limit, after=asked.after, before=asked.before)
        return EventList(events=[event_view(event) for event in found])

    @get(
        "/{model:str}/callers",
        operation_class=AdminOperation.asking(CallerQuery),
        summary="Who still calls a deprecated version",
        responses=failures(404, 422),
    )
    async def still_calling(request: HttpRequest, model: FromPath[str]) -> CallerList:
        asked = read_query(request.scope["query_string"], CallerQuery)
        with translated():
            await rollouts.standing(model)
            return caller_list(await callers.of(model, asked.version))

    return [listed, show, report, events, still_calling]


def _actions(desk: Desk) -> list[HTTPRouteHandler]:
    """One POST handler for each transition that needs nothing but the route."""

    def action(name: str, summary: str, transition: Callable[[Route, str], Route]) -> HTTPRouteHandler:
        @post(
            f"/{{model:str}}/{name}",
            status_code=200,
            opt={"reads": MAY_MATCH, "tells": ETAG},
            operation_class=AdminOperation.taking(ReasonRequest),
            operation_id=f"canary_{name}",
            summary=summary,
            responses=failures(*_CHANGES),
        )
        async def handler(request: HttpRequest, model: FromPath[str]) -> Response[RouteView]:
            reason = await desk.reason(request)
            return await desk.change(
                request, model, name, lambda route: transition(route, reason), reason=reason
            )

        return handler

    now = desk.clock
    return [
        action(
            "promote",
            "The canary becomes the stable version",
            lambda route, _: lifecycle.promote(route, now()),
        ),
        action(
            "rollback",
            "Everybody back to the stable version",
            lambda route, reason: lifecycle.rollback(route, reason or "Rolled back by hand.", now()),
        ),
        action("pause", "The plan waits at its weight", lambda route, _: lifecycle.pause(route, now())),
        action("resume", "The plan goes on", lambda route, _: lifecycle.resume(route, now())),
        action("abort", "End the rollout without a verdict", lambda route, _: lifecycle.abort(route, now())),
        action("freeze", "Nothing but a rollback passes", lambda route, _: lifecycle.freeze(route)),
        action("unfreeze", "Changes pass again", lambda route, _: lifecycle.unfreeze(route)),
    ]


def _cause(request: HttpRequest, action: str, reason: str) -> Cause:
    return Cause(context_of(request).caller.id, action, reason)


def _expected(request: HttpRequest) -> int | None:
    """The generation that If-Match names; None without one, or with *. Raises ValidationFailed for anything else."""
    text = request.headers.get("if-match")
    if text is None or text.strip() == "*":
        return None
    found = _ETAG.fullmatch(text.strip())
    if found is None:
        raise ValidationFailed.of("If-Match", "One ETag, as a GET of the route answers it.")
    return int(found[1])


def _require_generation(request: HttpRequest) -> int:
    expected = _expected(request)
    if expected is None:
        raise PreconditionRequired("Say by If-Match which generation of the route this changes.")
    return expected


@contextmanager
def translated() -> Iterator[None]:
    """What the canary says, in the words of the API."""
    try:
        yield
    except LostRace as error:
        raise PreconditionFailed(f"The route is at generation {error.current}.") from None
    except RefusedChange as error:
        raise RouteConflict(str(error)) from None
    except StoreAway as error:
        raise Overloaded(
            f"Redis, where the routes are kept, {error.state}; the last ones go on.",
            retry_after=2,
            internal=str(error),
        ) from None
