"""Changes of a route, in a real Redis, that meet those of somebody else: a pre-flight takes seconds, and others act."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import structlog.testing
from stack import Addresses, free_addresses
from support.redis_server import Server, serving

from gateway.canary.lifecycle import abort, advance, freeze, promote, put, rollback, unfreeze
from gateway.canary.preflight import Check
from gateway.canary.rollouts import Rollouts, Transition
from gateway.canary.route import BrokenRoute, Phase, Route, Step, from_document
from gateway.canary.store import ROUTES, Cause, LostRace, RouteStore, Stored
from gateway.canary.table import Live, RouteTable
from gateway.canary.wanted import Wanted
from gateway.errors import ModelNotFound, PreflightFailed, RouteConflict
from gateway.store import connect

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(free_addresses()) as started:
        yield started


@dataclass
class Meanwhile:
    """A pre-flight, and what happens while the next one runs."""

    happens: Callable[[], Awaitable[object]] | None = None
    fails: bool = False

    async def run(self, model: str, stable: str, canary: str) -> list[Check]:
        return await self.alone(model, canary)

    async def alone(self, model: str, version: str) -> list[Check]:
        happens, self.happens = self.happens, None
        if happens is not None:
            await happens()
        return [Check("it is loaded", passed=not self.fails, detail="")]


@dataclass
class Office:
    """Where operators change the route of `pets`."""

    rollouts: Rollouts
    preflight: Meanwhile

    async def change(
        self, transition: Transition, actor: str = "ann", *, expected: int | None = None
    ) -> Live[Route]:
        return await self.rollouts.change("pets", transition, Cause(actor, "change", ""), expected=expected)

    async def undo(self, *, expected: int | None = None) -> Live[Route]:
        return await self.rollouts.undo("pets", lambda: NOW, Cause("ann", "undo", ""), expected=expected)

    async def delete(self, expected: int) -> None:
        await self.rollouts.delete("pets", Cause("ann", "delete", ""), expected=expected)

    async def standing(self) -> Live[Route]:
        return await self.rollouts.standing("pets")

    async def newer_release(self, expected: int) -> None:
        """Puts a route of a kind that only it can read."""
        cause = Cause("newer", "put", "")
        await self.rollouts.store.put("pets", '{"model":"pets","stable":"1","colour":"red"}', expected, cause)


@pytest.fixture
async def office(server: Server) -> AsyncIterator[Office]:
    server.admin().flushall()
    async with opened(server.at) as found:
        yield found


@contextlib.asynccontextmanager
async def opened(at: Addresses) -> AsyncIterator[Office]:
    async with connect(f"redis://{at.redis_address}:{at.redis_port}/0", timeout=1.0) as client:
        store, preflight = RouteStore(client), Meanwhile()
        table = RouteTable(store, from_document, clock=time.monotonic, broken=BrokenRoute)
        yield Office(Rollouts(store, table, preflight, lambda _: "1"), preflight)


def canary(version: str, weight: int) -> Transition:
    return lambda route: put(route, Wanted("1", version, weight), NOW, f"salt{version}")


def failed(route: Route) -> Route:
    return rollback(route, "every tenth call fails", NOW)


async def test_a_rollback_during_an_undo_stands(office: Office) -> None:
    for weight in (2500, 500):
        await office.change(canary("2", weight))
    office.preflight.happens = lambda: office.change(failed, "guard")
    with pytest.raises(RouteConflict, match="generation 3"):
        await office.undo()
    assert (await office.standing()).route.phase is Phase.ROLLED_BACK


async def test_a_promotion_is_not_of_a_canary_that_came_meanwhile(office: Office) -> None:
    await office.change(canary("2", 5000))
    office.preflight.happens = lambda: office.change(canary("3", 0), "ben")
    with pytest.raises(RouteConflict, match="generation 2"):
        await office.change(lambda route: promote(route, NOW))
    assert (await office.standing()).route.stable == "1"


async def test_whoever_names_a_generation_is_told_of_the_other_one(office: Office) -> None:
    await office.change(canary("2", 2500))
    await office.change(canary("2", 500))
    with pytest.raises(LostRace):
        await office.undo(expected=1)
    office.preflight.happens = lambda: office.change(failed, "guard")
    with pytest.raises(LostRace):
        await office.undo(expected=2)
    assert (await office.standing()).route.phase is Phase.ROLLED_BACK


async def test_what_only_takes_traffic_away_passes_whoever_else_changes_the_route(office: Office) -> None:
    for _ in range(10):
        before = (await office.change(canary("2", 500))).generation
        await asyncio.gather(office.change(freeze), office.change(failed, "guard"))
        standing = await office.standing()
        assert (standing.generation, standing.route.weight, standing.route.frozen) == (before + 2, 0, True)
        await office.change(unfreeze)


@pytest.mark.parametrize("end", [failed, partial(abort, now=NOW)], ids=["rollback", "abort"])
async def test_an_end_asks_nothing_of_the_canary_also_where_some_were_always_on_it(
    office: Office, end: Transition
) -> None:
    await office.change(lambda route: put(route, Wanted("1", "2", 500, always=("vip",)), NOW, "salt"))
    office.preflight.fails = True
    after = await office.change(end)
    assert (after.route.always, after.route.under_way) == ((), False)
    with pytest.raises(PreflightFailed):
        await office.change(canary("2", 100))


async def test_what_was_before_a_route_that_was_written_back_nobody_knows(office: Office) -> None:
    await office.change(canary("2", 500))
    route = (await office.rollouts.store.get("pets")).document
    await office.rollouts.store.restore({"pets": Stored(route, 7)}, "lost")
    with pytest.raises(RouteConflict, match="no change to undo"):
        await office.undo()


async def test_a_default_route_with_another_stable_version_is_checked_as_any_other_change(
    office: Office,
) -> None:
    await office.change(lambda route: put(route, Wanted("2"), NOW, "salt"))
    office.preflight.fails = True
    with pytest.raises(PreflightFailed, match="Version 1 "):
        await office.delete(expected=1)
    assert (await office.standing()).route.stable == "2"
    office.preflight.fails = False
    await office.delete(expected=1)
    assert (await office.standing()).route.stable == "1"
    await office.change(canary("2", 500))
    office.preflight.fails = True
    await office.delete(expected=3)  # less traffic needs no check


async def test_a_step_begins_when_its_preflight_is_over(office: Office) -> None:
    now = [NOW]

    async def takes_long() -> None:
        now[0] += 12

    office.preflight.happens = takes_long
    plan = Wanted("1", "2", steps=(Step(500, 10, 0), Step(5000, 10, 0)))
    begun = await office.change(lambda route: put(route, plan, now[0], "salt"))
    assert begun.route.step_started_at == begun.route.since == NOW + 12
    office.preflight.happens = takes_long
    further = await office.change(lambda route: advance(route, now[0]))
    assert further.route.step_started_at == NOW + 24


CHANGES: dict[str, Callable[[Office], Awaitable[object]]] = {
    "set": lambda office: office.change(canary("2", 100), expected=2),
    "rolled back": lambda office: office.change(failed),
    "undone": lambda office: office.undo(),
    "deleted": lambda office: office.delete(expected=2),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_route_that_cannot_be_read_is_the_last_good_one_until_it_is(
    office: Office, change: str
) -> None:
    await office.change(canary("2", 500))
    await office.newer_release(expected=1)
    await office.rollouts.table.refresh()
    unreadable = await office.standing()
    assert (unreadable.route.weight, unreadable.generation) == (500, 2)
    assert "colour" in unreadable.unreadable
    await CHANGES[change](office)
    mended = await office.standing()
    weights = {"set": 100, "rolled back": 0, "undone": 500, "deleted": 0}
    assert (mended.route.weight, mended.generation, mended.unreadable) == (weights[change], 3, "")
    assert not office.rollouts.table.status().unreadable


async def test_what_cannot_be_read_is_not_brought_back(office: Office) -> None:
    await office.newer_release(expected=0)
    await office.change(canary("2", 500), expected=1)
    with pytest.raises(RouteConflict, match="colour"):
        await office.undo()


async def test_a_route_of_a_model_that_is_not_served_can_be_deleted_also_where_it_cannot_be_read(
    office: Office,
) -> None:
    def nowhere(model: str) -> str:
        raise ModelNotFound(model)

    office.rollouts = replace(office.rollouts, stable_of=nowhere)
    with pytest.raises(ModelNotFound):
        await office.delete(expected=0)
    await office.newer_release(expected=0)
    await office.delete(expected=1)
    assert (await office.rollouts.store.get("pets")) == Stored(None, 2)


@pytest.mark.parametrize("change", [failed, canary("2", 5000)], ids=["rollback", "weight"])
@pytest.mark.parametrize(
    "forget",
    [lambda redis: redis.flushall(), lambda redis: redis.hdel(ROUTES, "pets")],
    ids=["all", "this one, which nothing tells"],
)
async def test_a_change_in_the_moment_after_the_store_lost_its_data_is_made_of_the_route_that_holds(
    office: Office, server: Server, change: Transition, forget: Callable[[Any], object]
) -> None:
    before = await office.change(canary("2", 500))
    forget(server.admin())
    with structlog.testing.capture_logs() as lines:
        after = await office.change(change)
    assert lines[0]["missing"] == ["pets"]
    assert after == Live(change(before.route), before.generation + 1)
    await office.rollouts.table.refresh()
    assert office.rollouts.applied("pets") == after
