"""One peer's failures run out; nobody else's do."""

import pytest
from unit.auth.workshop import Clock

from gateway.auth import FailureThrottle


def test_after_twenty_failures_a_peer_waits_for_the_rest_of_the_minute() -> None:
    clock = Clock(0.0)
    throttle = FailureThrottle(clock=clock)
    assert [throttle.failed("192.0.2.1") for _ in range(20)] == [0.0] * 20
    clock.now = 15
    assert throttle.failed("192.0.2.1") == 45
    assert throttle.failed("192.0.2.2") == 0
    clock.now = 60
    assert throttle.failed("192.0.2.1") == 0


def test_a_thousand_a_minute_get_twenty_through_each_minute() -> None:
    clock = Clock(0.0)
    throttle = FailureThrottle(clock=clock)
    passed = 0
    for _ in range(3000):
        passed += throttle.failed("192.0.2.1") == 0
        clock.now += 0.06
    assert passed == 60


def test_memory_is_bounded_and_the_latest_failures_are_kept() -> None:
    throttle = FailureThrottle(clock=Clock(0.0), limit=1, peers=100)
    for number in range(1000):
        throttle.failed(f"peer-{number}")
    assert len(throttle._windows) == 100
    assert throttle.failed("peer-999") > 0
    assert throttle.failed("peer-0") == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("2001:db8::1", "2001:db8::ffff:1", True, id="one /64 is one peer"),
        pytest.param("2001:db8:0:1::1", "2001:db8:0:2::1", False, id="two /64 are two"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", True, id="a mapped address is the IPv4 one"),
        pytest.param("192.0.2.1", "192.0.2.2", False, id="IPv4 counts by address"),
        pytest.param("unix", "unix", True, id="a name is itself"),
    ],
)
def test_how_peers_are_told_apart(one: str, other: str, same: bool) -> None:
    throttle = FailureThrottle(clock=Clock(0.0), limit=1)
    throttle.failed(one)
    assert (throttle.failed(other) > 0) is same
