"""What can go wrong, as one tree; each refusal carries the gateway's problem (RFC 9457).

GatewayError
├── Unreachable            no answer came
├── Unreadable             an answer came that is not the gateway's, such as a proxy's page of a login
└── Refused                the gateway said no: `status`, `code`, `detail`, `request_id`, `fields`
    ├── InvalidRequest     400, 408, 413, 415, 422: the request has to change
    ├── Unauthenticated    401
    ├── Forbidden          403
    ├── NotFound           404
    ├── RateLimited        429, with `retry_after`
    ├── Overloaded         503, with `retry_after`
    └── ModelFailed        500, 502, 504
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx


class GatewayError(Exception):
    """Whatever this client raises."""


class Unreachable(GatewayError):
    """Nobody answered, or the answer broke off."""


class Unreadable(GatewayError):
    """Something else than the gateway answered, or the answer was damaged on its way. `__cause__` says where."""


class Refused(GatewayError):
    """`retry_after` is in seconds, None where the gateway names no time; `fields` are pointers into the request."""

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: float | None) -> None:
        super().__init__(status, problem, retry_after)  # what a copy and a pickle are made from
        self.status = status
        self.code = _text(problem, "code")
        self.detail = _text(problem, "detail")
        self.request_id = _text(problem, "request_id")
        self.fields = _fields(problem.get("errors"))
        self.retry_after = retry_after

    def __str__(self) -> str:
        reasons = [f"{pointer}: {detail}" for pointer, detail in self.fields.items()] or [self.detail]
        return f"{self.status} {self.code}: {'; '.join(reasons)}"


def _text(problem: Mapping[str, Any], name: str) -> str:
    value = problem.get(name)
    return value if isinstance(value, str) else ""


def _fields(errors: object) -> Mapping[str, str]:
    """Those in the gateway's form; what stands in between may have another one."""
    found = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    return {_text(each, "pointer"): _text(each, "detail") for each in found if "pointer" in each}


class InvalidRequest(Refused):
    """Sending it again is of no use."""


class Unauthenticated(Refused):
    """There is no key, or it does not count."""


class Forbidden(Refused):
    """The key lacks a scope."""


class NotFound(Refused):
    """No such model or version, or not one of the caller's."""


class RateLimited(Refused):
    """The quota is used up for now."""


class Overloaded(Refused):
    """There is no capacity for now."""


class ModelFailed(Refused):
    """The model, or the gateway, did not do it."""


_KINDS: Mapping[int, type[Refused]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    429: RateLimited,
    503: Overloaded,
}
_SERVER = 500


def refusal(response: httpx.Response) -> Refused:
    """The error that an answer of 4xx or 5xx is; one that is not the gateway's own has its phrase as `detail`."""
    status = response.status_code
    kind = _KINDS.get(status, ModelFailed if status >= _SERVER else InvalidRequest)
    try:
        problem = response.json()
    except (ValueError, RecursionError):
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    if not isinstance(problem.get("detail"), str):
        problem = {**problem, "detail": response.reason_phrase}
    return kind(status, problem, retry_after(response))


def retry_after(response: httpx.Response) -> float | None:
    """The seconds that Retry-After asks for; None without it, or where it is a date, which the gateway never sends."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


@contextmanager
def reading() -> Iterator[None]:
    """Raises Unreadable where what is read inside does not have the gateway's form."""
    try:
        yield
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise Unreadable(f"this is no answer of a gateway: {error!r}") from error
