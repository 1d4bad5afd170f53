"""Whether a failed call is tried again: at most once, while there is time for it, and never as a storm.

The token bucket is gRPC's (proposal A6), the bound on retries at one time Envoy's retry budget. When everything
fails, the bucket is empty after a handful of retries, and stays so until most calls succeed again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.upstream.breaker import Retry, Verdict

_ATTEMPTS = 2
_TOKENS = 10.0
_SUCCESS, _FAILURE = 0.1, -1.0
_ENOUGH_TOKENS = 5.0  # a retry needs more than these
_AT_ONCE, _SHARE = 3, 0.2  # retries in flight: these many, or this share of the requests
_BACKOFF, _LONGEST_BACKOFF = 0.025, 0.2  # seconds
_MARGIN = 0.02  # seconds to decode and send the answer


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed. `attempts` counts the calls made for the request so far, this one included.

    `elsewhere` says whether another replica or version may take it. `remaining` is what is left of the deadline and
    `typical` the median latency of a call, both in seconds.
    """

    retry: Retry
    attempts: int
    elsewhere: bool
    remaining: float
    typical: float


class RetryBudget:
    """One a worker. `uniform` draws from a range, as `random.uniform` does."""

    def __init__(self, *, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._tokens = _TOKENS
        self._active = 0
        self._retrying = 0

    @contextmanager
    def request(self) -> Iterator[None]:
        """Held for as long as a request has calls made or about to be made."""
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    @contextmanager
    def retrying(self) -> Iterator[None]:
        """Held from the decision to retry to the end of the second call, the backoff included."""
        self._retrying += 1
        try:
            yield
        finally:
            self._retrying -= 1

    def record(self, verdict: Verdict) -> None:
        """The end of every call, first or second."""
        change = {Verdict.SUCCESS: _SUCCESS, Verdict.NEUTRAL: 0.0}.get(verdict, _FAILURE)
        self._tokens = min(_TOKENS, max(0.0, self._tokens + change))

    def backoff(self, failure: Failure) -> float | None:
        """Seconds to wait before trying again, or None for not at all."""
        if failure.attempts >= _ATTEMPTS or not self._allowed(failure) or not self._affordable():
            return None
        backoff = self._uniform(0.0, min(_LONGEST_BACKOFF, _BACKOFF * 2.0 ** (failure.attempts - 1)))
        return backoff if failure.remaining > backoff + failure.typical + _MARGIN else None

    @staticmethod
    def _allowed(failure: Failure) -> bool:
        return failure.retry is Retry.ANYWHERE or (failure.retry is Retry.ELSEWHERE and failure.elsewhere)

    def _affordable(self) -> bool:
        most = max(_AT_ONCE, _SHARE * self._active)
        return self._tokens > _ENOUGH_TOKENS and self._retrying < most
