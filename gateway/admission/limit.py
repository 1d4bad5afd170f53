"""How many calls one replica may have in flight: additive increase, multiplicative decrease on latency (pure).

A limiter that compares latency with its own lowest value misjudges a batching server, whose latency rises with the
batch while nothing is wrong. So latency is compared with a target: what the caller's deadline can spare.
"""

import math
from dataclasses import dataclass

_QUANTILE = 0.9
_CUT = (0.5, 0.9)  # the least and the most that remains of the limit when one window is too slow
_BUSY = 0.6  # the limit grows only where calls used this share of it, less one


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """`target` is the latency in seconds to stay under: 0.4 of the model's default deadline is a good start.

    `highest` is what the server can put to use: two batches an instance, one that runs and one that gathers, divided
    by the number of gateway workers. More only lengthens a queue that knows no classes. `window` is in seconds.
    """

    target: float
    lowest: int = 2
    start: int = 20
    highest: int = 64
    window: float = 0.1
    samples: int = 3

    def __post_init__(self) -> None:
        if not (self.target > 0 and 1 <= self.lowest <= self.start <= self.highest):
            raise ValueError(f"target > 0 and 1 <= lowest <= start <= highest must hold: {self}")


class AdaptiveLimit:
    """Fed with the latency of every call that tells something about load; read as `value`."""

    def __init__(self, policy: LimitPolicy) -> None:
        self._policy = policy
        self._limit = float(policy.start)
        self._samples: list[float] = []
        self._peak = 0
        self._opened = 0.0
        self._typical = 0.0
        self._slow = 0.0
        self._mean = 0.0

    @property
    def value(self) -> int:
        """Calls that may be in flight at once."""
        return int(self._limit)

    @property
    def typical(self) -> float:
        """The median latency of the last window in seconds; 0 until there was one."""
        return self._typical

    @property
    def mean(self) -> float:
        """The mean latency of the last window in seconds; 0 until there was one."""
        return self._mean

    @property
    def slow(self) -> float:
        """The 90th percentile of the last window in seconds; 0 until there was one."""
        return self._slow

    def record(self, rtt: float, in_flight: int, now: float) -> None:
        """A call ended after `rtt` seconds; `in_flight` counts it too."""
        if not self._samples:
            self._opened = now
        self._samples.append(rtt)
        self._peak = max(self._peak, in_flight)
        if now - self._opened >= self._policy.window and len(self._samples) >= self._policy.samples:
            self._close()

    def record_full(self, in_flight: int, now: float) -> None:
        """The server said that its queue is full: worth a call of twice the target."""
        self.record(2 * self._policy.target, in_flight, now)

    def record_late(self, rtt: float, in_flight: int, now: float) -> None:
        """A call ran out of time after `rtt` seconds; one that had less than the target says nothing about load."""
        if rtt >= self._policy.target:
            self.record_full(in_flight, now)

    def _close(self) -> None:
        ordered = sorted(self._samples)
        self._typical = ordered[(len(ordered) - 1) // 2]
        self._mean = sum(ordered) / len(ordered)
        self._slow = ordered[math.ceil(_QUANTILE * len(ordered)) - 1]
        self._adjust()
        self._samples.clear()
        self._peak = 0

    def _adjust(self) -> None:
        policy = self._policy
        if self._slow > policy.target:
            least, most = _CUT
            self._limit = max(policy.lowest, self._limit * min(max(policy.target / self._slow, least), most))
        elif self._peak >= _BUSY * self._limit - 1:
            self._limit = min(policy.highest, self._limit + 1)
