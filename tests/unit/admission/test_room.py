"""Who goes next, who has no place, and how long it takes."""

import pytest

from gateway.admission.room import Room, Ticket
from gateway.domain import Priority

INTERACTIVE, STANDARD, BATCH = Priority


def ticket(priority: Priority, entered: float = 0.0) -> Ticket:
    return Ticket(priority, expires=100.0, entered=entered, settled=lambda _: None)


def filled(room: Room, counts: tuple[int, int, int]) -> Room:
    for priority, count in zip(Priority, counts, strict=True):
        for _ in range(count):
            room.push(ticket(priority))
    return room


def served(room: Room, count: int) -> list[Priority]:
    order = []
    for _ in range(count):
        first = room.first(lambda _: True)
        assert first is not None
        room.take(first)
        order.append(first.priority)
    return order


def test_within_a_class_the_first_goes_first() -> None:
    room = Room(10)
    tickets = [ticket(STANDARD) for _ in range(3)]
    for each in tickets:
        room.push(each)
    for each in tickets:
        assert room.first(lambda _: True) is each
        room.take(each)
    assert len(room) == 0
    assert room.first(lambda _: True) is None


def test_between_classes_turns_are_weighted_and_none_starves() -> None:
    order = served(filled(Room(300), (100, 100, 100)), 84)
    assert [order.count(priority) for priority in Priority] == [64, 16, 4]


def test_the_most_urgent_goes_first_when_all_begin_to_wait_together() -> None:
    assert served(filled(Room(10), (2, 2, 2)), 1) == [INTERACTIVE]


def test_an_urgent_one_that_comes_later_overtakes_a_long_line() -> None:
    room = filled(Room(100), (0, 0, 50))
    served(room, 20)
    room.push(ticket(INTERACTIVE))
    assert INTERACTIVE in served(room, 2)


def test_a_class_that_had_to_be_passed_over_does_not_save_turns_up() -> None:
    room = filled(Room(200), (100, 0, 50))
    for _ in range(64):
        first = room.first(lambda priority: priority is INTERACTIVE)
        assert first is not None
        room.take(first)
    assert served(room, 17).count(BATCH) <= 2


def test_a_full_room_sheds_the_newest_of_the_lowest_class() -> None:
    room = filled(Room(10), (0, 5, 4))
    newest = ticket(BATCH)
    room.push(newest)
    assert room.evict() is None
    room.push(ticket(INTERACTIVE))
    assert room.evict() is newest
    assert len(room) == 10


def test_even_under_pressure_from_above_a_class_keeps_its_share_of_the_places() -> None:
    room = filled(Room(64), (0, 32, 32))
    for _ in range(200):
        room.push(ticket(INTERACTIVE))
        room.evict()
    assert len(room) == 64
    assert room.waiting(STANDARD) >= 12
    assert room.waiting(BATCH) >= 3


@pytest.mark.parametrize(
    ("counts", "coming", "expected"),
    [
        ((0, 0, 9), BATCH, False),
        ((0, 0, 10), BATCH, True),
        ((0, 0, 10), INTERACTIVE, False),
        ((10, 0, 0), INTERACTIVE, True),
        ((10, 0, 0), BATCH, False),
    ],
    ids=[
        "one place is left",
        "its own class fills the room",
        "a lower class has more than its share",
        "nobody lower is there",
        "its own share of the places is taken by another class",
    ],
)
def test_whether_there_is_a_place(counts: tuple[int, int, int], coming: Priority, expected: bool) -> None:
    assert filled(Room(10), counts).is_full_for(coming) is expected


@pytest.mark.parametrize(
    ("counts", "coming", "expected"),
    [
        ((0, 0, 0), BATCH, 0.1),
        ((4, 0, 0), INTERACTIVE, 0.5),
        ((0, 0, 40), INTERACTIVE, 0.1 * (1 + 1 / 16)),
        ((40, 40, 0), BATCH, 0.1 * (1 + 16 + 4)),
        ((3, 2, 0), BATCH, 0.6),
    ],
    ids=[
        "an empty room",
        "those of the class itself",
        "a long line below costs the share of a turn",
        "above, no more than their share of the turns",
        "above, no more than there are",
    ],
)
def test_the_wait_at_ten_a_second(counts: tuple[int, int, int], coming: Priority, expected: float) -> None:
    assert filled(Room(100), counts).wait(coming, 10, now=0.0) == pytest.approx(expected)


def test_a_line_that_does_not_move_waits_as_long_as_its_first_did_already() -> None:
    room = Room(10)
    for _ in range(4):
        room.push(ticket(BATCH, entered=0.0))
    assert room.wait(BATCH, 10, now=3.0) == pytest.approx(3.0 * 5)
    assert room.wait(BATCH, None, now=3.0) == pytest.approx(3.0 * 5)


def test_a_room_without_a_place_for_each_class_is_refused() -> None:
    with pytest.raises(ValueError, match="each class"):
        Room(2)
