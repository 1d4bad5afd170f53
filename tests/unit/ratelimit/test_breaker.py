"""The breaker in front of the store, on a clock that the test moves."""

from unit.ratelimit.callers import Clock

from gateway.ratelimit.breaker import Breaker, State


def opened(clock: Clock, spread: float = 1.0) -> Breaker:
    breaker = Breaker(clock=clock, spread=lambda: spread)
    assert [breaker.failed() for _ in range(5)] == [False, False, False, False, True]
    return breaker


def test_five_failures_in_a_row_open_it_and_later_ones_change_nothing() -> None:
    breaker = opened(Clock())
    assert breaker.state is State.OPEN
    assert not breaker.failed()


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(clock=Clock())
    for _ in range(10):
        for _ in range(4):
            breaker.failed()
        breaker.succeeded()
    assert breaker.closed


def test_one_probe_at_a_time_after_the_pause() -> None:
    clock = Clock()
    breaker = opened(clock, spread=1.2)
    clock.now += 1.1
    assert not breaker.probe_due()
    clock.now += 0.2
    assert [breaker.probe_due(), breaker.probe_due()] == [True, False]


def test_a_probe_that_fails_starts_the_pause_anew_and_one_that_works_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1
    assert breaker.probe_due()
    assert not breaker.probed(answered=False)
    assert breaker.pause == 1
    clock.now += 1
    assert breaker.probe_due()
    assert breaker.probed(answered=True)
    assert breaker.closed
    assert not breaker.probe_due()


def test_the_pause_is_spread_by_a_fifth_so_that_workers_do_not_probe_in_step() -> None:
    pauses = []
    for _ in range(200):
        breaker = Breaker(clock=Clock())
        for _ in range(5):
            breaker.failed()
        pauses.append(breaker.pause)
    assert 0.79 < min(pauses) < 0.85
    assert 1.15 < max(pauses) < 1.21
