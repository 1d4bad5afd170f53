"""/admin/v1/events: routes and reports as server-sent events, for consoles and terminals that watch."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from litestar import Router, get
from litestar.response import ServerSentEvent, ServerSentEventMessage
from pydantic import BaseModel

from gateway.api.access import Access
from gateway.api.canary_schemas import (
    LoadedVersions,
    WatchQuery,
    report_view,
    route_view,
    traffic_view,
    without_images,
)
from gateway.api.context import Context, HttpRequest, context_of
from gateway.api.documentation import failures
from gateway.api.operations import AdminOperation
from gateway.api.parsing import read_query
from gateway.auth.scopes import ADMIN_CANARY, is_listed
from gateway.canary.counts import KEPT, CountsReader
from gateway.canary.reports import Reports
from gateway.canary.rollouts import Rollouts
from gateway.catalog import Catalog
from gateway.errors import GatewayError, Overloaded
from gateway.serving import Drain
from gateway.store import StoreAway
from gateway.telemetry.timeline import Timeline

_INTERVAL = 1.0
_LONGEST = (
    600.0  # seconds of one stream: clients come back by themselves, to a worker that may have less to do
)
_KEEP_ALIVE = 15  # seconds without news
_SETTLED = 10  # seconds after which a point of traffic does not grow any more


class Watch:
    """What one watcher has been told. `closely` is the model whose traffic it wants to see, too.

    `admitted` answers whether it may still be told, `sees` of which models.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        reports: Reports,
        reader: CountsReader,
        catalog: Catalog,
        clock: Callable[[], float],
        admitted: Callable[[], Awaitable[bool]],
        closely: str | None = None,
        sees: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._rollouts = rollouts
        self._reports = reports
        self._reader = reader
        self._catalog = catalog
        self._clock = clock
        self._admitted = admitted
        self._closely = closely
        self._sees = sees
        self._told: dict[str, int] = {}
        self._loaded: dict[str, list[str]] = {}
        self._settled = 0

    async def messages(self) -> AsyncIterator[ServerSentEventMessage]:
        """Every route at first, then each change, and once a second a report on each rollout that is under way; until
        the watcher may hear no more, or has heard for long."""
        ends, silent = asyncio.get_running_loop().time() + _LONGEST, 0.0
        while await self._admitted() and asyncio.get_running_loop().time() < ends:
            said = False
            try:
                async for message in self._news():
                    said = True
                    yield message
            except (StoreAway, GatewayError):
                yield ServerSentEventMessage(data=None, comment="the routes cannot be read at the moment")
            silent = 0.0 if said else silent + _INTERVAL
            if silent >= _KEEP_ALIVE:
                silent = 0.0
                yield ServerSentEventMessage(data=None, comment="nothing new")
            await asyncio.sleep(_INTERVAL)

    async def _news(self) -> AsyncIterator[ServerSentEventMessage]:
        served = {card.name: list(card.served.versions) for card in self._catalog.callable_cards()}
        loaded = {
            model: served.get(model, []) for model in self._rollouts.models(served) if self._sees(model)
        }
        # Now, since a model may be gone once a message has been sent; default routes too.
        routes = {model: self._rollouts.applied(model) for model in loaded}
        if loaded != self._loaded:
            self._loaded = loaded
            yield _message("models", LoadedVersions(models=loaded))
        for model, live in routes.items():
            if self._told.get(model) != live.generation:
                self._told[model] = live.generation
                yield _message("route", route_view(live, self._clock()))
            if live.route.under_way or model == self._closely:
                yield _message("report", without_images(report_view(await self._reports.of(live))))
            if model == self._closely:
                yield await self._traffic(model)

    async def _traffic(self, model: str) -> ServerSentEventMessage:
        """All that is kept at first, then what may have changed since."""
        reading = await self._reader.read(model, KEPT)
        view = traffic_view(model, reading, self._settled)
        self._settled = reading.now - _SETTLED
        return _message("traffic", view)


def live_routes(
    access: Access,
    rollouts: Rollouts,
    reports: Reports,
    reader: CountsReader,
    catalog: Catalog,
    clock: Callable[[], float],
    drain: Drain,
) -> Router:
    @get(
        "/admin/v1/events",
        opt={"scope": ADMIN_CANARY},
        operation_class=AdminOperation.watching(WatchQuery),
        operation_id="events",
        summary="Watch the routes",
        description="Server-sent events. First and at each change: `models`, the versions that are loaded, and `route` "
        "for every route. Once a second: `report` for each rollout, without images; for the model that is asked for by "
        "name also `traffic`. The stream ends with the credential that began it, and with the process: open it again.",
        responses=failures(422),
        tags=["canaries"],
    )
    async def events(request: HttpRequest) -> ServerSentEvent:
        asked = read_query(request.scope["query_string"], WatchQuery)

        async def admitted() -> bool:
            return not drain.begun and await _is_admitted(access, request)

        sees = partial(is_listed, context_of(request).caller)
        watch = Watch(rollouts, reports, reader, catalog, clock, admitted, asked.model, sees)
        # Litestar's own no-cache would let it be kept.
        return ServerSentEvent(watch.messages(), headers={"Cache-Control": "no-store"})

    return Router("/", route_handlers=[events])


async def _is_admitted(access: Access, request: HttpRequest) -> bool:
    """Whether the credential of this request is still good. Where nobody can tell, it counts as what it was."""
    looked_at = Context(context_of(request).request_id, 0.0, Timeline(time.monotonic))
    try:
        await access.recognise(request, looked_at, ADMIN_CANARY)
    except Overloaded:
        return True
    except GatewayError:
        return False
    return True


def _message(event: str, view: BaseModel) -> ServerSentEventMessage:
    return ServerSentEventMessage(event=event, data=view.model_dump_json())
