"""Everything that can go wrong, as one tree; it knows neither HTTP nor gRPC.

GatewayError
├── RequestError                    the caller has to change the request
│   ├── MalformedHttp               what came is no request, or one that others would read otherwise
│   ├── HeadersTooLarge
│   ├── UriTooLong
│   ├── MalformedJson
│   ├── MalformedMultipart
│   ├── ValidationFailed            carries the fields that are wrong
│   ├── BodyTooLarge
│   ├── RequestTimeout              not all of it came in time
│   │   ├── HeadTimeout
│   │   └── BodyTimeout
│   ├── UpgradeRequired             a WebSocket's path, asked as if it were a page
│   ├── StreamEnded                 no frame came for too long, or it was open for as long as one may be
│   ├── ClientDisconnected
│   ├── UnsupportedMediaType
│   ├── UnsupportedEncoding
│   ├── AmbiguousCredentials
│   ├── Unauthenticated             no credential at all
│   ├── InvalidKey                  never says which part is wrong
│   ├── InvalidToken
│   ├── SessionChanged              it means the session of one key, and the cookie is another's
│   ├── Forbidden                   a scope is missing
│   ├── RateLimited                 the caller's own quota
│   ├── KeyNotFound
│   ├── KeyConflict                 a key that is revoked, or cannot be read, cannot be changed
│   ├── RouteConflict               the route cannot change like this now
│   ├── PreflightFailed             the canary is not fit for traffic; carries the reasons
│   ├── PreconditionRequired        a change without the generation that it changes
│   ├── PreconditionFailed          somebody else changed it first
│   ├── ModelInUse                  a route or a default needs it
│   ├── ModelNotLoaded              Triton tried and could not
│   ├── ControlDisabled             Triton loads and unloads nothing when asked
│   ├── ModelNotFound
│   ├── VersionNotFound
│   └── InputError                  one input of the request is at fault; in a batch the others still answer
│       ├── InvalidBase64
│       ├── UrlNotAllowed
│       ├── ImageFetchFailed
│       ├── ImageMissing
│       ├── ImageEmpty
│       ├── ImageTooLarge
│       ├── ImageTruncated
│       ├── ImageUndecodable
│       └── UnsupportedImageFormat
├── DeadlineExceeded
│   └── QueueTimeout                it expired in Triton's queue
├── Overloaded                      our own capacity; the same request may work in a moment
└── UpstreamError                   Triton's side
    ├── UpstreamUnavailable         nobody answers
    │   ├── ConnectionFailed        the call did not get through, or its connection broke
    │   ├── CallCancelled           the server gave the call up
    │   └── OutOfService            it failed too often, and is left alone for a moment
    ├── UpstreamOverloaded          its queue is full
    ├── UpstreamDraining            it is shutting down
    ├── ModelUnavailable            it is up, this model or version is not
    │   ├── ModelDeclines           it says so itself, of this call
    │   └── BackendDied             its process is gone, and stays so until the model is loaded again
    ├── UpstreamFailed              the model raised an error
    ├── UpstreamContractViolation   it refused what we sent
    ├── UpstreamInvalidResponse     it said OK, and the answer is not one
    └── GatewayMisconfigured        it refused us, not the request

`code` is the stable name that callers program against (a kind without one of its own goes by its parent's);
`str(error)` is a sentence for the caller. What must not reach the caller (Triton's own text, addresses) goes into
`internal` and from there into the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class GatewayError(Exception):
    """The root. `retry_after` is in seconds, or None where waiting does not help."""

    code: ClassVar[str]

    def __init__(self, detail: str, *, retry_after: float | None = None, internal: str = "") -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        self.internal = internal


class RequestError(GatewayError):
    """The caller has to change the request."""


class MalformedHttp(RequestError):
    code = "malformed_http"


class HeadersTooLarge(RequestError):
    code = "headers_too_large"


class UriTooLong(RequestError):
    code = "uri_too_long"


class MalformedJson(RequestError):
    code = "malformed_json"


class MalformedMultipart(RequestError):
    code = "malformed_multipart"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong: `pointer` is a JSON pointer (RFC 6901) into the body, or `?name` for a query option."""

    pointer: str
    detail: str


class ValidationFailed(RequestError):
    code = "validation_failed"

    def __init__(self, detail: str, errors: Sequence[FieldError], *, internal: str = "") -> None:
        super().__init__(detail, internal=internal)
        self.errors = tuple(errors)

    @classmethod
    def of(cls, pointer: str, detail: str, *, internal: str = "") -> "ValidationFailed":
        """The common case of a single wrong field."""
        return cls(detail, [FieldError(pointer, detail)], internal=internal)


class BodyTooLarge(RequestError):
    code = "body_too_large"


class RequestTimeout(RequestError):
    """Not all of it came in time."""

    code = "request_timeout"


class HeadTimeout(RequestTimeout):
    """The first line and the headers."""


class BodyTimeout(RequestTimeout):
    """The body."""


class UpgradeRequired(RequestError):
    code = "upgrade_required"


class StreamEnded(RequestError):
    code = "stream_ended"


class ClientDisconnected(RequestError):
    code = "client_closed_request"


class UnsupportedMediaType(RequestError):
    code = "unsupported_media_type"


class UnsupportedEncoding(RequestError):
    code = "unsupported_encoding"


class AmbiguousCredentials(RequestError):
    code = "ambiguous_credentials"


class Unauthenticated(RequestError):
    code = "unauthenticated"


class InvalidKey(RequestError):
    code = "invalid_key"


class InvalidToken(RequestError):
    code = "invalid_token"


class SessionChanged(RequestError):
    code = "session_changed"


class Forbidden(RequestError):
    code = "forbidden"


class RateLimited(RequestError):
    code = "rate_limited"


class KeyNotFound(RequestError):
    code = "key_not_found"


class KeyConflict(RequestError):
    code = "key_conflict"


class RouteConflict(RequestError):
    code = "route_conflict"


class ReasonedError(RequestError):
    """One that has several reasons, each a sentence for whoever may act on it."""

    def __init__(self, detail: str, reasons: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.reasons = tuple(reasons)


class PreflightFailed(ReasonedError):
    code = "preflight_failed"


class PreconditionRequired(RequestError):
    code = "precondition_required"


class PreconditionFailed(RequestError):
    code = "precondition_failed"


class ModelInUse(ReasonedError):
    code = "model_in_use"


class ModelNotLoaded(ReasonedError):
    code = "model_not_loaded"


class ControlDisabled(RequestError):
    code = "control_disabled"


class ModelNotFound(RequestError):
    code = "model_not_found"


class VersionNotFound(RequestError):
    code = "version_not_found"


class InputError(RequestError):
    """One input is at fault; in a batch it carries this error while the others answer."""


class InvalidBase64(InputError):
    code = "invalid_base64"


class UrlNotAllowed(InputError):
    code = "url_not_allowed"


class ImageFetchFailed(InputError):
    code = "image_fetch_failed"


class ImageMissing(InputError):
    code = "image_missing"


class ImageEmpty(InputError):
    code = "image_empty"


class ImageTooLarge(InputError):
    code = "image_too_large"


class ImageTruncated(InputError):
    code = "image_truncated"


class ImageUndecodable(InputError):
    code = "image_undecodable"


class UnsupportedImageFormat(InputError):
    code = "unsupported_image_format"


class DeadlineExceeded(GatewayError):
    code = "deadline_exceeded"


class QueueTimeout(DeadlineExceeded):
    """It expired in Triton's queue, which says nothing against the model."""


class Overloaded(GatewayError):
    code = "overloaded"


class Draining(GatewayError):
    """This process ends, and its time for what was under way is over."""

    code = "draining"


class UpstreamError(GatewayError):
    """Triton's side; the caller's request may be fine."""


class UpstreamUnavailable(UpstreamError):
    code = "upstream_unavailable"


class ConnectionFailed(UpstreamUnavailable):
    """The call did not get through, or its connection broke: the same call may work at once."""


class CallCancelled(UpstreamUnavailable):
    """The server gave the call up."""


class OutOfService(UpstreamUnavailable):
    """The breaker is open: nothing was called."""


class UpstreamOverloaded(UpstreamError):
    code = "upstream_overloaded"


class UpstreamDraining(UpstreamError):
    code = "upstream_draining"


class ModelUnavailable(UpstreamError):
    code = "model_unavailable"


class ModelDeclines(ModelUnavailable):
    """The model itself says that it is unavailable: of this call, and of no other."""


class BackendDied(ModelUnavailable):
    """The process that runs the model is gone; Triton starts it again only when the model is loaded again. `process` is
    Triton's name for it; of an ensemble it is that of a step.
    """

    process = ""


class UpstreamFailed(UpstreamError):
    code = "upstream_error"


class UpstreamContractViolation(UpstreamError):
    """`said` is the model's own sentence, for whoever wrote the tensors; it may name them, and no more than them."""

    code = "upstream_contract_violation"
    said = ""


class UpstreamInvalidResponse(UpstreamError):
    code = "upstream_invalid_response"


class GatewayMisconfigured(UpstreamError):
    code = "gateway_misconfigured"
