"""Who still calls a version, noted and told through a real Redis."""

from stack import Addresses
from unit.ratelimit.callers import caller

from gateway.canary.callers import Callers
from gateway.domain import ModelVersion, Variant
from gateway.store import connect

FIRST = ModelVersion("pets", "1", Variant.STABLE)
WEEK = 7 * 86_400


async def test_of_many_callers_the_latest_are_told_and_first_those_who_called_last(redis: Addresses) -> None:
    now = 1_800_000_000.0
    async with connect(f"redis://{redis.redis_address}:{redis.redis_port}/0", timeout=5) as client:
        callers = Callers(client, clock=lambda: now)
        for number in range(1500):
            now += 1
            callers.note(FIRST, caller(f"k{number}"))
            if number % 500 == 499:
                await callers.deliver()
        found = await callers.of("pets", "1")
        assert [each.id for each in found] == [f"k{number}" for number in range(1499, 499, -1)]
        assert found[0].last_seen == now
        now += WEEK - 10
        assert [each.id for each in await callers.of("pets", "1")] == [f"k{n}" for n in range(1499, 1488, -1)]
