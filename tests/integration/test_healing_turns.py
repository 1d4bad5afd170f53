"""Whose turn it is to heal a model, in a real Redis: one worker's, and each time for longer."""

import asyncio

from stack import Addresses, store_environment

from gateway.control import Turns
from gateway.store import connect

PAUSE = 100.0  # seconds


async def test_one_of_many_has_the_turn_and_each_pause_is_longer(redis: Addresses) -> None:
    url = store_environment(redis)["GATEWAY_REDIS_URL"]
    async with connect(url, timeout=5.0) as client, connect(url, timeout=5.0) as other:
        workers = [Turns(each, pause=PAUSE) for each in (client, other)]
        pauses = []
        for _ in range(7):
            taken = await asyncio.gather(*(worker.take("pets") for worker in workers))
            assert sum(taken) == 1
            pauses.append(round(await client.pttl("gw:heal:turn:pets") / 1000 / PAUSE))
            await client.delete("gw:heal:turn:pets")  # as if the pause were over
        assert pauses == [1, 2, 4, 8, 16, 16, 16]
        assert await workers[0].take("cars"), "each model has its own"
