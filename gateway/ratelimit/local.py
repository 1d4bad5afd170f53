"""Limits in this process alone, for as long as the store is away: each worker gives out its share of the quotas."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from gateway.ratelimit.gcra import NEVER, Rate, Verdict, decide
from gateway.ratelimit.plan import Plan

_BUCKETS = 8192  # the ones used least recently are forgotten first
_RETRY_PLACE = 1_000_000  # microseconds


class LocalLimits:
    """`shares` workers are taken to serve alike: a unit here counts as `shares` units of the quota.

    A request that costs more than the share of the burst waits for a full bucket and then runs it into debt, so that
    what the quota allows stays possible. The day is a rate like the others here.
    """

    def __init__(self, *, shares: int, clock: Callable[[], float]) -> None:
        self._shares = shares
        self._clock = clock
        self._tats: OrderedDict[str, float] = OrderedDict()
        self._places: dict[str, set[str]] = {}

    def charge(self, plan: Plan, cost: int, lease: str | None) -> Verdict:
        """As the script decides, with `lease` a place in flight as well."""
        full = lease is not None and self._taken(plan) >= self._places_of(plan)
        verdict = self._decide(plan, cost, keep=not full)
        if lease is None:
            return verdict
        if full:
            return self._without_place(plan, verdict)
        if verdict.allowed:
            self._places.setdefault(plan.flight_key, set()).add(lease)
        left = max(0, self._places_of(plan) - self._taken(plan))
        return replace(verdict, remaining=(*verdict.remaining, left), resets=(*verdict.resets, 0))

    def refund(self, plan: Plan, cost: int) -> None:
        """Gives back what `charge` took here."""
        now = self._now()
        for bound in plan.quotas:
            if (tat := self._tats.get(bound.key)) is not None:
                self._tats[bound.key] = max(now, tat - cost * bound.rate.interval * self._shares)

    def release(self, flight_key: str, lease: str) -> None:
        """Gives a place back; more than once does no harm."""
        if places := self._places.get(flight_key):
            places.discard(lease)
            if not places:
                del self._places[flight_key]

    def _now(self) -> int:
        return round(self._clock() * 1_000_000)

    def _share(self, rate: Rate, cost: int) -> Rate:
        return Rate(rate.interval * self._shares, max(rate.burst / self._shares, cost, 1))

    def _decide(self, plan: Plan, cost: int, *, keep: bool) -> Verdict:
        bounds, now = plan.quotas, self._now()
        nominal = [bound.rate for bound in bounds]
        impossible = any(cost > rate.burst for rate in nominal)
        rates = nominal if impossible else [self._share(rate, cost) for rate in nominal]
        verdict, tats = decide(rates, [self._tats.get(bound.key) for bound in bounds], cost, now)
        # A refusal leaves a bucket in debt as it is: the clock here never steps, so there is nothing to heal.
        if verdict.allowed and keep:
            self._store({bound.key: tat for bound, tat in zip(bounds, tats, strict=True)}, now)
        return verdict

    def _without_place(self, plan: Plan, verdict: Verdict) -> Verdict:
        """The refusal, by whichever bound asks for the longest wait."""
        untouched = self._decide(plan, 0, keep=False)
        remaining, resets = (*untouched.remaining, 0), (*untouched.resets, 0)
        if verdict.wait == NEVER or verdict.wait >= _RETRY_PLACE:
            return Verdict(False, verdict.wait, verdict.refused_by, remaining, resets)
        return Verdict(False, _RETRY_PLACE, len(plan.quotas), remaining, resets)

    def _places_of(self, plan: Plan) -> int:
        return max(plan.in_flight // self._shares, min(plan.in_flight, 1))

    def _taken(self, plan: Plan) -> int:
        return len(self._places.get(plan.flight_key, ()))

    def _store(self, tats: dict[str, float], now: float) -> None:
        for key, tat in tats.items():
            if tat > now:
                self._tats[key] = tat
                self._tats.move_to_end(key)
        while len(self._tats) > _BUCKETS:
            self._tats.popitem(last=False)
