"""What the outermost layer knows of a request, for those further in: its id and when it began."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.types import HTTPScope

from gateway.domain import Principal, Priority, Tier
from gateway.errors import Unauthenticated
from gateway.ratelimit import Decision

HttpRequest = Request[Any, Any, Any]
Connection = ASGIConnection[Any, Any, Any, Any]

_KEY = "gateway"


@dataclass(slots=True)
class Context:
    """`started` is on the monotonic clock, in seconds. The rest is filled in on the way.

    `at_end` is called with the status of the answer when the request is over; 0 where there was none.
    """

    request_id: str
    started: float
    code: str | None = None
    model: str | None = None
    version: str | None = None
    priority: Priority | None = None
    principal: Principal | None = None
    tier: Tier | None = None
    decision: Decision | None = None
    at_end: list[Callable[[int], None]] = field(default_factory=list)

    @property
    def caller(self) -> Principal:
        """The authenticated caller; handlers behind `Access` always have one."""
        if self.principal is None:
            raise Unauthenticated("Send a key as Authorization: Bearer or X-API-Key.")
        return self.principal

    @property
    def caller_tier(self) -> Tier:
        """The tier of the authenticated caller."""
        if self.tier is None:
            raise Unauthenticated("Send a key as Authorization: Bearer or X-API-Key.")
        return self.tier


def attach(scope: HTTPScope, context: Context) -> None:
    """Leaves the context where `context_of` finds it."""
    scope.setdefault("state", {})[_KEY] = context


def context_of(request: Connection) -> Context:
    context: Context = request.scope["state"][_KEY]
    return context
