"""Errors as HTTP: the one table from what went wrong to a status, and RFC 9457 problem details.

The table is also what `/problems/<code>` shows, so a code, its status and what to do about it stand in one place.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.types import HTTPScope, Receive, Send

from gateway.api.context import HttpRequest, context_of
from gateway.api.head import allowed
from gateway.errors import (
    ClientDisconnected,
    GatewayError,
    ReasonedError,
    RequestError,
    UpstreamError,
    ValidationFailed,
)
from gateway.schemas import FieldProblem, InputProblem, Problem, ProtocolError

MEDIA_TYPE = "application/problem+json"
PROTOCOL = "/v2"

_log = structlog.stdlib.get_logger("gateway.problems")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code means: HTTP status, title, and what the caller can do."""

    status: int
    title: str
    remedy: str


_IMAGE = "Send a complete JPEG, PNG or WebP. In a batch only this image goes unanswered."
_WAIT = "Try again after the seconds in Retry-After."
_OPERATOR = "Nothing in the request causes this; tell the operator the request_id."

KINDS: Mapping[str, Kind] = {
    "malformed_http": Kind(
        400, "Malformed HTTP", "Let your HTTP library write the request: HTTP/1.1, a path, one Host."
    ),
    "malformed_json": Kind(
        400, "Malformed JSON", "Send one JSON document in UTF-8, without duplicate keys or NaN."
    ),
    "malformed_multipart": Kind(
        400, "Malformed multipart body", "Let your HTTP library build the form and its boundary."
    ),
    "bad_request": Kind(400, "Bad request", "Check the request line and the headers."),
    "ambiguous_credentials": Kind(
        400, "Ambiguous credentials", "Send either Authorization or X-API-Key, not both."
    ),
    "unauthenticated": Kind(
        401, "Authentication required", "Send a key as Authorization: Bearer or X-API-Key."
    ),
    "invalid_key": Kind(401, "Invalid key", "Use a key that is complete, not revoked and not expired."),
    "invalid_token": Kind(401, "Invalid token", "Get a new token; tokens live for minutes."),
    "session_changed": Kind(401, "Session changed", "Load the console again: it shows who is signed in now."),
    "forbidden": Kind(403, "Forbidden", "Ask for a key with the scope that detail names."),
    "not_found": Kind(404, "Not found", "See /docs for the paths that exist."),
    "model_not_found": Kind(404, "Model not found", "GET /v1/models lists the models that you may use."),
    "version_not_found": Kind(404, "Version not found", "GET /v1/models lists the versions that are loaded."),
    "key_not_found": Kind(404, "Key not found", "GET /admin/v1/keys lists the keys."),
    "key_conflict": Kind(
        409,
        "Key conflict",
        "Make a new key: a revoked one stays so, and one that cannot be read can only be revoked.",
    ),
    "route_conflict": Kind(409, "Route conflict", "GET the route; detail says what stands in the way."),
    "preflight_failed": Kind(409, "Pre-flight failed", "Mend what reasons names, then try again."),
    "model_in_use": Kind(
        409, "Model in use", "Move what reasons names elsewhere first, or send force if it has to be."
    ),
    "model_not_loaded": Kind(
        409,
        "Model not loaded",
        "GET the model for Triton's reason, mend its folder or the change, load it again.",
    ),
    "control_disabled": Kind(
        409,
        "Model control disabled",
        "Start Triton with --model-control-mode=explicit to load and unload models.",
    ),
    "precondition_failed": Kind(
        412, "Precondition failed", "Somebody changed it first: GET it again and decide anew."
    ),
    "upgrade_required": Kind(426, "Upgrade required", "Open a WebSocket at this path: wss://…, or ws://…."),
    "precondition_required": Kind(
        428, "Precondition required", "GET it, and send its ETag back as If-Match with the change."
    ),
    "method_not_allowed": Kind(405, "Method not allowed", "Use one of the methods in the Allow header."),
    "request_timeout": Kind(408, "Request timeout", "Send the whole request without pauses."),
    "body_too_large": Kind(413, "Body too large", "Send a smaller body: fewer images, or smaller ones."),
    "image_too_large": Kind(413, "Image too large", "Scale the image down before sending it."),
    "uri_too_long": Kind(414, "URI too long", "Send options in the body instead of the query."),
    "unsupported_media_type": Kind(
        415,
        "Unsupported media type",
        "Send image/jpeg, image/png, image/webp, multipart/form-data or application/json.",
    ),
    "unsupported_encoding": Kind(
        415, "Unsupported encoding", "Send the body uncompressed; images are compressed."
    ),
    "unsupported_image_format": Kind(
        415, "Unsupported image format", "Convert the image to JPEG, PNG or WebP."
    ),
    "validation_failed": Kind(422, "Validation failed", "Mend the fields in errors; /docs shows the schema."),
    "url_not_allowed": Kind(
        422, "URL not allowed", "Send the image itself, or ask the operator to allow its host."
    ),
    "image_fetch_failed": Kind(
        422,
        "Image not fetched",
        "See that its host answers soon and without a login, or send the image itself.",
    ),
    "invalid_base64": Kind(
        422,
        "Invalid base64",
        "Use the standard alphabet with padding, without line breaks or a data: prefix.",
    ),
    "image_missing": Kind(422, "Image missing", "Name at least one part of the form image."),
    "image_empty": Kind(422, "Image empty", _IMAGE),
    "image_truncated": Kind(422, "Image truncated", _IMAGE),
    "image_undecodable": Kind(422, "Image undecodable", _IMAGE),
    "stream_ended": Kind(408, "Stream ended", "Open it again; a new stream can follow at once."),
    "headers_too_large": Kind(431, "Headers too large", "Send fewer and shorter headers."),
    "rate_limited": Kind(
        429, "Rate limited", "Slow down; RateLimit says what is left, Retry-After when to go on."
    ),
    "client_closed_request": Kind(499, "Client closed request", "The answer was not sent: nobody was there."),
    "internal_error": Kind(500, "Internal error", _OPERATOR),
    "upstream_error": Kind(502, "Model failed", _OPERATOR),
    "upstream_contract_violation": Kind(502, "Model refused the request", _OPERATOR),
    "upstream_invalid_response": Kind(502, "Model answered nonsense", _OPERATOR),
    "gateway_misconfigured": Kind(502, "Gateway misconfigured", _OPERATOR),
    "overloaded": Kind(503, "Overloaded", _WAIT),
    "upstream_unavailable": Kind(503, "Inference server unavailable", _WAIT),
    "upstream_overloaded": Kind(503, "Inference server overloaded", _WAIT),
    "draining": Kind(503, "Gateway restarting", _WAIT),
    "upstream_draining": Kind(503, "Inference server restarting", _WAIT),
    "model_unavailable": Kind(503, "Model unavailable", _WAIT),
    "deadline_exceeded": Kind(504, "Deadline exceeded", "Try again, or send fewer or smaller images."),
}
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


def input_problem(error: GatewayError) -> InputProblem:
    """The error of one input in a batch."""
    kind = KINDS[error.code]
    return InputProblem(
        type=f"/problems/{error.code}",
        title=kind.title,
        status=kind.status,
        detail=str(error),
        code=error.code,
    )


def described(
    code: str,
    detail: str,
    instance: str,
    request_id: str,
    errors: list[FieldProblem] | None = None,
    reasons: list[str] | None = None,
) -> Problem:
    """The problem document of a code."""
    kind = KINDS[code]
    return Problem(
        type=f"/problems/{code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=instance,
        code=code,
        request_id=request_id,
        errors=errors,
        reasons=reasons,
    )


def fields_of(error: GatewayError) -> list[FieldProblem] | None:
    """The fields that are wrong, where it is about fields."""
    fields = error.errors if isinstance(error, ValidationFailed) else ()
    return [FieldProblem(pointer=field.pointer, detail=field.detail) for field in fields] or None


def log_failure(error: GatewayError) -> None:
    """What the caller is not told goes into the log; where it was raised is needed no longer."""
    if isinstance(error, UpstreamError):
        _log.warning("upstream_failure", code=error.code, reason=error.internal)
    elif error.internal:
        # What a caller did wrong is no warning: anybody could fill the log with them.
        log = _log.info if isinstance(error, RequestError) else _log.warning
        log("request_failed", code=error.code, reason=error.internal)
    _forget_where(error)


def log_bug(error: Exception) -> None:
    """With its trace, which is needed no longer."""
    _log.error("internal_error", exc_info=error)
    _forget_where(error)


def _forget_where(error: BaseException | None) -> None:
    """An error holds the frames that it went through, with the request's body, and they hold it: that would stay until
    Python looks for garbage, which is seldom (`_YOUNG` in gateway.app).
    """
    while error is not None:
        before, error.__context__, error.__traceback__ = error.__context__, None, None
        error = before


def from_gateway(request: HttpRequest, error: GatewayError) -> Response[bytes]:
    """Litestar's handler for everything that the gateway raises on purpose."""
    log_failure(error)
    headers = {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    if KINDS[error.code].status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="gateway"'
    if KINDS[error.code].status == 426:
        headers |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    if KINDS[error.code].status in (408, 413) or isinstance(error, ClientDisconnected):
        headers["Connection"] = "close"  # part of the body may still be on its way
    reasons = list(error.reasons) if isinstance(error, ReasonedError) and error.reasons else None
    return _response(request, error.code, str(error), headers, fields_of(error), reasons)


async def refuse(error: GatewayError | HTTPException, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """The same answer, from outside the router, whose handlers do not see what is refused there."""
    request = HttpRequest(scope, receive)
    answer = (
        from_gateway(request, error) if isinstance(error, GatewayError) else from_litestar(request, error)
    )
    await answer.to_asgi_response(None, request)(scope, receive, send)


def from_litestar(request: HttpRequest, error: HTTPException) -> Response[bytes]:
    """Litestar's handler for what its router raises; its own words are replaced, they may hold caller text."""
    if error.status_code >= 500:
        return from_bug(request, error)
    code = _HTTP_CODES.get(error.status_code, "bad_request")
    allow = (error.headers or {}).get("allow")
    details = {
        "not_found": "There is nothing at this path.",
        "method_not_allowed": "This path does not answer to this method.",
    }
    return _response(
        request,
        code,
        details.get(code, "The request cannot be read."),
        {"Allow": allowed(allow)} if allow else {},
    )


def from_bug(request: HttpRequest, error: Exception) -> Response[bytes]:
    """Whatever nobody foresaw: logged with its trace, told without it."""
    log_bug(error)
    return _response(request, "internal_error", "Something went wrong here.", {})


def speaks_protocol(request: HttpRequest) -> bool:
    """Whether the caller expects the Open Inference Protocol's own form of errors."""
    path = request.scope["path"]
    return path == PROTOCOL or path.startswith(f"{PROTOCOL}/")


def _protocol_error(
    kind: Kind, detail: str, headers: Mapping[str, str], errors: Sequence[FieldProblem]
) -> Response[bytes]:
    """One sentence, which is all that its clients show. It knows one status for a request that is not right."""
    fields = "; ".join(f"{field.pointer or 'body'}: {field.detail}" for field in errors)
    body = ProtocolError(error=fields or detail).model_dump_json().encode()
    status = 400 if kind.status == 422 else kind.status
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _response(
    request: HttpRequest,
    code: str,
    detail: str,
    headers: Mapping[str, str],
    errors: list[FieldProblem] | None = None,
    reasons: list[str] | None = None,
) -> Response[bytes]:
    kind = KINDS[code]
    context = context_of(request)
    context.code = code
    if speaks_protocol(request):
        return _protocol_error(kind, detail, headers, errors or ())
    problem = described(code, detail, request.scope["path"], context.request_id, errors, reasons)
    body = problem.model_dump_json(exclude_none=True).encode()
    return Response(body, status_code=kind.status, headers=headers, media_type=MEDIA_TYPE)
