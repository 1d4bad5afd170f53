"""Answers that come one by one, with the far side in the test's hand."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from gateway.domain import RawTensor
from gateway.errors import StreamEnded, UpstreamFailed
from gateway.upstream.answers import Answers


def piece(number: int) -> list[RawTensor]:
    return [RawTensor("n", "UINT8", (1,), bytes([number]))]


def numbers(found: list[list[RawTensor]]) -> list[int]:
    return [outputs[0].data[0] for outputs in found]


async def telling(count: int, *, error: Exception | None = None) -> AsyncIterator[list[RawTensor]]:
    for number in range(count):
        yield piece(number)
    if error is not None:
        raise error


def begun(pieces: AsyncIterator[list[RawTensor]], left: float = 60.0) -> Answers:
    return Answers(pieces, lambda: left, lambda: None)


async def test_all_answers_come_in_order_and_then_the_end() -> None:
    answers = begun(telling(100))
    await answers.begin()
    assert numbers([outputs async for outputs in answers]) == list(range(100))
    assert await answers.task is None


async def test_a_call_without_answers_begins_and_ends() -> None:
    answers = begun(telling(0))
    await answers.begin()
    assert [outputs async for outputs in answers] == []


@pytest.mark.parametrize(
    "error", [UpstreamFailed("no"), ZeroDivisionError("a bug")], ids=["known", "unforeseen"]
)
async def test_a_failure_before_the_first_answer_is_raised_where_it_is_awaited(error: Exception) -> None:
    answers = begun(telling(0, error=error))
    async with asyncio.timeout(10):
        with pytest.raises(type(error)):
            await answers.begin()
    with pytest.raises(type(error)):
        await answers.task


async def test_a_failure_on_the_way_comes_behind_the_answers_before_it() -> None:
    answers = begun(telling(2, error=UpstreamFailed("no")))
    await answers.begin()
    each = aiter(answers)
    assert numbers([await anext(each), await anext(each)]) == [0, 1]
    with pytest.raises(UpstreamFailed):
        await anext(each)
    assert isinstance(answers.task.exception(), UpstreamFailed)


async def test_a_slow_caller_makes_the_far_side_wait() -> None:
    read = 0

    async def counted() -> AsyncIterator[list[RawTensor]]:
        nonlocal read
        for number in range(200):
            read += 1
            yield piece(number)

    answers = begun(counted())
    await answers.begin()
    for _ in range(50):
        await asyncio.sleep(0)
    assert read < 30
    assert len([outputs async for outputs in answers]) == 200


async def test_the_rest_is_read_when_the_caller_has_left() -> None:
    answers = begun(telling(200))
    await answers.begin()
    answers.leave()
    async with asyncio.timeout(5):
        await answers.task


async def test_a_caller_who_does_not_read_keeps_the_call_until_its_deadline_only() -> None:
    answers = begun(telling(200), left=0.05)
    await answers.begin()
    async with asyncio.timeout(10):
        await answers.task
    with pytest.raises(StreamEnded):
        [outputs async for outputs in answers]


async def test_a_caller_who_reads_leaves_the_model_all_of_its_time() -> None:
    left = 10.0

    async def slower() -> AsyncIterator[list[RawTensor]]:
        nonlocal left
        for number in range(40):
            yield piece(number)
            left -= 0.1
            await asyncio.sleep(0)

    answers = Answers(slower(), lambda: left, lambda: None)
    await answers.begin()
    assert len([outputs async for outputs in answers]) == 40
    assert answers.had == 10.0


async def test_a_caller_who_reads_late_leaves_the_model_the_time_from_then_on() -> None:
    left = 10.0
    answers = Answers(telling(40), lambda: left, lambda: None)
    await answers.begin()
    for _ in range(50):
        await asyncio.sleep(0)
    left = 3.0
    each = aiter(answers)
    for _ in range(40):
        await anext(each)
    left = 1.0
    assert [outputs async for outputs in each] == []
    assert answers.had == 3.0


async def test_what_failed_is_free_when_nobody_listens_any_more() -> None:
    class Asked:
        """What a call holds."""

        def left(self) -> float:
            return 60.0

    async def listen() -> weakref.ref[Asked]:
        asked = Asked()
        answers = Answers(telling(2, error=UpstreamFailed("no", internal="why")), asked.left, lambda: None)
        await answers.begin()
        try:
            numbers([outputs async for outputs in answers])
        except UpstreamFailed as error:
            assert error.internal == "why"  # noqa: PT017  # what pytest catches stays with its frames
        else:
            raise AssertionError("it did not fail")
        return weakref.ref(asked)

    gc.disable()
    try:
        held = await listen()
        await asyncio.sleep(0)
        assert held() is None
    finally:
        gc.enable()
