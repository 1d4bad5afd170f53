"""Exact tail probabilities, for the guard of a canary.

A normal approximation is far off where the guard decides, at few and rare events: of 100 calls that fail once in 200
times, 3 or more fail with a chance of 1.4 %, where a z above 3 stands for 0.13 %.
"""

import math
from collections.abc import Iterator

_NEGLIGIBLE = 1e-16


def binomial_tail(n: int, k: int, p: float) -> float:
    """The chance of `k` or more of `n`, each with probability `p`."""
    if k <= 0:
        return 1.0
    if k > n or p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    if k <= n * p:  # sum the shorter side, which is also the one that does not underflow
        return 1.0 - binomial_tail(n, n - k + 1, 1 - p)
    first = _log_choose(n, k) + k * math.log(p) + (n - k) * math.log1p(-p)
    odds = p / (1 - p)
    return _sum(first, ((n - i) / (i + 1) * odds for i in range(k, n)))


def fisher_tail(canary: tuple[int, int], stable: tuple[int, int]) -> float:
    """Of (events, trials) of two that are alike: the chance that so many or more of all events fall on the canary.

    Fisher's exact test, one-sided: given the number of events, where they fall is hypergeometric.
    """
    (k, n), (other, m) = canary, stable
    events = k + other
    if k <= 0:
        return 1.0
    if k > n:
        return 0.0
    if k <= n * events / (n + m):
        return 1.0 - fisher_tail((other + 1, m), (k - 1, n))
    first = _log_choose(n, k) + _log_choose(m, other) - _log_choose(n + m, events)
    ratios = ((events - i) / (i + 1) * (n - i) / (m - events + i + 1) for i in range(k, min(n, events)))
    return _sum(first, ratios)


def _sum(log_first: float, ratios: Iterator[float]) -> float:
    """Of terms that fall from the first on, each given by its ratio to the one before."""
    term = total = math.exp(log_first)
    for ratio in ratios:
        term *= ratio
        total += term
        if term < total * _NEGLIGIBLE:
            break
    return min(1.0, total)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
