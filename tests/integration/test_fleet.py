"""The workers' word on which routes they apply, through a real Redis, whatever their hosts' clocks say."""

import time

import pytest
from stack import Addresses

from gateway.canary.fleet import Fleet
from gateway.canary.route import default_route
from gateway.canary.table import Live
from gateway.store import StoreClock, connect


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


async def test_hosts_whose_clocks_differ_see_each_other_and_go_by_one_clock(redis: Addresses) -> None:
    url = f"redis://{redis.redis_address}:{redis.redis_port}/0"
    async with connect(url, timeout=5) as client:
        ahead, behind = (
            StoreClock(client, key="gw:{routes}", wall=lambda off=off: time.time() + off)  # type: ignore[misc]
            for off in (7200, -7200)
        )
        assert ahead() - behind() == pytest.approx(14_400, abs=1)
        first, second = (
            Fleet(client, dict, host=host, process=1, clock=clock)
            for host, clock in (("ahead", ahead), ("behind", behind))
        )
        for clock in (ahead, behind):
            await clock.ask()
        seconds, microseconds = await client.time()
        assert ahead() == pytest.approx(seconds + microseconds / 1e6, abs=0.5)
        assert ahead() == pytest.approx(behind(), abs=0.5)
        for fleet in (first, second):
            await fleet.report()
        assert {each.host for each in await first.workers()} >= {"ahead", "behind"}


async def test_the_clock_goes_on_from_the_last_answer(redis: Addresses) -> None:
    now = 100.0
    async with connect(f"redis://{redis.redis_address}:{redis.redis_port}/0", timeout=5) as client:
        clock = StoreClock(client, key="gw:{routes}", monotonic=lambda: now, wall=lambda: 5.0)
        assert clock() == 5
        await clock.ask()
        asked = clock()
        now += 30
        assert clock() == asked + 30
