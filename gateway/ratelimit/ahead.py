"""Units and places for callers who come often, taken from the store some at a time: most of their requests ask nobody.

Nothing is given out here that was not taken there, so no bound is passed. All workers together hold at most one in 64
of the units that a caller's scarcest quota has left, and a quarter of the places: of a small quota, and close to the
end of a large one, every request asks the store itself, and what is told and refused is exact. What nobody came for
goes back.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gateway.ratelimit.gcra import Verdict
from gateway.ratelimit.plan import Plan

_LEAST, _MOST = 2, 64  # units at once
_UNITS, _PLACES = 64, 4  # of so many that are left, one may be held by all workers together
_AGAIN = 0.05  # seconds within which a caller comes again who comes often
_SOON, _LATE = 0.06, 0.12  # seconds in which half of it is used up: then it was too little, or too much
_KEPT = 0.5  # seconds that what was taken waits to be used


class Source(Protocol):
    """The store, with what goes on behind the callers' backs."""

    async def charge(self, plan: Plan, cost: int, leases: Sequence[str]) -> Verdict | None: ...

    def refund(self, plan: Plan, cost: int) -> None: ...

    def release(self, flight_key: str, lease: str) -> None: ...

    def start(self, work: Coroutine[Any, Any, None]) -> None: ...


@dataclass(eq=False, slots=True)
class _Stock:
    """Of one caller: places, and a unit with each. `verdict` is the store's last word on what is left besides them;
    `since` when the last of them were asked for, on the loop's clock."""

    plan: Plan
    verdict: Verdict
    timer: asyncio.TimerHandle
    since: float
    leases: deque[str] = field(default_factory=deque)
    wanted: int = _LEAST
    filling: bool = False

    @property
    def left(self) -> tuple[int, ...]:
        """Of each bound, as if nothing were here. No more than it holds: the store goes on filling up what was taken
        from it, as if that had been used."""
        here = len(self.leases)
        found = zip(self.verdict.remaining, self.plan.capacities, strict=True)
        return tuple([min(each + here, most) for each, most in found])

    def adapt(self, now: float) -> None:
        """To how fast it is used up."""
        lasted, self.since = now - self.since, now
        if lasted < _SOON:
            self.wanted = min(2 * self.wanted, _MOST)
        elif lasted > _LATE:
            self.wanted = max(self.wanted // 2, _LEAST)


class Ahead:
    """`shares` is how many processes take from the same bounds. Everything runs in one event loop."""

    def __init__(self, source: Source, *, shares: int) -> None:
        self._source = source
        self._shares = shares
        self._stocks: dict[str, _Stock] = {}

    def take(self, plan: Plan) -> tuple[Verdict, str] | None:
        """A unit and the place that goes with it, as the store would have answered; None where none is here."""
        stock = self._stocks.get(plan.flight_key)
        if stock is None or not stock.leases or stock.plan is not plan:
            return None
        lease = stock.leases.popleft()
        self._fill(stock)
        found = stock.verdict
        return Verdict(found.allowed, found.wait, found.refused_by, stock.left, found.resets), lease

    def came(self, plan: Plan, verdict: Verdict) -> None:
        """Hears of a request that the store itself has let in."""
        stock = self._stocks.get(plan.flight_key)
        if stock is not None and stock.plan is plan:
            stock.verdict = _lower(stock.verdict, verdict) if stock.leases else verdict
            self._fill(stock)
            return
        if stock is not None:  # the caller's bounds are others now
            self._end(stock)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_AGAIN, self._forget, plan.flight_key)
        self._stocks[plan.flight_key] = _Stock(plan, verdict, timer, loop.time())

    def give_back(self) -> None:
        """All that is here."""
        for stock in list(self._stocks.values()):
            self._end(stock)

    def _fill(self, stock: _Stock) -> None:
        """Where half of what may be here is not."""
        here = len(stock.leases)
        *units, places = stock.left
        allowed = min(min(units) // _UNITS, places // _PLACES) // self._shares
        if stock.filling or 2 * here > min(stock.wanted, allowed):
            return
        stock.adapt(asyncio.get_running_loop().time())
        most = min(stock.wanted, allowed)
        if most >= max(_LEAST, here + 1):
            stock.filling = True
            self._source.start(self._filled(stock, most - here))

    async def _filled(self, stock: _Stock, units: int) -> None:
        leases, before = [secrets.token_hex(8) for _ in range(units)], stock.verdict
        try:
            verdict = await self._source.charge(stock.plan, units, leases)
        finally:
            stock.filling = False
        if verdict is None or not verdict.allowed:
            return
        stock.verdict = verdict if stock.verdict is before else _lower(stock.verdict, verdict)
        stock.leases.extend(leases)
        stock.timer.cancel()
        if self._stocks.get(stock.plan.flight_key) is stock:
            stock.timer = asyncio.get_running_loop().call_later(_KEPT, self._forget, stock.plan.flight_key)
        else:
            self._return(stock)

    def _forget(self, flight_key: str) -> None:
        self._end(self._stocks[flight_key])

    def _end(self, stock: _Stock) -> None:
        del self._stocks[stock.plan.flight_key]
        stock.timer.cancel()
        self._return(stock)

    def _return(self, stock: _Stock) -> None:
        if not stock.leases:
            return
        self._source.refund(stock.plan, len(stock.leases))
        for lease in stock.leases:
            self._source.release(stock.plan.flight_key, lease)
        stock.leases.clear()


def _lower(one: Verdict, other: Verdict) -> Verdict:
    """Of two charges whose order nobody knows, for they were under way together: the later one left less."""
    return replace(other, remaining=tuple(map(min, one.remaining, other.remaining)))
