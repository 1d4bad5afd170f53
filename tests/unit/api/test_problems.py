"""What the caller is not told of an error goes into the log, under the name of whose fault it is."""

import pytest
from structlog.testing import capture_logs

from gateway.api.problems import log_failure
from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    ImageTruncated,
    InvalidToken,
    OutOfService,
    Overloaded,
    RateLimited,
    UpstreamFailed,
)


@pytest.mark.parametrize(
    ("error", "event", "level"),
    [
        pytest.param(UpstreamFailed("told", internal="why"), "upstream_failure", "warning", id="a model"),
        pytest.param(InvalidToken("told", internal="why"), "request_failed", "info", id="a bad token"),
        pytest.param(ImageTruncated("told", internal="why"), "request_failed", "info", id="a broken image"),
        pytest.param(Overloaded("told", internal="why"), "request_failed", "warning", id="Redis is away"),
        pytest.param(DeadlineExceeded("told", internal="why"), "request_failed", "warning", id="too late"),
    ],
)
def test_the_log_has_the_reason(error: GatewayError, event: str, level: str) -> None:
    with capture_logs() as lines:
        log_failure(error)
    assert lines == [{"event": event, "log_level": level, "code": error.code, "reason": "why"}]


def test_a_failure_of_triton_is_in_the_log_also_without_a_reason_and_a_refusal_is_not() -> None:
    with capture_logs() as lines:
        log_failure(RateLimited("slower"))
        log_failure(OutOfService("later"))
    assert [line["code"] for line in lines] == ["upstream_unavailable"]
