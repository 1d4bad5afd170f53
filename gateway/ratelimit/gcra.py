"""The rate decision, pure: GCRA over several buckets that take a charge together or not at all.

A bucket is one number, its theoretical arrival time: when it will be full again. `gcra.lua` does the same arithmetic
in Redis, operation for operation; this one decides while Redis is away, and says in tests what the script should do.
Times are whole microseconds, held in floats as Lua holds them: exact up to 2**53.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.domain import Quota
from gateway.value import value

NEVER = -1  # a wait that does not help: the cost is larger than the bucket

_SLACK = 0.001  # of one unit: what rounding to microseconds may add up to


@dataclass(frozen=True, slots=True)
class Rate:
    """One unit comes back every `interval` microseconds; a full bucket holds `burst` units."""

    interval: float
    burst: float

    @classmethod
    def of(cls, quota: Quota) -> "Rate":
        """Raises ValueError for a quota that nobody could ever use."""
        if quota.limit < 1 or quota.burst < 1 or not 0 < quota.period < math.inf:
            raise ValueError(f"not a quota: {quota}")
        return cls(quota.period * 1_000_000 / quota.limit, quota.burst)


@value
class Verdict:
    """What became of one charge, over all bounds in their order.

    `wait` is 0 when allowed, else microseconds or NEVER; `refused_by` the index of the bound that asks for it.
    `remaining` and `resets` tell of each bound its units left and the microseconds until it is whole.
    """

    allowed: bool
    wait: int
    refused_by: int | None
    remaining: tuple[int, ...]
    resets: tuple[int, ...]


def decide(
    rates: Sequence[Rate], tats: Sequence[float | None], cost: int, now: float
) -> tuple[Verdict, tuple[float, ...]]:
    """The verdict and the buckets after it; None stands for a bucket never used, a negative cost gives back.

    A time that cannot be (a clock stepped, a quota was lowered) is brought into range, also when the charge is refused.
    """
    tops = [math.floor(now + rate.burst * rate.interval + 0.5) for rate in rates]
    before = [_clamped(tat, now, top) for tat, top in zip(tats, tops, strict=True)]
    after = [
        max(now, math.floor(tat + cost * rate.interval + 0.5))
        for tat, rate in zip(before, rates, strict=True)
    ]
    allowed, wait, refused_by = True, 0, None
    for index, (rate, top, tat) in enumerate(zip(rates, tops, after, strict=True)):
        if cost <= rate.burst and tat - top <= rate.interval * _SLACK:
            continue
        delay = NEVER if cost > rate.burst else int(tat - top)
        if wait != NEVER and (delay == NEVER or delay > wait):
            wait, refused_by = delay, index
        allowed = False
    stored = after if allowed else before
    remaining = tuple(_remaining(rate, top, tat) for rate, top, tat in zip(rates, tops, stored, strict=True))
    resets = tuple(int(tat - now) for tat in stored)
    return Verdict(allowed, wait, refused_by, remaining, resets), tuple(stored)


def _clamped(tat: float | None, now: float, top: float) -> float:
    if tat is None or not tat >= now:
        return now
    return min(tat, top)


def _remaining(rate: Rate, top: float, tat: float) -> int:
    return max(0, min(int(rate.burst), math.floor((top - tat) / rate.interval + _SLACK)))
