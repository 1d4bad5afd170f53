"""Amounts as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canary import amounts


@pytest.mark.parametrize(
    ("text", "points"),
    [("5%", 500), ("2.5 %", 250), ("0.01%", 1), ("500", 500), ("100%", 10_000), ("10000", 10_000), ("0", 0)],
)
def test_a_weight_is_a_percentage_or_basis_points(text: str, points: int) -> None:
    assert amounts.basis_points(text) == points


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%",
        "five",
        "101%",
        "10001",
        "-1",
        "0.005%",
        "0.5",
        "NaN",
        "Infinity",
        "5%%",
        "1e999999",
        "1e999999%",
        "9" * 13,
    ],
)
def test_what_is_no_weight_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"percent|basis points|finite|steps"):
        amounts.basis_points(text)


@pytest.mark.parametrize(("text", "part"), [("90%", 0.9), ("0.9", 0.9), ("1", 1.0), ("0%", 0.0)])
def test_a_share_is_a_percentage_or_a_part_of_one(text: str, part: float) -> None:
    assert amounts.share(text) == part


@pytest.mark.parametrize("text", ["101%", "1.1", "-0.1", "nan", "most"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"from 0|neither|finite"):
        amounts.share(text)


@pytest.mark.parametrize(
    ("text", "length"),
    [("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1d", 86_400), ("90", 90), ("1.5s", 1.5), ("1h 5s", 3605)],
)
def test_a_duration_has_units_or_is_in_seconds(text: str, length: float) -> None:
    assert amounts.seconds(text) == length


@pytest.mark.parametrize("text", ["", " ", "h", "2w", "1m1h", f"{10**400}d", "-5", "1.5h", "soon"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        amounts.seconds(text)


@given(st.integers(0, 10**11))
def test_a_duration_that_was_written_is_read_as_the_same(milliseconds: int) -> None:
    assert round(amounts.seconds(amounts.duration(milliseconds / 1000)) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("length", "text"), [(0, "0s"), (60, "1m"), (5400, "1h30m"), (1.25, "1.25s"), (7199.9, "1h59m59.9s")]
)
def test_a_duration_is_written_in_its_largest_units(length: float, text: str) -> None:
    assert amounts.duration(length) == text
