"""A worker's copy of the deny-list: what it believes while the list changes, is away, or has forgotten."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import structlog.testing
from unit.auth.workshop import NOW, Clock

from gateway.auth import DenyList
from gateway.errors import Forbidden, Overloaded
from gateway.store import StoreAway


@dataclass
class Board:
    """The list without Redis; `away` makes every call fail."""

    names: dict[str, float] = field(default_factory=dict)
    away: bool = False

    async def read(self, now: float) -> Mapping[str, float]:
        self._answer()
        return {name: until for name, until in self.names.items() if until > now}

    async def deny(self, names: Mapping[str, float]) -> None:
        self._answer()
        self.names |= {name: max(until, self.names.get(name, 0)) for name, until in names.items()}

    def _answer(self) -> None:
        if self.away:
            raise StoreAway("connection refused")


@dataclass
class Copy:
    """A copy with its clocks."""

    board: Board = field(default_factory=Board)
    clock: Clock = field(default_factory=lambda: Clock(1000.0))
    wall: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.list = DenyList(self.board, clock=self.clock, wall=self.wall)


async def test_a_name_is_denied_until_its_moment() -> None:
    here = Copy(Board({"gone": NOW + 10}))
    await here.list.refresh()
    assert here.list.denies("other", "gone")
    assert not here.list.denies("other")
    here.wall.now += 10
    assert not here.list.denies("gone")


async def test_before_the_list_was_read_nobody_can_tell() -> None:
    here = Copy()
    with pytest.raises(Overloaded):
        here.list.denies("any")
    assert not here.list.fresh


async def test_the_last_copy_holds_for_a_minute_and_never_for_the_administration() -> None:
    here = Copy(Board({"gone": NOW + 1000}))
    await here.list.refresh()
    assert not here.list.denies("any", administers=True)
    here.clock.now += 60
    assert here.list.denies("gone")
    assert not here.list.denies("any")
    with pytest.raises(Overloaded):
        here.list.denies("any", administers=True)
    here.clock.now += 0.1
    with pytest.raises(Overloaded):
        here.list.denies("any")


async def test_a_list_that_forgot_is_told_again() -> None:
    here = Copy(Board({"gone": NOW + 10, "over": NOW + 1, "shorter": NOW + 10}))
    await here.list.refresh()
    here.wall.now += 2
    here.board.names = {"shorter": NOW + 5, "new": NOW + 20}
    with structlog.testing.capture_logs() as lines:
        await here.list.refresh()
    assert here.board.names == {"gone": NOW + 10, "shorter": NOW + 10, "new": NOW + 20}
    assert here.list.denies("gone")
    assert here.list.denies("new")
    assert [(line["event"], line["lost"]) for line in lines] == [("denied_tokens_lost", 2)]


async def test_a_list_that_cannot_be_read_leaves_the_copy() -> None:
    here = Copy(Board({"gone": NOW + 10}))
    await here.list.refresh()
    here.board.away = True
    with pytest.raises(StoreAway):
        await here.list.refresh()
    assert here.list.denies("gone")


async def test_for_a_caller_on_the_list_nothing_is_made() -> None:
    here = Copy(Board({"gone": NOW + 60}))
    await here.list.refresh()
    here.list.check_open("other")
    with pytest.raises(Forbidden, match="were ended, and those to come until 20"):
        here.list.check_open("gone")
