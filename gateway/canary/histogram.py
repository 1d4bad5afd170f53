"""Latencies as counts over fixed bounds: workers add theirs up without losing anything, and a quantile is read off.

The bounds are the R10 series of preferred numbers (ISO 3): ten to a decade, each 1.26 times the one before, which is
as far as a quantile can be off. What must be certain is asked with `slower_than`, which is never off upwards.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import Self

_R10 = (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)
BOUNDS = tuple(
    round(number * 10.0**power, 7) for power in range(-4, 2) for number in _R10
)  # seconds: 0.1 ms to 80 s

_LOWER = (0.0, *BOUNDS)
_UPPER = (*BOUNDS, BOUNDS[-1])  # what is beyond the last bound is told as the last bound


def bucket(seconds: float) -> int:
    """The place in a histogram's counts of a call that took this long: a bound belongs to the bucket below it."""
    return bisect_left(BOUNDS, seconds)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many calls fell into each bucket; the last one takes everything beyond the last bound."""

    counts: tuple[int, ...] = (0,) * len(_LOWER)

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Self:
        """From the buckets that are not empty."""
        return cls(tuple(counts.get(index, 0) for index in range(len(_LOWER))))

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(tuple(map(add, self.counts, other.counts)))

    @property
    def total(self) -> int:
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """Seconds, interpolated within the bucket; None without calls."""
        total = self.total
        if not total:
            return None
        rank = q * total
        cumulated = list(accumulate(self.counts))
        index = min(bisect_left(cumulated, rank), bisect_left(cumulated, total))
        before = cumulated[index - 1] if index else 0
        share = (rank - before) / self.counts[index] if self.counts[index] else 1.0
        return _LOWER[index] + (_UPPER[index] - _LOWER[index]) * share

    def slower_than(self, seconds: float) -> int:
        """How many calls certainly took longer; those that share a bucket with `seconds` are left out."""
        if not math.isfinite(seconds):
            return 0
        return sum(self.counts[bisect_left(_LOWER, seconds) :])


EMPTY = Histogram()
