"""The limit on calls in flight, as latency moves it."""

import pytest

from gateway.admission.limit import AdaptiveLimit, LimitPolicy

POLICY = LimitPolicy(target=0.4, start=20, highest=24)


class Feed:
    """Windows of equal calls, on a clock of its own."""

    def __init__(self, policy: LimitPolicy = POLICY) -> None:
        self.limit = AdaptiveLimit(policy)
        self.now = 100.0

    def window(self, *rtts: float, in_flight: int = 20) -> int:
        """Records the calls over just more than one window, and gives the limit after it."""
        for rtt in rtts:
            self.limit.record(rtt, in_flight, self.now)
            self.now += 0.11 / (len(rtts) - 1)
        return self.limit.value


def test_fast_and_busy_windows_add_one_each_up_to_the_highest() -> None:
    feed = Feed()
    assert [feed.window(*[0.1] * 10) for _ in range(6)] == [21, 22, 23, 24, 24, 24]


def test_a_window_that_used_little_of_the_limit_leaves_it() -> None:
    assert Feed().window(*[0.1] * 10, in_flight=10) == 20
    assert Feed().window(*[0.1] * 10, in_flight=11) == 21


@pytest.mark.parametrize(
    ("rtt", "expected"),
    [(0.41, 18), (0.5, 16), (0.8, 10), (4.0, 10)],
    ids=[
        "a little slow: by a tenth",
        "slower: in proportion",
        "twice the target: by half",
        "by half at most",
    ],
)
def test_a_slow_window_cuts_the_limit(rtt: float, expected: int) -> None:
    assert Feed().window(*[rtt] * 10) == expected


def test_the_slowest_tenth_does_not_count() -> None:
    assert Feed().window(*[0.1] * 9, 9.0) == 21
    assert Feed().window(*[0.1] * 8, 9.0, 9.0) == 10


def test_the_limit_never_falls_below_the_lowest_and_grows_again() -> None:
    feed = Feed()
    assert [feed.window(*[9.0] * 5) for _ in range(6)][-1] == 2
    assert [feed.window(*[0.1] * 5) for _ in range(18)][-1] == 20


def test_fewer_calls_than_tell_something_wait_for_the_next() -> None:
    feed = Feed()
    assert feed.window(9.0, 9.0) == 20
    assert feed.window(9.0, 9.0) == 10


def test_a_full_queue_counts_as_twice_the_target() -> None:
    limit = AdaptiveLimit(POLICY)
    for step in range(3):
        limit.record_full(20, step * 0.06)
    assert limit.value == 10


@pytest.mark.parametrize(
    ("rtt", "expected"),
    [(0.39, 20), (0.4, 10)],
    ids=[
        "a call that had less time than the target tells nothing",
        "one that had more counts as twice the target",
    ],
)
def test_a_call_that_ran_out_of_time(rtt: float, expected: int) -> None:
    limit = AdaptiveLimit(POLICY)
    for step in range(3):
        limit.record_late(rtt, 20, step * 0.06)
    assert limit.value == expected


def test_the_latencies_of_the_last_window_can_be_read() -> None:
    feed = Feed()
    assert (feed.limit.typical, feed.limit.slow) == (0, 0)
    feed.window(*[step / 100 for step in range(1, 11)])
    assert (feed.limit.typical, feed.limit.slow) == (0.05, 0.09)


@pytest.mark.parametrize("numbers", [{"target": 0}, {"lowest": 0}, {"start": 1}, {"start": 65}], ids=str)
def test_numbers_that_contradict_each_other_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must hold"):
        LimitPolicy(**{"target": 1.0, **numbers})  # type: ignore[arg-type]
