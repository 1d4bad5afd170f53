"""Callers and tiers for the limiter's tests, a clock that only the test moves, and a store that does as it is told."""

from collections.abc import Callable, Sequence

from gateway.domain import Principal, Priority, Quota, Tier
from gateway.ratelimit.gcra import Verdict
from gateway.ratelimit.plan import Plan
from gateway.store import StoreAway

TEN = Quota(10, 1, 10)
THOUSAND = Quota(1000, 1, 1000)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def caller(name: str = "key", tenant: str = "tenant", quota: Quota | None = None) -> Principal:
    return Principal(name, tenant, frozenset({"infer"}), None, "tier", Priority.STANDARD, quota)


def tier(
    key: Quota = TEN,
    tenant: Quota = THOUSAND,
    daily: int | None = None,
    in_flight: int = 8,
    **more: bool,
) -> Tier:
    return Tier("tier", key, tenant, daily, in_flight, Priority.STANDARD, **more)


def ignore() -> None:
    """For charges whose verdict is heard."""


class ScriptedStore:
    """Allows everything while it is `up`; remembers what it was asked."""

    def __init__(self) -> None:
        self.up = True
        self.lease = 60.0
        self.charges: list[int] = []
        self.released: list[str] = []
        self.probes = 0

    async def charge(
        self, plan: Plan, cost: int, leases: Sequence[str] = (), unheard: Callable[[], None] = ignore
    ) -> Verdict:
        self.charges.append(cost)
        self._answer()
        levels = len(plan.quotas) + bool(leases)
        return Verdict(True, 0, None, (5,) * levels, (0,) * levels)

    async def release(self, flight_key: str, leases: Sequence[str]) -> None:
        self._answer()
        self.released.extend(leases)

    async def probe(self, plan: Plan) -> None:
        self.probes += 1
        self._answer()

    async def drain(self) -> None:
        pass

    def _answer(self) -> None:
        if not self.up:
            raise StoreAway("down")
