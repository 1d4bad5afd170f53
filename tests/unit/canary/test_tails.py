"""The exact tails against sums of fractions, and where they must not lose themselves."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canary.tails import binomial_tail, fisher_tail


def binomial(n: int, k: int, p: Fraction) -> Fraction:
    return sum((comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(max(k, 0), n + 1)), Fraction())


def hypergeometric(k: int, n: int, other: int, m: int) -> Fraction:
    events = k + other
    ways = sum(comb(n, i) * comb(m, events - i) for i in range(k, min(n, events) + 1))
    return Fraction(ways, comb(n + m, events))


@given(st.integers(1, 80), st.integers(-1, 82), st.fractions(0, 1, max_denominator=50))
def test_the_binomial_tail_is_exact(n: int, k: int, p: Fraction) -> None:
    assert binomial_tail(n, k, float(p)) == pytest.approx(float(binomial(n, k, p)), rel=1e-9, abs=1e-12)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_tail_of_fishers_test_is_exact(n: int, m: int, data: st.DataObject) -> None:
    k, other = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    exact = float(hypergeometric(k, n, other, m))
    assert fisher_tail((k, n), (other, m)) == pytest.approx(exact, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "k", "p", "chance"),
    [
        (100, 3, Fraction(1, 200), 0.0141),
        (60, 13, Fraction(1, 20), 6.85e-6),
        (1000, 80, Fraction(1, 20), 3.49e-5),
    ],
)
def test_small_chances_keep_their_digits(n: int, k: int, p: Fraction, chance: float) -> None:
    assert binomial_tail(n, k, float(p)) == pytest.approx(float(binomial(n, k, p)), rel=1e-9)
    assert binomial_tail(n, k, float(p)) == pytest.approx(chance, rel=0.01)


def test_many_trials_neither_underflow_nor_take_long() -> None:
    assert binomial_tail(10**6, 10**5, 0.1) == pytest.approx(0.5, abs=0.01)
    assert binomial_tail(10**6, 1, 0.5) == 1.0
    assert fisher_tail((10**5, 10**6), (10**5, 10**6)) == pytest.approx(0.5, abs=0.01)
    assert fisher_tail((10**4, 10**5), (0, 10**6)) < 1e-300


def test_without_the_other_side_nothing_is_unlikely() -> None:
    assert fisher_tail((10, 100), (0, 0)) == pytest.approx(1.0)
