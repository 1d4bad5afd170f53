"""When to send a request again: what the gateway asks for, and never more than a share of what is sent at all.

Each request puts a tenth of a retry into the budget, each retry takes a whole one out. While a server is in trouble,
retries therefore add a tenth to its load, and not a multiple.
"""

import random
import threading
from dataclasses import dataclass

from triton_gateway_client.errors import GatewayError, Overloaded, RateLimited, Unreachable

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Retries:
    """`most` for one call, all begun within `patience` seconds of it; each may take as long as the client's timeout.

    `share` of the requests may be retries; `burst` of them at once, after a quiet time.
    """

    most: int = 4
    patience: float = 20.0
    share: float = 0.1
    burst: float = 10.0


class Budget:
    """How many retries are left to all the calls of one client, whatever thread they are made in."""

    def __init__(self, retries: Retries) -> None:
        self._share = retries.share
        self._burst = retries.burst
        self._left = retries.burst
        self._lock = threading.Lock()

    def earn(self) -> None:
        """For each request that is not a retry."""
        with self._lock:
            self._left = min(self._burst, self._left + self._share)

    def spend(self) -> bool:
        """Whether there is a retry to be had; it is taken."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


class Attempts:
    """The attempts of one call, which began at `begun`; times are in seconds on one clock."""

    def __init__(self, retries: Retries, budget: Budget, begun: float) -> None:
        self._retries = retries
        self._budget = budget
        self._until = begun + retries.patience
        self._made = 0
        budget.earn()

    def pause(self, error: GatewayError, now: float) -> float | None:
        """How many seconds to wait before the next attempt; None: there is none, and the error stands."""
        wait = self._wait(error)
        if wait is None or self._made >= self._retries.most or now + wait > self._until:
            return None
        if not self._budget.spend():
            return None
        self._made += 1
        return wait

    def _wait(self, error: GatewayError) -> float | None:
        match error:
            case RateLimited(retry_after=float(seconds)) | Overloaded(retry_after=float(seconds)):
                return seconds + random.uniform(0, _FIRST_PAUSE)  # noqa: S311  # so that not all come back at once
            case Unreachable():
                longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._made)
                return random.uniform(0, longest)  # noqa: S311
            case _:
                return None
