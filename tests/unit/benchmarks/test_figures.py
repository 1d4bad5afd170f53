"""The arithmetic of the measurements."""

import math

import pytest
from figures import Figures, between, inversions, median, ms, percentile, share, table
from load import Sample
from slow_model import SlowModel


def sample(latency: float = 0.1, status: int = 200, due: float = 0.0, stream: str = "a") -> Sample:
    return Sample(stream, due, latency, status)


@pytest.mark.parametrize(
    ("wanted", "found"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)], ids=["p50", "p99", "most", "least"]
)
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(wanted: float, found: float) -> None:
    assert percentile(range(100, 0, -1), wanted) == found


def test_there_is_no_percentile_of_nothing() -> None:
    assert math.isnan(percentile([], 0.99))


def test_only_answers_in_time_are_good() -> None:
    figures = Figures([sample(0.5), sample(1.5), sample(0.1, 503), sample(0.1, 429)], 2.0, deadline=1.0)
    assert (figures.good, figures.late, figures.goodput, figures.success) == (1, 1, 0.5, 0.25)
    assert figures.statuses == {200: 2, 429: 1, 503: 1}


def test_a_request_without_an_answer_is_an_error_of_the_server() -> None:
    figures = Figures([sample(), sample(status=0), sample(status=503), sample(status=429)], 1.0)
    assert figures.server_errors == 2


def test_the_latency_is_that_of_the_200s_unless_another_status_is_named() -> None:
    figures = Figures([sample(0.3), sample(0.001, 503)], 1.0)
    assert (figures.latency(0.99), figures.latency(0.99, 503)) == (0.3, 0.001)
    assert math.isnan(figures.latency(0.99, 504))


def test_a_window_takes_those_that_were_due_in_it_and_the_streams_that_were_asked_for() -> None:
    samples = [sample(due=due, stream=stream) for due in (0.0, 1.0, 2.0) for stream in "ab"]
    assert len(between(samples, 1, 2).samples) == 2
    assert [s.stream for s in between(samples, 1, 3, "b").samples] == ["b", "b"]
    assert between(samples, 1, 3).goodput == 2


def test_an_odd_round_does_not_decide() -> None:
    rounds = [Figures([sample(latency)], 1.0) for latency in (0.2, 9.0, 0.1)]
    assert median(rounds, lambda figures: figures.latency(0.99)) == 0.2


def second(at: float, stream: str, answered: int, asked: int = 30) -> list[Sample]:
    return [sample(status=200 if i < answered else 503, due=at, stream=stream) for i in range(asked)]


@pytest.mark.parametrize(
    ("high", "low", "found"),
    [(30, 10, 0), (10, 30, 1), (10, 10, 0)],
    ids=["the urgent are answered", "the others are answered", "both alike"],
)
def test_a_second_in_which_the_less_urgent_fare_better_is_an_inversion(
    high: int, low: int, found: int
) -> None:
    samples = second(0.5, "high", high) + second(0.5, "low", low)
    assert inversions(samples, ["high", "low"], deadline=1, begin=0, end=2) == found


def test_a_second_with_few_requests_is_no_inversion() -> None:
    samples = second(0.5, "high", 0, asked=20) + second(0.5, "low", 30)
    assert inversions(samples, ["high", "low"], deadline=1, begin=0, end=1) == 0


def test_only_whole_seconds_count() -> None:
    samples = second(0.5, "high", 0) + second(0.5, "low", 30)
    assert inversions(samples, ["high", "low"], deadline=1, begin=0.2, end=1) == 0


def test_a_table_is_markdown() -> None:
    lines: list[str] = []
    row = table("Title", ("one", "two"), say=lines.append)
    row(1, share(0.9876))
    assert lines == ["\n### Title\n", "| one | two |", "| --- | --- |", "| 1 | 98.8 % |"]


def test_what_is_not_there_is_called_none() -> None:
    assert (ms(math.nan), share(math.nan), ms(0.0123)) == ("none", "none", "12.3 ms")


def test_the_capacity_is_that_of_full_batches() -> None:
    assert SlowModel(batch=8, fixed=0.02, each=0.002).capacity == pytest.approx(222.2, abs=0.1)
