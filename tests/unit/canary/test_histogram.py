"""Latencies in buckets: where a call falls, what a quantile says, and what is certainly slower."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canary.histogram import BOUNDS, EMPTY, Histogram, bucket


def histogram(*seconds: float) -> Histogram:
    places = [bucket(value) for value in seconds]
    return Histogram.of({place: places.count(place) for place in set(places)})


def test_the_bounds_rise_by_at_most_a_quarter_and_reach_beyond_any_deadline() -> None:
    steps = [high / low for low, high in pairwise(BOUNDS)]
    assert 1.24 < min(steps) <= max(steps) < 1.285
    assert (BOUNDS[0], BOUNDS[-1]) == (0.0001, 80)


@pytest.mark.parametrize(
    ("seconds", "upper"), [(0.0, 0.0001), (0.0001, 0.0001), (0.0101, 0.0125), (0.0125, 0.0125), (80.0, 80.0)]
)
def test_a_call_falls_into_the_bucket_up_to_the_next_bound(seconds: float, upper: float) -> None:
    assert BOUNDS[bucket(seconds)] == upper


def test_a_call_beyond_the_last_bound_is_told_as_the_last_bound() -> None:
    assert bucket(1000) == len(BOUNDS)
    assert histogram(1000).quantile(0.5) == 80


def test_a_quantile_is_interpolated_within_its_bucket() -> None:
    ten = histogram(*[0.009] * 10)  # from 8 ms to 10 ms
    assert ten.quantile(0.5) == pytest.approx(0.009)
    assert ten.quantile(0.95) == pytest.approx(0.0099)
    both = ten + histogram(*[0.045] * 10)  # from 40 ms to 50 ms
    assert both.quantile(0.5) == pytest.approx(0.010)
    assert both.quantile(0.75) == pytest.approx(0.045)
    assert both.quantile(1.0) == pytest.approx(0.050)


def test_without_calls_there_is_no_quantile() -> None:
    assert EMPTY.quantile(0.95) is None
    assert EMPTY.total == 0


def test_what_shares_the_bucket_is_not_certainly_slower() -> None:
    calls = histogram(0.005, 0.009, 0.011, 0.013, 1000)
    assert calls.slower_than(0.0101) == 2
    assert calls.slower_than(0.010) == 3
    assert calls.slower_than(math.inf) == 0


@given(st.lists(st.floats(0.0002, 79), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_is_off_by_no_more_than_a_bucket(seconds: list[float], q: float) -> None:
    true = float(np.quantile(seconds, q, method="inverted_cdf"))
    told = histogram(*seconds).quantile(q)
    assert told is not None
    assert true / 1.29 < told < true * 1.29


@given(st.lists(st.floats(0, 200)), st.lists(st.floats(0, 200)))
def test_adding_up_workers_loses_nothing(one: list[float], other: list[float]) -> None:
    assert histogram(*one) + histogram(*other) == histogram(*one, *other)
