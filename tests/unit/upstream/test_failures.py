"""Every way a call to Triton can fail has a meaning, and Triton's own words stay inside."""

import grpc
import pytest

from gateway.api.problems import KINDS
from gateway.errors import (
    BackendDied,
    BodyTooLarge,
    CallCancelled,
    ConnectionFailed,
    DeadlineExceeded,
    GatewayError,
    GatewayMisconfigured,
    ModelUnavailable,
    QueueTimeout,
    UpstreamContractViolation,
    UpstreamDraining,
    UpstreamFailed,
    UpstreamInvalidResponse,
    UpstreamOverloaded,
    UpstreamUnavailable,
)
from gateway.upstream.failures import translate

Code = grpc.StatusCode

ROWS = [
    (Code.UNAVAILABLE, "failed to connect to all addresses", ConnectionFailed, "nobody listens"),
    (Code.UNAVAILABLE, "Stream removed", ConnectionFailed, "the connection broke"),
    (Code.UNAVAILABLE, "", UpstreamUnavailable, "unavailable without a word"),
    (Code.UNAVAILABLE, "[request id: 7] Exceeds maximum queue size", UpstreamOverloaded, "the queue is full"),
    (
        Code.UNAVAILABLE,
        "[request id: 7] Request timeout expired",
        QueueTimeout,
        "it waited too long in the queue",
    ),
    (Code.UNAVAILABLE, "Server is stopping, scheduler", UpstreamDraining, "the server is stopping"),
    (Code.UNAVAILABLE, "Server exiting", UpstreamDraining, "the server is exiting"),
    (
        Code.UNAVAILABLE,
        "GRPC server is shutting down",
        UpstreamDraining,
        "the gRPC front end is shutting down",
    ),
    (Code.UNAVAILABLE, "Server not ready", ModelUnavailable, "the server is not ready"),
    (
        Code.UNAVAILABLE,
        "Request for unknown model: 'a' version 2 is not at ready state",
        ModelUnavailable,
        "not ready",
    ),
    (
        Code.UNAVAILABLE,
        "This protocol is restricted, expecting header 'k'",
        GatewayMisconfigured,
        "a key is wrong",
    ),
    (Code.DEADLINE_EXCEEDED, "Deadline Exceeded", DeadlineExceeded, "the deadline passed"),
    (
        Code.NOT_FOUND,
        "Request for unknown model: 'a' has no available versions",
        ModelUnavailable,
        "it just went",
    ),
    (Code.INVALID_ARGUMENT, "unexpected shape for input", UpstreamContractViolation, "it refuses our tensor"),
    (Code.INTERNAL, "Stub process 'a_0_0' is not healthy.", BackendDied, "the backend process died"),
    (Code.INTERNAL, "ValueError at /models/a/1/model.py:7", UpstreamFailed, "the model raised"),
    (
        Code.UNIMPLEMENTED,
        "ModelInfer RPC doesn't support models with decoupled",
        UpstreamContractViolation,
        "wrong RPC",
    ),
    (
        Code.RESOURCE_EXHAUSTED,
        "CLIENT: Sent message larger than max (9 vs. 8)",
        BodyTooLarge,
        "we sent too much",
    ),
    (
        Code.RESOURCE_EXHAUSTED,
        "CLIENT: Received message larger than max",
        UpstreamInvalidResponse,
        "it sent too much",
    ),
    (Code.RESOURCE_EXHAUSTED, "no memory left", UpstreamOverloaded, "the server ran out of something"),
    (Code.UNAUTHENTICATED, "", GatewayMisconfigured, "it does not know us"),
    (Code.PERMISSION_DENIED, "", GatewayMisconfigured, "it does not let us"),
    (Code.CANCELLED, "", CallCancelled, "the server cancelled"),
    *(
        (code, "x", UpstreamFailed, f"{code.name} says little")
        for code in (Code.UNKNOWN, Code.DATA_LOSS, Code.ABORTED)
    ),
]


@pytest.mark.parametrize(
    ("code", "message", "expected"), [row[:3] for row in ROWS], ids=[row[3] for row in ROWS]
)
def test_a_failed_call_means(code: grpc.StatusCode, message: str, expected: type[GatewayError]) -> None:
    error = translate(code, message)
    assert type(error) is expected
    assert error.internal == f"{code.name}: {message}"
    assert not message or message not in str(error)


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_every_status_code_becomes_an_error_with_an_http_status(code: grpc.StatusCode) -> None:
    error = translate(code, "words that nobody has seen before")
    assert 400 < KINDS[error.code].status < 600
    assert KINDS[error.code].status != 500


def test_what_may_pass_tells_when_to_try_again() -> None:
    assert all(
        translate(code, message).retry_after is not None
        for code, message, expected, _ in ROWS
        if KINDS[expected.code].status == 503
    )
