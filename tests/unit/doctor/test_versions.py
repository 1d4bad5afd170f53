"""What the doctor says of versions and of routes to them."""

import re

from gateway.canary import Route
from gateway.doctor.versions import route_findings


def test_a_route_to_a_version_that_is_not_there_may_be_set_to_one_that_is() -> None:
    (found,) = route_findings("pets", Route(model="pets", stable="7"), ["1", "2"], generation=3)
    assert (found.code, found.severity) == ("route-to-nowhere", "error")
    assert found.mend == "gateway models load pets; or set a route to a version that is: 1, 2."


def test_a_route_of_a_model_that_is_gone_can_be_taken_away_by_what_the_mend_says() -> None:
    (found,) = route_findings("a pet", Route(model="a pet", stable="7"), [], generation=3)
    assert re.search("curl -X DELETE .*'If-Match: \"3\"'.*/admin/v1/canaries/a%20pet$", found.mend)
