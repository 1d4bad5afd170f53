"""What the outermost layer knows of a request, for those further in: its id, when it began, where its time goes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Headers
from litestar.types import HTTPScope, WebSocketScope

from gateway.domain import Principal, Priority
from gateway.errors import Unauthenticated
from gateway.ratelimit import Decision
from gateway.telemetry.requests import Finished
from gateway.telemetry.timeline import Timeline

HttpRequest = Request[Any, Any, Any]
Connection = ASGIConnection[Any, Any, Any, Any]

_KEY = "gateway"


class KnownRequest(HttpRequest):
    """Litestar's looks its headers up anew whenever it is asked, which is a dozen times on the path."""

    @cached_property
    def headers(self) -> Headers:
        return Headers.from_scope(self.scope)


@dataclass(slots=True)
class Context:
    """`started` is on the monotonic clock, in seconds. The rest is filled in on the way.

    `payload` and `images` are sizes in bytes, of the body and of each image in it.
    `decisions` are those of the quotas, the door's first. `calls` are those to Triton; they may outlast the request.
    `at_end` is called when the request and its calls are over, with the status of the answer; 0 where there was none.
    """

    request_id: str
    started: float
    timeline: Timeline
    code: str | None = None
    priority: Priority | None = None
    principal: Principal | None = None
    payload: int | None = None
    images: Sequence[int] = ()
    decisions: list[Decision] = field(default_factory=list)
    calls: list["asyncio.Future[Any]"] = field(default_factory=list)
    at_end: list[Callable[[int], None]] = field(default_factory=list)

    @property
    def caller(self) -> Principal:
        """Who calls; handlers behind `Access` always have one."""
        if self.principal is None:
            raise Unauthenticated("Send a key as Authorization: Bearer or X-API-Key.")
        return self.principal

    def finished(self, route: str, status: int, now: float) -> Finished:
        """What is counted of it at its end; `now` is on the clock of `started`."""
        return Finished(
            route=route,
            status=status,
            problem=self.code,
            priority=self.priority,
            seconds=now - self.started,
            timeline=self.timeline,
            payload=self.payload,
            images=self.images,
        )

    def end(self, status: int) -> None:
        """Settles the request, now or when the last of its calls ends."""
        running = [call for call in self.calls if not call.done()]
        if running:
            asyncio.gather(*running, return_exceptions=True).add_done_callback(lambda _: self._settle(status))
        else:
            self._settle(status)

    def _settle(self, status: int) -> None:
        self.calls.clear()  # the connection keeps this for as long as it is idle, and one that failed keeps its tensors
        for settle in self.at_end:
            settle(status)
        self.at_end.clear()  # they know this context: in a circle it would be left to the collector of garbage


def attach(scope: HTTPScope | WebSocketScope, context: Context) -> None:
    """Leaves the context where `context_of` finds it."""
    scope.setdefault("state", {})[_KEY] = context


def context_of(request: Connection) -> Context:
    context: Context = request.scope["state"][_KEY]
    return context
