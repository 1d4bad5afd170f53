"""What is told of a key, whatever the store holds of it."""

import json
from dataclasses import replace

import pytest
from unit.auth.workshop import api_key

from gateway.api.admin_schemas import KeyInfo, key_fields
from gateway.domain import Quota

LAST = "9999-12-31T00:00:00Z"


@pytest.mark.parametrize("far", [253_402_300_800.0, 1e18, float("inf")])
def test_a_moment_beyond_the_calendar_is_shown_as_its_last_day(far: float) -> None:
    _, record = api_key(expires_at=far)
    told = json.loads(KeyInfo(**key_fields(replace(record, created_at=-1e18))).model_dump_json())
    assert (told["created_at"], told["expires_at"]) == ("1970-01-01T00:00:00Z", LAST)


def test_a_rate_that_nobody_could_ask_for_over_the_api_is_shown_as_it_is() -> None:
    _, record = api_key(quota=Quota(0, 100_000.0, 10**10))
    told = json.loads(KeyInfo(**key_fields(record)).model_dump_json())
    assert told["rate_limit"] == {"limit": 0, "period": 100_000.0, "burst": 10**10}
