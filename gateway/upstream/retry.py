"""Whether a failed call is tried again: at most once, while there is time for it, and never as a storm.

The token bucket is gRPC's (proposal A6), the bound on retries at one time Envoy's retry budget. When everything
fails, the bucket is empty after a handful of retries, and stays so until most calls succeed again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

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


class Held:
    """`with held:` counts those who are in such a block now."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0

    def __enter__(self) -> None:
        self.now += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.now -= 1


class RetryBudget:
    """One a worker. `uniform` draws from a range, as `random.uniform` does.

    `requests` is held for as long as a request has calls made or about to be made, `retries` from the decision to retry
    to the end of the second call, the backoff included.
    """

    def __init__(self, *, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._tokens = _TOKENS
        self.requests = Held()
        self.retries = Held()

    def record(self, verdict: Verdict) -> None:
        """The end of every call, first or second."""
        if verdict is Verdict.SUCCESS:
            self._tokens = min(_TOKENS, self._tokens + _SUCCESS)
        elif verdict is not Verdict.NEUTRAL:
            self._tokens = max(0.0, self._tokens + _FAILURE)

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
        most = max(_AT_ONCE, _SHARE * self.requests.now)
        return self._tokens > _ENOUGH_TOKENS and self.retries.now < most
