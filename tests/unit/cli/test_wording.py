"""What is said about routes and reports."""

import pytest
from unit.cli.routes import GUARD, STEPS, report, route

from gateway.cli.admin_client import printable
from gateway.cli.canary import wording


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("weight", 250, "2.5 %"),
        ("lease", 5400.0, "1h30m"),
        ("lease", 5399.9, "1h30m"),
        ("lease", 59.93, "59.9s"),
        ("lease", None, "none"),
        ("steps", STEPS, "1 %, 100 %; each 1m and 100 requests"),
        (
            "steps",
            [STEPS[0], {"weight": 500, "seconds": 5, "min_requests": 0}],
            "1 % for 1m and 100 requests, 5 % for 5s and 0 requests",
        ),
        ("steps", [], "none"),
        ("always", ["a", "b"], "a, b"),
        ("lives", {"1": {"deprecated_at": 0.0, "sunset_at": None}}, "1 deprecated 1970-01-01"),
        ("frozen", True, "yes"),
        ("step", -1, "none"),
        ("step", 0, "1"),
        ("guard.min_agreement", 0.9, "90 %"),
    ],
)
def test_a_value_is_said_as_the_options_take_it(name: str, value: object, text: str) -> None:
    assert wording.said(name, value) == text


def test_changes_name_old_and_new_of_the_fields_that_differ() -> None:
    after = route(weight=1000, lease=60.0, guard={**GUARD, "min_agreement": 0.9}, reason="else", generation=8)
    assert wording.changes(route(), after) == [
        ("weight", "5 %", "10 %"),
        ("lease", "none", "1m"),
        ("guard.min_agreement", "none", "90 %"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [(60.0, 59.9, False), (60.0, 61.0, True), (60.0, 30.0, True), (None, None, False)],
)
def test_a_lease_that_ran_down_a_little_is_the_same(
    old: float | None, new: float | None, changed: bool
) -> None:
    assert bool(wording.changes(route(lease=old), route(lease=new))) is changed


def test_a_summary_says_where_the_route_stands() -> None:
    assert wording.summary(route(frozen=True)) == (
        "pets: steady, frozen, stable 1, 5 % on 2 (generation 7) - Set by hand to 5 %."
    )
    assert wording.summary(route(canary=None, weight=0, reason="")) == (
        "pets: steady, stable 1, no canary (generation 7)"
    )


def test_figures_that_are_not_known_are_dashes() -> None:
    silent = report(agreement={"compared": 0, "agreed": 0, "rate": None}, decision=None)
    assert wording.agreement(silent["agreement"]) == wording.NOTHING
    assert wording.decision(None) == wording.NOTHING
    assert wording.milliseconds(None) == wording.NOTHING
    assert wording.agreement(report()["agreement"]) == "96.15 % of 52"
    assert wording.shown(report()["canary"])["errors"] == "3 (3 %)"


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x9bc\nd") == "a\ufffd[2Jb\ufffdc\ufffdd"
    assert "\x1b" not in wording.summary(route(reason="\x1b]0;owned\x07"))
