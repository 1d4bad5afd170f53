"""When a version on a replica goes out of service, and how it comes back; on a clock that only the test moves."""

from collections.abc import Iterator

import pytest

from gateway.domain import ModelVersion, Variant
from gateway.errors import (
    BackendDied,
    CallCancelled,
    ConnectionFailed,
    DeadlineExceeded,
    GatewayError,
    ModelDeclines,
    ModelUnavailable,
    OutOfService,
    Overloaded,
    QueueTimeout,
    RateLimited,
    UpstreamDraining,
    UpstreamError,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamUnavailable,
)
from gateway.upstream.breaker import (
    JUDGEMENTS,
    Attempt,
    Breaker,
    Breakers,
    Retry,
    State,
    Verdict,
    judge,
)

AWAY = judge(ConnectionFailed("x"))
FAILED = judge(UpstreamFailed("x"))
FULL = judge(UpstreamOverloaded("x"))
DRAINING = judge(UpstreamDraining("x"))
FINE = judge(None)


class Bench:
    def __init__(self, jitter: float = 1.0) -> None:
        self.now = 1000.0
        self.states: list[State] = []
        self.breaker = Breaker(
            clock=lambda: self.now, uniform=lambda low, high: jitter, changed=self.states.append
        )

    def admit(self) -> Attempt:
        attempt = self.breaker.admit()
        assert attempt is not None
        return attempt

    def calls(self, *judgements: object, last: bool = False) -> State:
        for judgement in judgements:
            self.breaker.record(self.admit(), judgement, last=last)  # type: ignore[arg-type]
        return self.breaker.state

    def ejected(self) -> float:
        """Ejects it by five failures, and gives the seconds that it stays out."""
        self.calls(*[AWAY] * 5)
        assert self.breaker.state is State.OPEN
        return self.breaker.retry_after

    def times_out(self, judgement: object) -> list[float]:
        """The seconds out of service after this failure and after six probes that end alike."""
        while self.breaker.state is State.CLOSED:
            self.calls(judgement)
        times = [self.breaker.retry_after]
        for _ in range(6):
            self.now += self.breaker.retry_after
            self.calls(judgement)
            times.append(self.breaker.retry_after)
        return times

    def back(self) -> None:
        self.now += self.breaker.retry_after
        assert self.calls(FINE, FINE) is State.CLOSED


def test_five_failures_in_a_row_eject_and_four_do_not() -> None:
    assert Bench().calls(*[FAILED] * 4, FINE, *[FAILED] * 4) is State.CLOSED
    assert Bench().calls(*[FAILED] * 5) is State.OPEN


def test_half_of_twenty_calls_eject_and_half_of_eighteen_do_not() -> None:
    assert Bench().calls(*[FAILED, FINE] * 9) is State.CLOSED
    assert Bench().calls(*[FINE, FAILED] * 10) is State.OPEN


def test_failures_of_more_than_ten_seconds_ago_are_forgotten() -> None:
    bench = Bench()
    bench.calls(*[FAILED, FINE] * 9)
    bench.now += 10
    assert bench.calls(FINE, FAILED) is State.CLOSED


def test_what_says_nothing_about_the_replica_does_not_count() -> None:
    assert Bench().calls(*[FULL] * 100) is State.CLOSED
    assert Bench().calls(*[FAILED] * 4, FULL, FAILED) is State.OPEN


def test_a_replica_that_is_shutting_down_is_ejected_by_one_call() -> None:
    assert Bench().calls(FINE, DRAINING) is State.OPEN


def test_while_it_is_out_nothing_passes_and_the_time_left_is_told() -> None:
    bench = Bench()
    assert bench.ejected() == 0.5
    bench.now += 0.2
    assert bench.breaker.admit() is None
    assert not bench.breaker.allows()
    assert bench.breaker.retry_after == pytest.approx(0.3)


@pytest.mark.parametrize("jitter", [0.8, 1.2])
def test_the_time_out_doubles_up_to_ten_seconds_and_is_spread(jitter: float) -> None:
    assert Bench(jitter).times_out(FAILED) == pytest.approx([jitter * s for s in (0.5, 1, 2, 4, 8, 10, 10)])


@pytest.mark.parametrize("judgement", [AWAY, DRAINING, judge(ModelUnavailable("x"))])
def test_who_is_away_is_asked_again_every_second(judgement: object) -> None:
    assert Bench().times_out(judgement) == pytest.approx([0.5, 1, 1, 1, 1, 1, 1])


def test_each_ten_seconds_in_service_take_one_ejection_off_the_count() -> None:
    bench = Bench()
    for expected in (0.5, 1.0):
        assert bench.ejected() == expected
        bench.back()
    bench.now += 10
    assert bench.ejected() == 1.0
    bench.back()
    bench.now += 1000
    assert bench.ejected() == 0.5


def test_after_an_outage_of_thousands_of_probes_it_is_out_and_comes_back_as_after_a_short_one() -> None:
    bench = Bench()
    bench.now += bench.ejected()
    for _ in range(5_000):
        assert bench.calls(FAILED) is State.OPEN
        bench.now += bench.breaker.retry_after
    bench.back()
    bench.now += 60
    assert bench.ejected() == 0.5


def test_one_probe_runs_at_a_time_and_two_that_succeed_bring_it_back() -> None:
    bench = Bench()
    bench.now += bench.ejected()
    probe = bench.admit()
    assert bench.breaker.admit() is None
    bench.breaker.record(probe, FINE)
    assert bench.breaker.state is State.HALF_OPEN
    assert bench.calls(FINE) is State.CLOSED
    assert bench.states == [State.OPEN, State.HALF_OPEN, State.CLOSED]
    assert bench.calls(*[FAILED] * 4) is State.CLOSED


def test_the_first_answer_of_a_stream_decides_its_probe() -> None:
    bench = Bench()
    bench.now += bench.ejected()
    for _ in range(2):
        probe = bench.admit()
        bench.breaker.answered(probe)
        bench.breaker.answered(probe)
    assert bench.breaker.state is State.CLOSED
    bench.breaker.record(probe, FAILED)
    assert bench.calls(*[FAILED] * 4) is State.CLOSED


def test_an_answer_of_a_call_that_is_no_probe_decides_nothing() -> None:
    bench = Bench()
    early = bench.admit()
    bench.now += bench.ejected()
    probe = bench.admit()
    bench.breaker.answered(early)
    assert bench.breaker.state is State.HALF_OPEN
    assert not bench.breaker.allows()
    bench.breaker.record(probe, AWAY)
    assert bench.breaker.state is State.OPEN


def test_a_probe_that_fails_ejects_for_longer() -> None:
    bench = Bench()
    bench.now += bench.ejected()
    assert bench.calls(FINE, AWAY) is State.OPEN
    assert bench.breaker.retry_after == 1.0


def test_a_probe_that_says_nothing_is_followed_by_another() -> None:
    bench = Bench()
    bench.now += bench.ejected()
    assert bench.calls(FULL) is State.HALF_OPEN
    assert bench.breaker.allows()


def test_a_probe_that_never_ends_does_not_keep_it_out_for_ever() -> None:
    bench = Bench()
    bench.now += bench.ejected()
    lost = bench.admit()
    bench.now += 30
    probe = bench.admit()
    bench.breaker.record(lost, AWAY)
    assert bench.breaker.state is State.HALF_OPEN
    bench.breaker.record(probe, FINE)
    assert bench.breaker.allows()


def test_calls_that_began_before_the_ejection_do_not_speak_for_the_time_after() -> None:
    bench = Bench()
    early = [bench.admit() for _ in range(3)]
    bench.now += bench.ejected()
    for attempt in early:
        bench.breaker.record(attempt, AWAY)
    assert bench.breaker.state is State.HALF_OPEN
    bench.breaker.record(early[0], FINE)
    assert bench.breaker.allows()


@pytest.mark.parametrize(
    ("judgement", "expected"),
    [(FAILED, State.CLOSED), (AWAY, State.OPEN), (DRAINING, State.OPEN)],
    ids=["not for errors of the model", "for a connection that fails", "for a shutdown"],
)
def test_the_last_stable_replica_is_ejected_only_where_nobody_can_be_served(
    judgement: object, expected: State
) -> None:
    bench = Bench()
    for _ in range(30):
        if bench.breaker.allows():
            bench.calls(judgement, last=True)
    assert bench.breaker.state is expected


def test_the_last_stable_replica_comes_back_once_it_answers_at_all() -> None:
    bench = Bench()
    bench.calls(*[AWAY] * 5, last=True)
    bench.now += bench.breaker.retry_after
    assert bench.calls(FAILED, FAILED, last=True) is State.CLOSED


def test_versions_and_endpoints_have_breakers_of_their_own() -> None:
    changes = []
    breakers = Breakers(
        clock=lambda: 0.0, uniform=lambda low, high: 1.0, changed=lambda *change: changes.append(change)
    )
    stable = ModelVersion("pets", "1", Variant.STABLE)
    breaker = breakers.of("a:8001", stable)
    attempt = breaker.admit()
    assert attempt is not None
    breaker.record(attempt, DRAINING)
    assert breakers.of("a:8001", ModelVersion("pets", "1", Variant.PINNED)) is breaker
    assert breakers.of("b:8001", stable).allows()
    assert breakers.of("a:8001", ModelVersion("pets", "2", Variant.STABLE)).allows()
    assert changes == [("a:8001", "pets", "1", State.OPEN)]
    assert set(breakers.states().values()) == {State.OPEN, State.CLOSED}
    breakers.renew("b:8001", "pets")
    breakers.renew("a:8001", "zoo")
    assert changes == [("a:8001", "pets", "1", State.OPEN)]
    breakers.renew("a:8001", "pets")
    assert breakers.of("a:8001", stable).allows()
    assert changes[1:] == [("a:8001", "pets", "1", State.CLOSED)]


def kinds(root: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize("kind", [DeadlineExceeded, *kinds(UpstreamError)], ids=lambda kind: kind.__name__)
def test_every_error_of_a_call_has_a_judgement_of_its_own(kind: type[GatewayError]) -> None:
    rows = [parent for parent in kind.__mro__ if parent in JUDGEMENTS]
    assert rows[0] not in (GatewayError, UpstreamError)
    assert judge(kind("x")) is JUDGEMENTS[rows[0]]


@pytest.mark.parametrize(
    ("error", "verdict", "retry"),
    [
        (None, Verdict.SUCCESS, Retry.NEVER),
        (ConnectionFailed("x"), Verdict.FAILURE, Retry.ANYWHERE),
        (UpstreamUnavailable("x"), Verdict.FAILURE, Retry.NEVER),
        (CallCancelled("x"), Verdict.NEUTRAL, Retry.NEVER),
        (OutOfService("x"), Verdict.NEUTRAL, Retry.NEVER),
        (BackendDied("x"), Verdict.EJECT, Retry.ELSEWHERE),
        (ModelDeclines("x"), Verdict.FAILURE, Retry.NEVER),
        (QueueTimeout("x"), Verdict.NEUTRAL, Retry.NEVER),
        (UpstreamDraining("x"), Verdict.EJECT, Retry.ELSEWHERE),
        (ModelUnavailable("x"), Verdict.FAILURE, Retry.ELSEWHERE),
        (UpstreamOverloaded("x"), Verdict.NEUTRAL, Retry.NEVER),
        (UpstreamFailed("x"), Verdict.FAILURE, Retry.NEVER),
        (DeadlineExceeded("x"), Verdict.FAILURE, Retry.NEVER),
        (Overloaded("x"), Verdict.NEUTRAL, Retry.NEVER),
        (RateLimited("x"), Verdict.NEUTRAL, Retry.NEVER),
        (ZeroDivisionError(), Verdict.NEUTRAL, Retry.NEVER),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_the_judgement_on(error: Exception | None, verdict: Verdict, retry: Retry) -> None:
    assert (judge(error).verdict, judge(error).retry) == (verdict, retry)


def test_running_out_of_little_time_says_nothing_about_the_replica() -> None:
    assert judge(DeadlineExceeded("x"), ample=False).verdict is Verdict.NEUTRAL
    assert judge(UpstreamFailed("x"), ample=False).verdict is Verdict.FAILURE
