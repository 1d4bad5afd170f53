"""The limits on the path of a request: the store's while it answers, this process's share of them while it does not."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from gateway.domain import Principal, Tier
from gateway.ratelimit.ahead import Ahead
from gateway.ratelimit.breaker import Breaker, State
from gateway.ratelimit.decision import Bucket, Decision, Lease, Refusal
from gateway.ratelimit.gcra import NEVER, Verdict
from gateway.ratelimit.local import LocalLimits
from gateway.ratelimit.plan import IN_FLIGHT, Bound, Plan, plan
from gateway.ratelimit.shared import SharedLimits, Store


def _ignore(_: State) -> None:
    """For those who need not know."""


class RateLimiter:
    """`async with RateLimiter(store, shares=workers * replicas) as limiter:`

    `shares` is how many processes serve, and so divide the quotas, while the store is away. `on_state_change` hears
    each change of `state`. Nothing that the store does raises here.
    """

    def __init__(
        self,
        store: Store,
        *,
        shares: int,
        clock: Callable[[], float] = time.monotonic,
        breaker: Breaker | None = None,
        on_state_change: Callable[[State], None] = _ignore,
    ) -> None:
        self._shared = SharedLimits(store, breaker or Breaker(clock=clock), on_state_change)
        self._ahead = Ahead(self._shared, shares=max(1, shares))
        self._local = LocalLimits(shares=max(1, shares), clock=clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.give_back()
        await self._shared.aclose()

    @property
    def state(self) -> State:
        """Closed while the store decides, open while each process does for itself."""
        return self._shared.state

    @property
    def healthy(self) -> bool:
        """Whether the limits are shared. Asking also starts a look at the store where one is due, so a process that
        nobody calls turns healthy again as well."""
        self._shared.look()
        return self.state is State.CLOSED

    async def charge(
        self, principal: Principal, tier: Tier, cost: int, taken: Sequence[Decision] = ()
    ) -> Decision:
        """Takes `cost` units (0 only looks) from every bucket of the caller, or from none.

        Of a request that has `taken` units before, and its place in flight with the first of them, the place is told
        again, and what no bound could ever hold is all of it together.
        """
        bounds = plan(principal, tier)
        total = cost + sum(each.cost for each in taken)
        smallest = min(bounds.quotas, key=lambda bound: bound.quota.burst)
        if taken and total > smallest.quota.burst:
            refusal, told = Refusal.IMPOSSIBLE, taken[-1].buckets
            return Decision(tier.shadow, refusal, smallest.name, None, told, total, taken[-1].degraded)
        decision = await self._decide(bounds, tier, cost, None)
        places = [bucket for first in taken[:1] for bucket in first.buckets if bucket.name == IN_FLIGHT]
        return replace(decision, buckets=(*decision.buckets, *places))

    async def acquire(self, principal: Principal, tier: Tier, cost: int) -> Decision:
        """As `charge`, with a place in flight that the decision holds until `release`."""
        bounds = plan(principal, tier)
        found = self._ahead.take(bounds) if cost == 1 else None
        if found is None:
            return await self._decide(bounds, tier, cost, secrets.token_hex(8))
        verdict, lease = found
        held = Lease(bounds.flight_key, lease, shared=True, scarce=False)
        return _decision(bounds, verdict, tier, cost, degraded=False, lease=held)

    def release(self, decision: Decision) -> None:
        """Gives the place in flight back without waiting for it; more than once does no harm."""
        lease = decision.lease
        if lease is None:
            return
        if lease.shared:
            self._shared.release(lease.key, lease.id, hurry=lease.scarce)
        else:
            self._local.release(lease.key, lease.id)

    def refund(self, principal: Principal, tier: Tier, decision: Decision) -> None:
        """Gives back what the decision spent, for a failure that is ours, without waiting for it. Call it once."""
        if decision.refusal is None and decision.cost > 0:
            where = self._local if decision.degraded else self._shared
            where.refund(plan(principal, tier), decision.cost)

    async def _decide(self, bounds: Plan, tier: Tier, cost: int, lease: str | None) -> Decision:
        verdict = await self._shared.charge(bounds, cost, (lease,) if lease else ())
        degraded = verdict is None
        if verdict is None:
            if not (tier.fail_open or tier.shadow):
                return _unknown(bounds, cost, self._shared.pause, placed=lease is not None)
            verdict = self._local.charge(bounds, cost, lease)
        held = None
        if lease and verdict.allowed:
            scarce = 2 * verdict.remaining[-1] < bounds.in_flight
            held = Lease(bounds.flight_key, lease, shared=not degraded, scarce=scarce)
            if not (degraded or scarce):
                self._ahead.came(bounds, verdict)
        return _decision(bounds, verdict, tier, cost, degraded, held)


def _decision(
    bounds: Plan, verdict: Verdict, tier: Tier, cost: int, degraded: bool, lease: Lease | None
) -> Decision:
    buckets = _buckets(bounds, verdict)
    refused_by = None if verdict.refused_by is None else buckets[verdict.refused_by].name
    retry_after = verdict.wait / 1_000_000 if verdict.wait > 0 else None
    refusal = None if verdict.allowed else _refusal(verdict, refused_by)
    allowed = verdict.allowed or tier.shadow
    return Decision(allowed, refusal, refused_by, retry_after, buckets, cost, degraded, lease)


def _refusal(verdict: Verdict, refused_by: str | None) -> Refusal:
    if verdict.wait == NEVER:
        return Refusal.IMPOSSIBLE
    return Refusal.IN_FLIGHT if refused_by == IN_FLIGHT else Refusal.QUOTA


def _buckets(bounds: Plan, verdict: Verdict) -> tuple[Bucket, ...]:
    quotas = bounds.quotas
    levels = [
        (left, reset / 1_000_000) for left, reset in zip(verdict.remaining, verdict.resets, strict=True)
    ]
    found = [_bucket(bound, *level) for bound, level in zip(quotas, levels, strict=False)]
    if len(levels) > len(found):
        found.append(_places(bounds, *levels[-1]))
    return tuple(found)


def _unknown(bounds: Plan, cost: int, pause: float, *, placed: bool) -> Decision:
    """The refusal of a tier that does not pass without the store."""
    retry_after = max(1.0, pause)
    buckets = [_bucket(bound, 0, retry_after) for bound in bounds.quotas]
    if placed:
        buckets.append(_places(bounds, 0, retry_after))
    return Decision(False, Refusal.STORE_AWAY, None, retry_after, tuple(buckets), cost, degraded=True)


def _places(bounds: Plan, remaining: int, reset: float) -> Bucket:
    return Bucket(IN_FLIGHT, bounds.in_flight, None, bounds.in_flight, remaining, reset)


def _bucket(bound: Bound, remaining: int, reset: float) -> Bucket:
    quota = bound.quota
    return Bucket(bound.name, quota.limit, quota.period, quota.burst, remaining, reset)
