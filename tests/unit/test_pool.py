"""The thread pool: bounded, and honest about it."""

import asyncio
import threading

import pytest

from gateway.errors import Overloaded
from gateway.pool import WorkerPool, together


async def test_work_runs_on_another_thread_and_its_result_comes_back() -> None:
    with WorkerPool(threads=1, queue=0) as pool:
        assert await pool.run(threading.get_ident) != threading.get_ident()


async def test_an_error_of_the_work_is_raised_where_it_is_awaited() -> None:
    with WorkerPool(threads=1, queue=0) as pool, pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)


async def test_what_does_not_fit_is_refused_at_once_and_fits_again_later() -> None:
    gate = threading.Event()
    with WorkerPool(threads=1, queue=1) as pool:
        running = [asyncio.create_task(pool.run(gate.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await pool.run(int)
        assert caught.value.retry_after == 1
        gate.set()
        assert await asyncio.gather(*running) == [True, True]
        assert await pool.run(int) == 0


async def test_a_caller_that_gives_up_keeps_its_place_until_the_thread_is_done() -> None:
    gate = threading.Event()
    with WorkerPool(threads=1, queue=0) as pool:
        task = asyncio.create_task(pool.run(gate.wait, 10))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(Overloaded):
            await pool.run(int)
        gate.set()
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await pool.run(int) == 0
                    break
                except Overloaded:
                    await asyncio.sleep(0.01)


async def test_a_caller_that_gives_up_before_its_turn_leaves_nothing_behind() -> None:
    gate, done = threading.Event(), []
    with WorkerPool(threads=1, queue=1) as pool:
        first = asyncio.create_task(pool.run(gate.wait, 10))
        second = asyncio.create_task(pool.run(done.append, "second"))
        await asyncio.sleep(0.05)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        third = asyncio.create_task(pool.run(done.append, "third"))  # in the place that is free again
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(first, third)
    assert done == ["third"]


async def test_what_has_not_begun_when_the_pool_ends_ends_too() -> None:
    gate = threading.Event()
    with WorkerPool(threads=1, queue=1) as pool:
        running = [asyncio.create_task(pool.run(gate.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0.05)
        threading.Timer(0.2, gate.set).start()
    async with asyncio.timeout(5):
        assert await running[0] is True
        with pytest.raises(asyncio.CancelledError):
            await running[1]


async def test_one_work_runs_in_the_task_of_its_caller_and_several_at_once() -> None:
    async def task() -> object:
        await asyncio.sleep(0)
        return asyncio.current_task()

    here = asyncio.current_task()
    assert await together([task()]) == [here]
    assert len({here, *await together([task(), task()])}) == 3
    assert await together([]) == []


async def test_of_several_works_the_first_that_fails_ends_the_others() -> None:
    begun, ended = [], []

    async def waits(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async with asyncio.timeout(10):
        with pytest.raises(ZeroDivisionError):
            await together([waits(1), fails(), waits(2)])
    assert (begun, sorted(ended)) == ([1, 2], [1, 2])
