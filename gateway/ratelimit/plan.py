"""The bounds that hold for one caller, and the names they have in the store.

Every key of a caller stands under the tag of its tenant, so one script may touch them all on a Redis Cluster. What
comes from outside (tenants, key ids, tier names) enters a name as a digest only. The tenant's bounds are kept apart
by tier: a tenant with keys of two tiers has the allowance of both, and neither can heal the other's bucket away.
"""

import functools
import hashlib
from dataclasses import dataclass

from gateway.domain import Principal, Quota, Tier
from gateway.ratelimit.gcra import Rate

IN_FLIGHT = "in-flight"

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Bound:
    """One quota with the name that callers see, its key in the store, and the rate that it comes to."""

    name: str
    key: str
    quota: Quota
    rate: Rate

    @classmethod
    def of(cls, name: str, key: str, quota: Quota) -> "Bound":
        """Raises ValueError for a quota that nobody could ever use."""
        return cls(name, key, quota, Rate.of(quota))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one charge is held against. `in_flight` are the places that `flight_key` counts."""

    rates: tuple[Bound, ...]
    day: Bound | None
    flight_key: str
    in_flight: int
    probe_key: str

    @property
    def quotas(self) -> tuple[Bound, ...]:
        """The rates, then the day."""
        return self.rates if self.day is None else (*self.rates, self.day)

    @property
    def capacities(self) -> tuple[int, ...]:
        """Units that each quota holds at most, then the places."""
        return (*(bound.quota.burst for bound in self.quotas), self.in_flight)


def plan(principal: Principal, tier: Tier) -> Plan:
    """The key's own quota takes the place of the tier's. Raises ValueError for a quota that nobody could ever use."""
    return _plan(principal.tenant, principal.id, principal.quota or tier.key, tier)


@functools.lru_cache(maxsize=4096)
def _plan(tenant: str, caller: str, quota: Quota, tier: Tier) -> Plan:
    tag = f"{{rl:{_digest(tenant)}}}"
    key_id, tier_id = _digest(caller), _digest(tier.name)
    daily = tier.daily
    return Plan(
        rates=(
            Bound.of("key", f"{tag}:key:{key_id}", quota),
            Bound.of("tenant", f"{tag}:tenant:{tier_id}", tier.tenant),
        ),
        day=None if daily is None else Bound.of("day", f"{tag}:day:{tier_id}", Quota(daily, _DAY, daily)),
        flight_key=f"{tag}:flight:{key_id}",
        in_flight=tier.in_flight,
        probe_key=f"{tag}:probe",
    )


def _digest(text: str) -> str:
    # A subject from a token may hold lone surrogates; it gets a digest like any other text.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
