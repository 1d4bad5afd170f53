"""/admin/v1/events: routes and reports as server-sent events, for consoles and terminals that watch."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from litestar import Router, get
from litestar.response import ServerSentEvent, ServerSentEventMessage

from gateway.api.canary_schemas import report_view, route_view
from gateway.api.documentation import failures
from gateway.auth.scopes import ADMIN_CANARY
from gateway.canary.reports import Reports
from gateway.canary.rollouts import Rollouts
from gateway.canary.route import Route
from gateway.canary.table import Live
from gateway.catalog import Catalog
from gateway.errors import GatewayError
from gateway.store import StoreAway

_INTERVAL = 1.0
_LONGEST = 600.0  # seconds of one stream: its key may have been revoked meanwhile, and clients come back by themselves
_KEEP_ALIVE = 15  # seconds without news


class Watch:
    """What one watcher has been told."""

    def __init__(
        self, rollouts: Rollouts, reports: Reports, catalog: Catalog, clock: Callable[[], float]
    ) -> None:
        self._rollouts = rollouts
        self._reports = reports
        self._catalog = catalog
        self._clock = clock
        self._told: dict[str, int] = {}

    async def messages(self) -> AsyncIterator[ServerSentEventMessage]:
        """Every route at first, then each change, and once a second a report on each rollout that is under way."""
        ends, silent = asyncio.get_running_loop().time() + _LONGEST, 0.0
        while asyncio.get_running_loop().time() < ends:
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
        for model, live in self._routes().items():
            if self._told.get(model) != live.generation:
                self._told[model] = live.generation
                view = route_view(live, self._clock())
                yield ServerSentEventMessage(event="route", data=view.model_dump_json())
            if live.route.under_way:
                report = report_view(await self._reports.of(live))
                yield ServerSentEventMessage(event="report", data=report.model_dump_json())

    def _routes(self) -> Mapping[str, Live[Route]]:
        """As this worker applies them, default ones too."""
        return {card.name: self._rollouts.applied(card.name) for card in self._catalog.cards()}


def live_routes(rollouts: Rollouts, reports: Reports, catalog: Catalog, clock: Callable[[], float]) -> Router:
    @get(
        "/admin/v1/events",
        opt={"scope": ADMIN_CANARY},
        operation_id="events",
        summary="Watch the routes",
        description="Server-sent events: `route` for every route and each change, `report` once a second for rollouts.",
        responses=failures(401, 403, 429),
        tags=["canaries"],
    )
    async def watch() -> ServerSentEvent:
        return ServerSentEvent(Watch(rollouts, reports, catalog, clock).messages())

    return Router("/", route_handlers=[watch])
