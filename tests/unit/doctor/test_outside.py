"""Releases, addresses and settings: what is found where nobody has to be asked."""

import socket
from ipaddress import ip_network

import pytest

from gateway.doctor.configuration import exposure_findings, secret_findings
from gateway.doctor.finding import Severity
from gateway.doctor.server import access_findings, is_loopback, own_addresses, reachable_at, release_findings

GOOD = "vJq8-Zk2xWn5rTy7uBp1cLs4dFg6hAe9mQo0iXw3"
OTHER = "N5rTy7uBp1cLs4dFg6hAe9mQo0iXw3vJq8-Zk2xW"


def test_an_old_release_is_an_error_only_where_others_reach_it() -> None:
    (private,) = release_findings((2, 51, 0), private=True)
    (reached,) = release_findings((2, 51, 0), private=False)
    assert (private.severity, reached.severity) == (Severity.WARNING, Severity.ERROR)
    assert "CVE-2025-23319" in reached.problem or "-23319" in reached.problem


def test_a_newer_release_is_told_only_what_it_lacks() -> None:
    (finding,) = release_findings((2, 72, 0), private=True)
    assert "CVE" not in finding.problem
    assert list(release_findings((2, 75, 0), private=False)) == []


async def test_the_addresses_at_which_somebody_listens_are_found() -> None:
    with socket.create_server(("127.0.0.3", 0)) as listener:
        port = listener.getsockname()[1]
        assert await reachable_at(["127.0.0.3", "127.0.0.4"], port) == ["127.0.0.3"]


def test_a_server_that_others_reach_and_interfaces_that_stand_open_are_found() -> None:
    found = list(access_findings(["192.0.2.7"], ["trace"], private=False))
    assert [finding.code for finding in found] == ["reachable", "open-interfaces"]
    assert list(access_findings([], ["trace"], private=True)) == []


def test_own_addresses_leave_loopback_out() -> None:
    assert not any(is_loopback(address) for address in own_addresses())


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("triton", False),
        ("10.0.0.1", False),
    ],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("pepper", "token", "codes"),
    [
        (GOOD, OTHER, []),
        (GOOD, GOOD, ["one-secret"]),
        ("p" * 40, OTHER, ["guessable-secret"]),
        (GOOD, "please-change-me-before-you-go-live-9876", ["guessable-secret"]),
    ],
    ids=["two random ones", "the same twice", "one letter", "a placeholder"],
)
def test_secrets_that_are_none(pepper: str, token: str, codes: list[str]) -> None:
    found = list(secret_findings(pepper, token))
    assert [finding.code for finding in found] == codes
    assert not any(pepper in finding.problem or token in finding.problem for finding in found)


def test_what_the_gateway_shows_to_others() -> None:
    found = list(exposure_findings("0.0.0.0", "dev", [ip_network("0.0.0.0/0")]))
    assert [finding.code for finding in found] == ["dev-environment", "metrics-open"]
    assert list(exposure_findings("0.0.0.0", "prod", [ip_network("10.0.0.0/8")])) == []
    assert list(exposure_findings("127.0.0.1", "dev", [])) == []
