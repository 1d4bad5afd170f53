"""Which state a store is in, and whether that comes after another one."""

import pytest

from gateway.store import Position

KNOWN = Position("e", 7, {6: "a", 7: "b"})


@pytest.mark.parametrize(
    ("known", "now", "lost"),
    [
        pytest.param(Position(), Position("e", 3, {3: "x"}), False, id="nothing was known"),
        pytest.param(KNOWN, KNOWN, False, id="nothing changed"),
        pytest.param(KNOWN, Position("e", 9, {7: "b", 8: "c", 9: "d"}), False, id="it went on"),
        pytest.param(KNOWN, Position("e", 99, {98: "c", 99: "d"}), False, id="it went on for long"),
        pytest.param(KNOWN, Position(), True, id="it is empty"),
        pytest.param(KNOWN, Position("f", 9, {9: "d"}), True, id="it was empty"),
        pytest.param(KNOWN, Position("e", 6, {6: "a"}), True, id="it is older"),
        pytest.param(
            KNOWN, Position("e", 7, {6: "a", 7: "z"}), True, id="it was older, and another change came"
        ),
        pytest.param(KNOWN, Position("e", 8, {6: "a", 7: "z", 8: "y"}), True, id="and then some more"),
        pytest.param(KNOWN, Position("e", 8), False, id="its marks are gone"),
        pytest.param(
            Position("e", 7), Position("e", 8, {8: "c"}), False, id="marks begin after what was known"
        ),
        pytest.param(
            Position("e", 7), Position("e", 8, {7: "z", 8: "c"}), True, id="what had no mark has one"
        ),
    ],
)
def test_a_store_that_lost_something_is_told_from_one_that_went_on(
    known: Position, now: Position, lost: bool
) -> None:
    assert now.has_lost(known) is lost
