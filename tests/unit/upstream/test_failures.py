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
from gateway.upstream.failures import translate, translate_message

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
    (
        Code.INTERNAL,
        "[request id: 7] in ensemble 'e', Stub process 'a_0_0' is not healthy.",
        BackendDied,
        "a backend process of an ensemble died",
    ),
    (Code.INTERNAL, "ValueError at /models/a/1/model.py:7", UpstreamFailed, "the model raised"),
    (
        Code.INTERNAL,
        "no number: 'Stub process 'a_0_0' is not healthy.'",
        UpstreamFailed,
        "it quotes its input",
    ),
    (
        Code.INTERNAL,
        "Stub process 'a_0_0' is not healthy.\nsaid the caller",
        UpstreamFailed,
        "the quote begins its message",
    ),
    (Code.UNAVAILABLE, "no 'Server is stopping' here", ModelDeclines, "it quotes a server that stops"),
    (Code.UNAVAILABLE, "[request id: 7] the adapter is being fetched", ModelDeclines, "it says so itself"),
    *(
        (Code.UNAVAILABLE, words, UpstreamUnavailable, words)
        for words in (
            "Cancelling all calls",
            "errors resolving triton:8001: [field:hostname lookup error:Domain name not found]",
            "DNS resolution failed for triton:8001",
            "connections to all backends failing; last error: UNKNOWN: Endpoint closing",
            "Received http2 header with status: 503",
            "Received RST_STREAM with error code 7",
            "ipv4:10.0.0.1:8001: Keepalive timeout. Closing transport.",
            "Client transport closed",
            "Connection timed out",
            "upstream connect error or disconnect/reset before headers",
        )
    ),
    (Code.NOT_FOUND, "no such adapter", UpstreamContractViolation, "what a tensor names is not there"),
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


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Stub process 'a_0_0' is not healthy.", BackendDied),
        ("[request id: 7] Exceeds maximum queue size", UpstreamOverloaded),
        ("Request for unknown model: 'a' has no available versions", ModelUnavailable),
        ("cannot read 'Server is stopping'", UpstreamFailed),
        ("cannot read 'Connection refused'", UpstreamFailed),
        ("told to fail", UpstreamFailed),
    ],
)
def test_a_failure_in_a_stream_is_known_by_the_whole_of_its_message(
    message: str, expected: type[GatewayError]
) -> None:
    assert type(translate_message(message)) is expected


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("[request id: 7] prompt too long: 5000 > 4096", "prompt too long: 5000 > 4096"),
        ("no adapter\n\nAt:\n  /models/a/1/model.py(11): execute\n", "no adapter"),
        ("/models/a/1/x.bin: not there", "…: not there"),
        ("1/2 of a \x1b[31mword", "1/2 of a [31mword"),
        ("x" * 1000, "x" * 500),
    ],
)
def test_what_a_model_says_to_tensors_that_it_refuses(message: str, said: str) -> None:
    error = translate(Code.INVALID_ARGUMENT, message)
    assert isinstance(error, UpstreamContractViolation)
    assert error.said == said
