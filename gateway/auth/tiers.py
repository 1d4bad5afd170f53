"""Keys whose tier is not configured: each of their calls is refused, and nothing else would show it."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

import structlog

from gateway.auth.record import ApiKey

_log = structlog.stdlib.get_logger("gateway.auth")


def keys_without_tier(records: Iterable[ApiKey], tiers: Collection[str], now: float) -> Mapping[str, int]:
    """How many keys that hold at `now` there are, by each tier that is not among `tiers`."""
    held = (record.grant.tier for record in records if record.is_active(now))
    return Counter(tier for tier in held if tier not in tiers)


class TierWatch:
    """Hears of all keys whenever they change, and tells of more that have no tier. `clock` is the wall clock."""

    def __init__(self, tiers: Collection[str], *, clock: Callable[[], float]) -> None:
        self._tiers = tiers
        self._clock = clock
        self._told: Mapping[str, int] = {}

    def __call__(self, records: Iterable[ApiKey]) -> None:
        found = keys_without_tier(records, self._tiers, self._clock())
        for tier, keys in found.items():
            if keys > self._told.get(tier, 0):
                _log.error("tier_not_configured", tier=tier, keys=keys)
        self._told = found
