"""The workers' word on which routes they apply, through a real Redis."""

from stack import Addresses

from gateway.canary.fleet import Fleet
from gateway.canary.route import default_route
from gateway.canary.table import Live
from gateway.store import connect


async def test_workers_see_each_other_until_one_is_silent(redis: Addresses) -> None:
    now = 1_000_000.0
    url = f"redis://{redis.redis_address}:{redis.redis_port}/0"
    routes = {"pets": Live(default_route("pets", "1"), 7)}
    async with connect(url, timeout=5) as client:
        first, second = (
            Fleet(client, lambda: routes, host=host, process=1, clock=lambda: now) for host in ("a", "b")
        )
        await first.report()
        await second.report()
        assert [(each.host, each.generations) for each in await first.workers()] == [
            ("a", {"pets": 7}),
            ("b", {"pets": 7}),
        ]
        now += 60
        routes = {}
        await second.report()
        [alone] = await first.workers()
        assert (alone.host, alone.generations, alone.started_at, alone.seen_at) == ("b", {}, now - 60, now)
