"""Permits under asyncio. The event loop's clock is virtual: it jumps to the next timer, so nothing really waits."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support.virtual_time import VirtualLoop

from gateway.admission import Admission, GatePolicy, LimitPolicy, Outcome, Permit, outcome_of
from gateway.domain import Deadline, Priority
from gateway.errors import (
    DeadlineExceeded,
    Overloaded,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamUnavailable,
)

INTERACTIVE, STANDARD, BATCH = Priority
LANE = "pets/1 on a"


def run(
    test: Callable[[Admission[str]], Coroutine[Any, Any, None]], slots: int = 1, places: int = 10
) -> None:
    """Runs `test` on a loop whose time is virtual, with a gate of `slots`."""
    policy = GatePolicy(LimitPolicy(target=0.4, lowest=1, start=slots, highest=slots), places)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        runner.run(test(Admission(lambda _: policy, clock=loop.time)))


def within(seconds: float) -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + seconds)


def waiting(admission: Admission[str]) -> int:
    return sum(admission.load()[LANE].waiting.values())


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def acquiring(
    admission: Admission[str], priority: Priority = INTERACTIVE, seconds: float = 10.0
) -> "asyncio.Task[Permit]":
    task = asyncio.create_task(admission.acquire(LANE, priority, within(seconds)))
    await turns()
    return task


def test_a_permit_is_given_at_once_while_there_are_slots_and_later_when_one_comes_back() -> None:
    async def test(admission: Admission[str]) -> None:
        first = await admission.acquire(LANE, INTERACTIVE, within(1))
        second = await acquiring(admission)
        assert not second.done()
        assert first.release(Outcome.ANSWERED)
        await second
        assert admission.load()[LANE].in_flight == 1

    run(test)


def test_a_permit_is_given_back_once_however_often_it_is_released() -> None:
    async def test(admission: Admission[str]) -> None:
        permit = await admission.acquire(LANE, INTERACTIVE, within(1))
        await acquiring(admission)
        assert permit.release(Outcome.ANSWERED)
        assert not permit.release(Outcome.ANSWERED)
        assert admission.load()[LANE].in_flight == 1

    run(test)


def test_lanes_do_not_share_slots() -> None:
    async def test(admission: Admission[str]) -> None:
        await admission.acquire(LANE, INTERACTIVE, within(1))
        await admission.acquire("pets/2 on a", INTERACTIVE, within(1))
        assert {lane: load.in_flight for lane, load in admission.load().items()} == {
            LANE: 1,
            "pets/2 on a": 1,
        }

    run(test)


def test_who_is_cancelled_while_waiting_gives_the_place_back() -> None:
    async def test(admission: Admission[str]) -> None:
        await admission.acquire(LANE, INTERACTIVE, within(1))
        task = await acquiring(admission)
        assert waiting(admission) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waiting(admission) == 0

    run(test)


@pytest.mark.parametrize(
    "cancel_first", [True, False], ids=["cancelled, then granted", "granted, then cancelled"]
)
def test_a_permit_granted_in_the_moment_of_a_cancel_goes_to_the_next(cancel_first: bool) -> None:
    async def test(admission: Admission[str]) -> None:
        holder = await admission.acquire(LANE, INTERACTIVE, within(1))
        leaving, following = await acquiring(admission), await acquiring(admission)
        if cancel_first:
            leaving.cancel()
            holder.release(Outcome.ANSWERED)
        else:
            holder.release(Outcome.ANSWERED)
            leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        permit = await following
        assert permit.release(Outcome.ANSWERED)
        assert admission.load()[LANE].in_flight == 0

    run(test)


def test_a_wait_ends_at_the_deadline() -> None:
    async def test(admission: Admission[str]) -> None:
        holder = await admission.acquire(LANE, INTERACTIVE, within(100))
        start = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceeded):
            await admission.acquire(LANE, INTERACTIVE, within(2.5))
        assert asyncio.get_running_loop().time() - start == pytest.approx(2.5)
        assert waiting(admission) == 0
        assert holder.release(Outcome.ANSWERED)

    run(test)


def test_who_loses_the_place_to_a_more_urgent_request_is_refused_with_a_time() -> None:
    async def test(admission: Admission[str]) -> None:
        await admission.acquire(LANE, INTERACTIVE, within(1))
        low = [await acquiring(admission, BATCH) for _ in range(3)]
        await acquiring(admission, INTERACTIVE)
        with pytest.raises(Overloaded) as caught:
            await low[2]
        assert caught.value.retry_after
        assert not low[0].done()
        for task in low[:2]:
            task.cancel()

    run(test, places=3)


def test_a_full_room_is_told_before_and_at_the_door() -> None:
    async def test(admission: Admission[str]) -> None:
        for _ in range(4):
            await acquiring(admission)
        with pytest.raises(Overloaded):
            admission.check(LANE, INTERACTIVE, within(1))
        with pytest.raises(Overloaded):
            await admission.acquire(LANE, INTERACTIVE, within(1))

    run(test, places=3)


def test_low_classes_that_wait_for_the_pace_are_woken_without_any_call_ending() -> None:
    async def test(admission: Admission[str]) -> None:
        for _ in range(8):
            permits = [await admission.acquire(LANE, INTERACTIVE, within(9)) for _ in range(8)]
            await asyncio.sleep(0.1)
            for permit in permits:
                permit.release(Outcome.ANSWERED)
        tasks = [await acquiring(admission, BATCH) for _ in range(8)]
        assert 0 < waiting(admission) <= 4
        await asyncio.gather(*tasks)
        assert admission.load()[LANE].in_flight == 8

    run(test, slots=8)


def test_the_slot_of_a_block_is_free_after_it_whatever_happens() -> None:
    async def test(admission: Admission[str]) -> None:
        async with admission.slot(LANE, INTERACTIVE, within(1)):
            assert admission.load()[LANE].in_flight == 1
        with pytest.raises(UpstreamFailed):
            async with admission.slot(LANE, INTERACTIVE, within(1)):
                raise UpstreamFailed("The model failed.")
        assert admission.load()[LANE].in_flight == 0

    run(test)


def test_without_waiting_a_slot_is_had_at_once_or_not_at_all() -> None:
    async def test(admission: Admission[str]) -> None:
        assert admission.is_open(LANE, BATCH)
        async with admission.slot(LANE, BATCH, within(1), wait=False):
            assert not admission.is_open(LANE, BATCH)
            with pytest.raises(Overloaded):
                await admission.acquire(LANE, BATCH, within(1), wait=False)
            assert (admission.load()[LANE].in_flight, waiting(admission)) == (1, 0)
        assert admission.is_open(LANE, BATCH)
        assert asyncio.get_running_loop().time() == 0

    run(test)


def test_a_client_that_leaves_does_not_free_the_slot_of_its_call() -> None:
    async def test(admission: Admission[str]) -> None:
        async def request() -> None:
            async with admission.slot(LANE, INTERACTIVE, within(9)) as permit:
                call = asyncio.ensure_future(asyncio.sleep(3))
                permit.follow(call)
                await asyncio.shield(call)

        client = asyncio.create_task(request())
        await turns()
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client
        assert admission.load()[LANE].in_flight == 1
        await admission.acquire(LANE, INTERACTIVE, within(9))
        assert asyncio.get_running_loop().time() == pytest.approx(3)

    run(test)


def test_a_followed_call_that_fails_or_is_cancelled_frees_the_slot() -> None:
    async def test(admission: Admission[str]) -> None:
        for error in (UpstreamFailed("no"), None):
            permit = await admission.acquire(LANE, INTERACTIVE, within(9))
            call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            permit.follow(call)
            if error:
                call.set_exception(error)
            else:
                call.cancel()
            await turns()
            assert admission.load()[LANE].in_flight == 0

    run(test)


def test_the_latency_of_a_lane_is_measured_from_the_grant() -> None:
    async def test(admission: Admission[str]) -> None:
        for _ in range(3):
            async with admission.slot(LANE, INTERACTIVE, within(9)) as permit:
                await asyncio.sleep(0.25)
        assert permit.typical == pytest.approx(0.25)

    run(test)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, Outcome.ANSWERED),
        (UpstreamOverloaded("x"), Outcome.FULL),
        (DeadlineExceeded("x"), Outcome.LATE),
        (UpstreamUnavailable("x"), Outcome.UNKNOWN),
        (UpstreamFailed("x"), Outcome.UNKNOWN),
        (ZeroDivisionError(), Outcome.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_how_a_call_ended_says(error: Exception | None, expected: Outcome) -> None:
    assert outcome_of(error) is expected


def test_a_lane_in_the_place_of_another_leaves_only_that_ones_calls_to_be_told_of() -> None:
    policy = GatePolicy(LimitPolicy(target=0.4, lowest=1, start=1, highest=1), 10)

    async def test(admission: Admission[str]) -> None:
        permits = [await admission.acquire(lane, INTERACTIVE, within(1)) for lane in ("a 1", "b 1", "a 2")]
        assert [*admission.load()] == ["a 1", "b 1", "a 2"]
        for permit in permits:
            permit.release(Outcome.ANSWERED)
        assert [*admission.load()] == ["b 1", "a 2"]
        (await admission.acquire("a 1", INTERACTIVE, within(1))).release(Outcome.ANSWERED)
        assert [*admission.load()] == ["b 1", "a 1"], "as it was loaded before"

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        admission = Admission(
            lambda _: policy, clock=runner.get_loop().time, place_of=lambda lane: lane.split()[0]
        )
        runner.run(test(admission))
