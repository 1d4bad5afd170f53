"""What the doctor says of versions and of routes to them."""

import re
from dataclasses import replace

from support.cards import classifier

from gateway.canary import Route
from gateway.catalog import card_of
from gateway.doctor.finding import Severity
from gateway.doctor.versions import route_findings, version_findings


def test_a_version_that_was_unloaded_is_told_apart_from_one_that_was_never_there() -> None:
    card = card_of(replace(classifier(), versions=("2",)))
    policy = {"version_policy": {"specific": {"versions": ["1", "2", "3"]}}}
    found = {
        each.code: each
        for each in version_findings(card, policy, is_step=False, unloaded={"1"})
        if each.code.startswith("version-")
    }
    assert {code: each.severity for code, each in found.items()} == {
        "version-unloaded": Severity.WARNING,
        "version-not-ready": Severity.ERROR,
    }
    assert "version 1" in found["version-unloaded"].problem
    assert "version 3" in found["version-not-ready"].problem


def test_a_route_to_a_version_that_is_not_there_may_be_set_to_one_that_is() -> None:
    (found,) = route_findings("pets", Route(model="pets", stable="7"), ["1", "2"], generation=3)
    assert (found.code, found.severity) == ("route-to-nowhere", "error")
    assert found.mend == "gateway models load pets; or set a route to a version that is: 1, 2."


def test_a_route_of_a_model_that_is_gone_can_be_taken_away_by_what_the_mend_says() -> None:
    (found,) = route_findings("a pet", Route(model="a pet", stable="7"), [], generation=3)
    assert re.search("curl -X DELETE .*'If-Match: \"3\"'.*/admin/v1/canaries/a%20pet$", found.mend)
