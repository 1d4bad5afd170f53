"""What a failed gRPC call means, by status code and by Triton's message.

The code alone does not say: Triton answers UNAVAILABLE for a full queue, an expired queue timeout, a shutdown, a
model that is not ready, a wrong restricted-protocol key and a dead connection alike. Anything that Triton refuses in
a request which the gateway built is the gateway's fault, so INVALID_ARGUMENT is a 502 and never the caller's 400.

A message may be a model's own, which quotes what a caller sent. So Triton's sentences count only where they are the
whole of it, behind what Triton itself puts before them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from gateway.errors import (
    BackendDied,
    BodyTooLarge,
    CallCancelled,
    ConnectionFailed,
    DeadlineExceeded,
    GatewayError,
    GatewayMisconfigured,
    ModelDeclines,
    ModelUnavailable,
    QueueTimeout,
    UpstreamContractViolation,
    UpstreamDraining,
    UpstreamFailed,
    UpstreamInvalidResponse,
    UpstreamOverloaded,
    UpstreamUnavailable,
)

UNKNOWN_MODEL = "Request for unknown model"  # how Triton begins to speak of one that is not there

_LONGEST_SAID = 500
_STUB = re.compile(r"Stub process '([^']*)' is not healthy\.?")
_PATH = re.compile(r"(?:/[\w.@-]+){2,}/?")


@dataclass(frozen=True, slots=True)
class _Meaning:
    error: type[GatewayError]
    detail: str
    retry_after: float | None = None


_AWAY = _Meaning(UpstreamUnavailable, "The inference server does not answer.", 1)
_UNREACHABLE = _Meaning(ConnectionFailed, "The inference server cannot be reached.", 1)
_GIVEN_UP = _Meaning(CallCancelled, "The inference server gave the request up.", 1)
_QUEUE_FULL = _Meaning(UpstreamOverloaded, "The model's queue is full.", 1)
_TOO_LATE = _Meaning(DeadlineExceeded, "The model did not answer in time.")
_QUEUED_TOO_LONG = _Meaning(QueueTimeout, "The model was not free in time.")
_DRAINING = _Meaning(UpstreamDraining, "The inference server is shutting down.", 2)
_NOT_READY = _Meaning(ModelUnavailable, "This model cannot be served at the moment.", 2)
_DECLINED = _Meaning(ModelDeclines, "The model says that it is unavailable.", 1)
_DEAD = _Meaning(BackendDied, "This model cannot be served at the moment.", 2)
_LOCKED_OUT = _Meaning(GatewayMisconfigured, "The inference server refuses the gateway.")
_FAILED = _Meaning(UpstreamFailed, "The model failed on this request.")
_REFUSED = _Meaning(UpstreamContractViolation, "The inference server refused the gateway's request.")
_OVERSIZED_ANSWER = _Meaning(UpstreamInvalidResponse, "The model's answer is too large.")
_OVERSIZED_REQUEST = _Meaning(BodyTooLarge, "The request is too large for the inference server.")

_BEFORE = r"(?:\[request id: [^\]]*\] |in ensemble '[^']*', )*"


def _says(sentence: str) -> re.Pattern[str]:
    """Triton's own sentence, on one line and from the begin to the end."""
    return re.compile(_BEFORE + sentence)


# Searched in order.
_BY_SENTENCE: Mapping[grpc.StatusCode, tuple[tuple[re.Pattern[str], _Meaning], ...]] = {
    grpc.StatusCode.UNAVAILABLE: (
        (_says("Exceeds maximum queue size"), _QUEUE_FULL),
        (_says("Request timeout expired"), _QUEUED_TOO_LONG),
        (_says("Server is stopping.*"), _DRAINING),
        (_says("Server exiting.*"), _DRAINING),
        (_says("GRPC server is shutting down.*"), _DRAINING),
        (_says("Server not ready"), _NOT_READY),
        (_says(f"{UNKNOWN_MODEL}: .* is not at ready state"), _NOT_READY),
        (_says("This protocol is restricted.*"), _LOCKED_OUT),
        (re.compile(""), _AWAY),  # a model says something
    ),
    grpc.StatusCode.INTERNAL: ((_says(_STUB.pattern), _DEAD),),
    # Only models that the catalog holds are ever called, so this is a model that has just gone, or a draining server.
    grpc.StatusCode.NOT_FOUND: ((_says(f"{UNKNOWN_MODEL}: .*"), _NOT_READY),),
}

# What gRPC, or a proxy between, says of an outage. Any other word is a model's own.
_OUTAGES = (
    "to all backends",
    "errors resolving",
    "DNS resolution failed",
    "No route to host",
    "unreachable",
    "timed out",
    "andshake",
    "Received http2 header with status",
    "RST_STREAM",
    "Cancelling all calls",
    "Endpoint closing",
    "ransport closed",
    "hannel shutdown",
    "hannel closed",
    "ubchannel disconnected",
    "Ping timeout",
    "eepalive",
    "FD Shutdown",
    "FD shutdown",
    "upstream connect error",
    "no healthy upstream",
)

# gRPC's own words, anywhere in its messages: a connection that could not be made or did not last, and sizes.
_BY_WORDS: Mapping[grpc.StatusCode, tuple[tuple[str, _Meaning], ...]] = {
    grpc.StatusCode.UNAVAILABLE: (
        ("failed to connect to all addresses", _UNREACHABLE),
        ("Connection refused", _UNREACHABLE),
        ("Connection reset", _UNREACHABLE),
        ("Broken pipe", _UNREACHABLE),
        ("Socket closed", _UNREACHABLE),
        ("Stream removed", _UNREACHABLE),
        ("GOAWAY", _UNREACHABLE),
        *((words, _AWAY) for words in _OUTAGES),
    ),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (
        ("Sent message larger than max", _OVERSIZED_REQUEST),
        ("Received message larger than max", _OVERSIZED_ANSWER),
    ),
}

_BY_CODE: Mapping[grpc.StatusCode, _Meaning] = {
    grpc.StatusCode.OK: _FAILED,
    grpc.StatusCode.CANCELLED: _GIVEN_UP,
    grpc.StatusCode.UNKNOWN: _FAILED,
    grpc.StatusCode.INVALID_ARGUMENT: _REFUSED,
    grpc.StatusCode.DEADLINE_EXCEEDED: _TOO_LATE,
    grpc.StatusCode.NOT_FOUND: _REFUSED,  # by the model's own code: what a tensor names, not the model
    grpc.StatusCode.ALREADY_EXISTS: _FAILED,
    grpc.StatusCode.PERMISSION_DENIED: _LOCKED_OUT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _QUEUE_FULL,
    grpc.StatusCode.FAILED_PRECONDITION: _FAILED,
    grpc.StatusCode.ABORTED: _FAILED,
    grpc.StatusCode.OUT_OF_RANGE: _FAILED,
    grpc.StatusCode.UNIMPLEMENTED: _REFUSED,
    grpc.StatusCode.INTERNAL: _FAILED,
    grpc.StatusCode.UNAVAILABLE: _DECLINED,
    grpc.StatusCode.DATA_LOSS: _FAILED,
    grpc.StatusCode.UNAUTHENTICATED: _LOCKED_OUT,
}


def translate_message(message: str) -> GatewayError:
    """Our error for a failure that comes without a code, inside a stream.

    Triton would end a stream with a code for those who send `triton_grpc_error`, and 2.51 crashes then, as it does
    where a call is cancelled.
    """
    code = next(
        (code for code, rows in _BY_SENTENCE.items() if any(says.fullmatch(message) for says, _ in rows)),
        grpc.StatusCode.INTERNAL,
    )
    return translate(code, message)


def translate(code: grpc.StatusCode, message: str) -> GatewayError:
    """Our error for a failed call. Triton's own text goes into `internal`: it may hold paths and addresses."""
    meaning = (
        next((found for says, found in _BY_SENTENCE.get(code, ()) if says.fullmatch(message)), None)
        or next((found for words, found in _BY_WORDS.get(code, ()) if words in message), None)
        or _BY_CODE[code]
    )
    error = meaning.error(meaning.detail, retry_after=meaning.retry_after, internal=f"{code.name}: {message}")
    if isinstance(error, UpstreamContractViolation):
        error.said = _first_line(message)
    elif isinstance(error, BackendDied):
        error.process = "".join(_STUB.findall(message))
    return error


def _first_line(message: str) -> str:
    """What a refusal says, without what Triton puts before it, the trace that a backend puts behind, and paths."""
    line = _PATH.sub("…", re.sub(f"^{_BEFORE}", "", message.partition("\n")[0])[:_LONGEST_SAID])
    return "".join(letter for letter in line if letter.isprintable()).strip()
