"""Keys whose tier is not configured are told of: when the first copy of them is read, and when there are more."""

from dataclasses import replace

import structlog.testing
from unit.auth.workshop import NOW, Clock, Shelf, api_key

from gateway.auth import ApiKey, KeyRing, TierWatch, keys_without_tier


def key(tier: str, **fields: object) -> ApiKey:
    return api_key(tier=tier, **fields)[1]


async def test_they_are_told_of_once_and_again_when_there_are_more() -> None:
    shelf, clock = Shelf(), Clock()
    shelf.put(key("gold"), key("gold"), key("standard"))
    ring = KeyRing(shelf, clock=clock, adopted=TierWatch({"standard"}, clock=clock))

    async def told() -> list[tuple[str, str, int]]:
        with structlog.testing.capture_logs() as lines:
            await ring.refresh()
        return [(line["log_level"], line["tier"], line["keys"]) for line in lines if "tier" in line]

    assert await told() == [("error", "gold", 2)]
    shelf.put(key("standard"))
    assert await told() == []
    shelf.put(key("gold"))
    assert await told() == [("error", "gold", 3)]


def test_a_key_that_holds_no_more_is_nobodys_loss() -> None:
    revoked = replace(key("gold"), revoked_at=NOW - 1)
    assert keys_without_tier([revoked, key("gold", expires_at=NOW - 1)], {"standard"}, NOW) == {}
