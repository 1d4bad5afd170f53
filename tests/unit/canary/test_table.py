"""A worker's copy of the routes: what it believes while the store changes, is away, or has forgotten."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
import structlog.testing

from gateway.canary.store import Snapshot, Stored
from gateway.canary.table import Live, RouteTable
from gateway.store import Position, StoreAway


class NoNumber(Exception):
    """What the reader of these tests raises."""


def number(document: str) -> int:
    if not document.isdecimal():
        raise NoNumber(document)
    return int(document)


@dataclass
class Shelf:
    """The routes as the table sees them, without Redis; `away` makes every call fail.

    Gateways of earlier versions, which may serve beside these, are not `marking` their changes.
    """

    routes: dict[str, Stored] = field(default_factory=dict)
    stands: Position = field(default_factory=Position)
    away: bool = False
    read_only: bool = False
    marking: bool = True
    reads: int = 0

    async def position(self) -> Position:
        self._answer()
        return self.stands

    async def read(self) -> Snapshot:
        self._answer()
        self.reads += 1
        return Snapshot(self.stands, dict(self.routes))

    async def restore(self, routes: Mapping[str, Stored], reason: str) -> int:
        self._answer()
        assert reason
        if self.read_only:
            raise StoreAway("read only")
        lost = {
            model: stored
            for model, stored in routes.items()
            if stored.generation > self.routes.get(model, Stored()).generation
        }
        self.put(**lost)
        return len(lost)

    async def hints(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    def put(self, **routes: Stored) -> None:
        self.routes |= routes
        if routes:
            version, mark = self.stands.version + 1, secrets.token_hex(8)
            marks = {**self.stands.marks, version: mark} if self.marking else {}
            self.stands = Position(self.stands.epoch or mark, version, marks)

    def empty(self) -> None:
        self.routes, self.stands = {}, Position()

    def _answer(self) -> None:
        if self.away:
            raise StoreAway("connection refused")


@dataclass
class Clock:
    """Monotonic; it moves only by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def table_of(
    shelf: Shelf, clock: Clock | None = None
) -> tuple[RouteTable[int], list[tuple[str, int | None]]]:
    """The table, and what its hook was told."""
    heard: list[tuple[str, int | None]] = []
    table = RouteTable(
        shelf,
        number,
        clock=clock or Clock(),
        broken=NoNumber,
        on_change=lambda model, live: heard.append((model, live and live.route)),
    )
    return table, heard


async def test_before_the_first_reading_there_is_no_route_and_that_shows() -> None:
    shelf = Shelf()
    shelf.put(pets=Stored("5", 3))
    table, heard = table_of(shelf)
    assert table.route("pets") is None
    assert not table.status().known
    await table.refresh()
    assert table.route("pets") == Live(5, 3)
    assert table.status().known
    assert table.status().fresh
    assert heard == [("pets", 5)]


async def test_an_empty_store_is_a_good_one() -> None:
    table, heard = table_of(Shelf())
    await table.refresh()
    assert table.routes() == {}
    assert table.status().fresh
    assert heard == []


async def test_a_store_that_did_not_change_is_not_read_again() -> None:
    shelf = Shelf()
    shelf.put(pets=Stored("5", 1))
    table, heard = table_of(shelf)
    for _ in range(5):
        await table.refresh()
    assert shelf.reads == 1
    assert len(heard) == 1


async def test_only_what_changed_is_told() -> None:
    shelf = Shelf()
    shelf.put(pets=Stored("5", 1), signs=Stored("7", 1))
    table, heard = table_of(shelf)
    await table.refresh()
    heard.clear()
    shelf.put(pets=Stored("6", 2))
    await table.refresh()
    shelf.put(pets=Stored(None, 3))
    await table.refresh()
    assert heard == [("pets", 6), ("pets", None)]
    assert table.status().routes == 1


async def test_the_last_good_routes_hold_for_as_long_as_the_store_is_away() -> None:
    shelf, clock = Shelf(), Clock()
    shelf.put(pets=Stored("5", 1))
    table, _ = table_of(shelf, clock)
    await table.refresh()
    shelf.away = True
    clock.now += 10**6
    with pytest.raises(StoreAway):
        await table.refresh()
    assert table.route("pets") == Live(5, 1)
    assert table.status().known
    assert not table.status().fresh


async def test_a_store_put_back_to_an_older_state_changes_nothing() -> None:
    shelf = Shelf()
    shelf.put(pets=Stored("0", 1), gone=Stored("10000", 1))
    older = dict(shelf.routes), shelf.stands
    shelf.put(pets=Stored("10000", 2), gone=Stored(None, 2))
    table, heard = table_of(shelf)
    await table.refresh()
    heard.clear()
    shelf.routes, shelf.stands = older
    with structlog.testing.capture_logs() as lines:
        await table.refresh()
    assert shelf.routes == {"pets": Stored("10000", 2), "gone": Stored(None, 2)}
    assert table.routes() == {"pets": Live(10000, 2)}
    assert heard == []
    assert [line["event"] for line in lines][:2] == ["routes_store_lost", "routes_written_back"]
    assert lines[0]["missing"] == ["gone", "pets"]


@pytest.mark.parametrize(
    ("marking", "changes"),
    [
        pytest.param(True, 1, id="then at the version that the worker knows"),
        pytest.param(True, 2, id="then past it"),
        pytest.param(False, 2, id="then past it, by gateways that make no marks"),
    ],
)
async def test_a_store_that_lost_a_change_and_went_on_is_told_of_it(marking: bool, changes: int) -> None:
    """As a replica does that had not heard of the last change when it took over."""
    shelf = Shelf(marking=marking)
    shelf.put(pets=Stored("5000", 1), signs=Stored("7", 1))
    older = dict(shelf.routes), shelf.stands
    shelf.put(pets=Stored("0", 2))
    table, heard = table_of(shelf)
    await table.refresh()
    heard.clear()
    shelf.routes, shelf.stands = older
    for generation in range(2, 2 + changes):
        shelf.put(signs=Stored("8", generation))
    with structlog.testing.capture_logs() as lines:
        await table.refresh()
    assert shelf.routes["pets"] == Stored("0", 2)
    assert table.routes() == {"pets": Live(0, 2), "signs": Live(8, 1 + changes)}
    assert heard == [("signs", 8)]
    assert [line["event"] for line in lines][:2] == ["routes_store_lost", "routes_written_back"]
    assert lines[0]["missing"] == ["pets"]


async def test_a_route_that_somebody_took_out_of_the_store_comes_back() -> None:
    """One that was deleted leaves its generation there."""
    shelf = Shelf()
    shelf.put(pets=Stored("5", 1))
    table, heard = table_of(shelf)
    await table.refresh()
    del shelf.routes["pets"]
    shelf.put(signs=Stored("7", 1))
    await table.refresh()
    assert shelf.routes["pets"] == Stored("5", 1)
    assert heard == [("pets", 5), ("signs", 7)]


async def test_a_route_put_after_the_loss_holds_beside_the_old_ones() -> None:
    shelf = Shelf()
    shelf.put(pets=Stored("5", 4))
    table, _ = table_of(shelf)
    await table.refresh()
    shelf.empty()
    shelf.put(signs=Stored("7", 1))
    await table.refresh()
    assert table.routes() == {"pets": Live(5, 4), "signs": Live(7, 1)}
    assert shelf.routes == {"pets": Stored("5", 4), "signs": Stored("7", 1)}


async def test_workers_that_knew_different_generations_end_with_the_newest_in_either_order() -> None:
    for order in ((0, 1), (1, 0)):
        shelf = Shelf()
        shelf.put(pets=Stored("5", 4))
        tables = [table_of(shelf)[0] for _ in range(2)]
        await tables[0].refresh()
        shelf.put(pets=Stored("6", 5))
        await tables[1].refresh()
        shelf.empty()
        for place in (*order, *order):
            await tables[place].refresh()
        assert [table.route("pets") for table in tables] == [Live(6, 5)] * 2


async def test_the_alarm_is_raised_once_also_where_writing_back_is_refused() -> None:
    shelf = Shelf()
    shelf.put(pets=Stored("5", 4))
    table, heard = table_of(shelf)
    await table.refresh()
    shelf.empty()
    shelf.read_only = True
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(StoreAway):
                await table.refresh()
    assert [(line["event"], line["log_level"]) for line in lines] == [("routes_store_lost", "error")]
    assert not table.status().fresh
    assert table.route("pets") == Live(5, 4)
    shelf.read_only = False
    await table.refresh()
    assert table.status().fresh
    assert shelf.routes == {"pets": Stored("5", 4)}
    assert len(heard) == 1


async def test_a_document_that_cannot_be_read_is_told_once_and_never_written_over() -> None:
    shelf = Shelf()
    shelf.put(pets=Stored("5", 1), new=Stored("none", 1))
    table, heard = table_of(shelf)
    with structlog.testing.capture_logs() as lines:
        await table.refresh()
        shelf.put(pets=Stored("many", 2))
        await table.refresh()
        shelf.put(signs=Stored("7", 1))
        await table.refresh()
        shelf.stands = Position("another", 1)
        await table.refresh()
    told = [(line["model"], line["kept"]) for line in lines if line["event"] == "route_unreadable"]
    assert told == [("new", False), ("pets", True)]
    assert table.routes() == {"pets": Live(5, 1), "signs": Live(7, 1)}
    assert table.status().unreadable == {"pets", "new"}
    assert shelf.routes["pets"] == Stored("many", 2)
    assert heard == [("pets", 5), ("signs", 7)]


async def test_a_document_that_cannot_be_read_is_written_back_as_it_was() -> None:
    shelf = Shelf()
    shelf.put(pets=Stored("5", 1), new=Stored("none", 4))
    table, _ = table_of(shelf)
    await table.refresh()
    shelf.put(pets=Stored("many", 2))
    await table.refresh()
    shelf.empty()
    assert table.generation("new") == 4  # so that a change does not pass for the first one
    await table.refresh()
    assert shelf.routes == {"pets": Stored("many", 2), "new": Stored("none", 4)}
    assert table.routes() == {"pets": Live(5, 1)}
    assert table.status().unreadable == {"pets", "new"}
