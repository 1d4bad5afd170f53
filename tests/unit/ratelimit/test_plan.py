"""Names in the store."""

import re

import pytest
from redis.crc import key_slot
from unit.ratelimit.callers import caller, tier

from gateway.domain import Quota
from gateway.ratelimit.plan import Plan, plan


def names(bounds: Plan) -> list[str]:
    return [*(bound.key for bound in bounds.quotas), bounds.flight_key, bounds.probe_key]


@pytest.mark.parametrize(
    "hostile",
    [
        "a}b{c",
        "{rl:other}",
        "x\r\nFLUSHALL\r\n",
        "",
        "\x00",
        "\ud800",
        "é" * 5000,
        "a:key:b",
        "' .. os.exit() .. '",
    ],
    ids=ascii,
)
def test_no_text_of_a_caller_gets_into_a_name_and_all_names_share_a_slot(hostile: str) -> None:
    found = names(plan(caller(hostile, hostile), tier(daily=5)))
    assert len({key_slot(name.encode()) for name in found}) == 1
    assert len(set(found)) == 5
    for name in found:
        assert re.fullmatch(r"\{rl:[0-9a-f]{24}\}:[a-z]+(:[0-9a-f]{24})?", name)


def test_tenants_spread_over_the_slots() -> None:
    slots = {key_slot(plan(caller(tenant=str(n)), tier()).flight_key.encode()) for n in range(100)}
    assert len(slots) > 90


def test_two_keys_share_their_tenants_bounds_and_nothing_else() -> None:
    one, two = plan(caller("one"), tier(daily=5)), plan(caller("two"), tier(daily=5))
    assert set(names(one)) & set(names(two)) == {one.rates[1].key, one.quotas[2].key, one.probe_key}


def test_two_tenants_share_nothing_even_where_their_keys_have_one_name() -> None:
    assert not set(names(plan(caller(tenant="one"), tier()))) & set(names(plan(caller(tenant="two"), tier())))


def test_a_keys_own_quota_takes_the_place_of_the_tiers() -> None:
    own = Quota(3, 1, 3)
    key, tenant = plan(caller(quota=own), tier()).rates
    assert (key.quota, tenant.quota) == (own, tier().tenant)
