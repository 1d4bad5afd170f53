"""What the outermost layer knows of a request, for those further in: its id and when it began."""

from dataclasses import dataclass
from typing import Any

from litestar import Request
from litestar.types import HTTPScope

HttpRequest = Request[Any, Any, Any]

_KEY = "gateway"


@dataclass(slots=True)
class Context:
    """`started` is on the monotonic clock, in seconds. The rest is filled in on the way, for the access line."""

    request_id: str
    started: float
    code: str | None = None
    model: str | None = None
    version: str | None = None


def attach(scope: HTTPScope, context: Context) -> None:
    """Leaves the context where `context_of` finds it."""
    scope.setdefault("state", {})[_KEY] = context


def context_of(request: HttpRequest) -> Context:
    context: Context = request.scope["state"][_KEY]
    return context
