"""A second try where it helps, and no storm where it does not."""

import random
from contextlib import ExitStack
from dataclasses import replace

import pytest

from gateway.upstream.breaker import Retry, Verdict
from gateway.upstream.retry import Failure, RetryBudget

FAILURE = Failure(Retry.ANYWHERE, attempts=1, elsewhere=False, remaining=1.0, typical=0.05)


def budget(drawn: float = 0.0) -> RetryBudget:
    """A budget whose jitter is the given share of the range."""
    return RetryBudget(uniform=lambda low, high: low + drawn * (high - low))


@pytest.mark.parametrize(
    ("failure", "allowed"),
    [
        (FAILURE, True),
        (replace(FAILURE, retry=Retry.NEVER), False),
        (replace(FAILURE, retry=Retry.ELSEWHERE), False),
        (replace(FAILURE, retry=Retry.ELSEWHERE, elsewhere=True), True),
        (replace(FAILURE, attempts=2), False),
        (replace(FAILURE, remaining=0.07), False),
        (replace(FAILURE, remaining=0.08), True),
    ],
    ids=[
        "a failure that may be tried again",
        "one that may not",
        "one that may elsewhere, and there is no elsewhere",
        "one that may elsewhere, and there is",
        "the second failure",
        "no time for another call",
        "just enough time",
    ],
)
def test_whether_a_failure_is_tried_again(failure: Failure, allowed: bool) -> None:
    assert (budget().backoff(failure) is not None) is allowed


def test_the_backoff_is_drawn_from_a_short_range_and_counts_against_the_time_left() -> None:
    assert budget(1.0).backoff(FAILURE) == 0.025
    assert budget(1.0).backoff(replace(FAILURE, remaining=0.08)) is None


def test_five_failures_stop_retries_and_ten_successes_a_token_bring_them_back() -> None:
    retries = budget()
    for _ in range(4):
        retries.record(Verdict.FAILURE)
    assert retries.backoff(FAILURE) is not None
    retries.record(Verdict.EJECT)
    assert retries.backoff(FAILURE) is None
    retries.record(Verdict.NEUTRAL)
    assert retries.backoff(FAILURE) is None
    retries.record(Verdict.SUCCESS)
    assert retries.backoff(FAILURE) is not None


@pytest.mark.parametrize(
    ("active", "most"), [(5, 3), (20, 4)], ids=["three in any case", "a fifth of the requests"]
)
def test_retries_at_one_time_are_bounded(active: int, most: int) -> None:
    retries = budget()
    with ExitStack() as stack:
        for _ in range(active):
            stack.enter_context(retries.requests)
        for _ in range(most):
            assert retries.backoff(FAILURE) is not None
            stack.enter_context(retries.retries)
        assert retries.backoff(FAILURE) is None
    assert retries.backoff(FAILURE) is not None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("failing", "most"), [(1.0, 1.10), (0.5, 1.2), (0.05, 1.06)], ids=str)
def test_failures_do_not_multiply_the_calls(failing: float, most: float, seed: int) -> None:
    chance = random.Random(seed)
    retries = RetryBudget(uniform=chance.uniform)
    requests, calls = 2000, 0
    for _ in range(requests):  # 200 a second for ten seconds
        with retries.requests:
            for attempt in (1, 2):
                calls += 1
                failed = chance.random() < failing
                retries.record(Verdict.FAILURE if failed else Verdict.SUCCESS)
                failure = replace(FAILURE, attempts=attempt)
                if not failed or retries.backoff(failure) is None:
                    break
    assert calls / requests <= most


def test_rare_failures_are_all_tried_again() -> None:
    retries = budget()
    for _ in range(100):
        for _ in range(20):
            retries.record(Verdict.SUCCESS)
        retries.record(Verdict.FAILURE)
        assert retries.backoff(FAILURE) is not None
