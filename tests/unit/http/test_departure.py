"""Who watches hears once that the caller left, whenever that was."""

import asyncio

from gateway.http.departure import Departure, departure_of


async def test_who_watches_is_called_when_the_caller_leaves_and_the_server_reads_on() -> None:
    told: list[str] = []
    departure = Departure(lambda: told.append("reads"))
    departure.watch(lambda: told.append("left"))
    assert (told, departure.left) == (["reads"], False)
    departure.happen()
    assert (told, departure.left) == (["reads", "left"], True)


async def test_who_comes_later_is_called_all_the_same() -> None:
    told: list[str] = []
    departure = Departure(lambda: None)
    departure.happen()
    departure.watch(lambda: told.append("left"))
    assert told == []  # not while it is still being asked for
    await asyncio.sleep(0)
    assert told == ["left"]


async def test_who_watches_no_more_is_not_called() -> None:
    told: list[str] = []
    early, late = Departure(lambda: None), Departure(lambda: None)
    late.happen()
    for departure in (early, late):
        departure.watch(lambda: told.append("left"))
        departure.forget()
    early.happen()
    await asyncio.sleep(0)
    assert told == []


async def test_under_a_server_that_does_not_tell_nobody_leaves() -> None:
    departure = departure_of({"type": "http"})
    departure.watch(lambda: None)
    departure.forget()
    assert not departure.left
