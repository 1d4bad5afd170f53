"""Counts of several recorders in a real Redis: they add up exactly, whatever gets lost on the way, and they expire."""

import asyncio
import random
import signal
import time
from collections.abc import Iterator, Sequence

import pytest
import structlog.testing
from redis.asyncio import Redis
from stack import free_addresses
from support.redis_server import Server, in_background, serving, until

from gateway.canary.counts import KEPT, Bucket, CountsReader, Recorder, Series, Tally
from gateway.canary.histogram import BOUNDS, bucket
from gateway.store import StoreAway, connect

CANARY = Series("2", "canary")
STABLE = Series("1", "stable")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(free_addresses()) as started:
        yield started


def client_of(server: Server, timeout: float = 1.0) -> Redis:
    return connect(server.url, timeout=timeout)


def recorder_on(client: Redis, hold: float = 10.0) -> Recorder:
    return Recorder(client, clock=time.monotonic, interval=0.05, hold=hold)


def total(buckets: Sequence[Bucket], series: Series) -> Tally:
    """All buckets of a series as one."""
    found = [each.tallies[series] for each in buckets if series in each.tallies]
    return Tally(
        sum(tally.requests for tally in found),
        sum(tally.errors for tally in found),
        sum(tally.compared for tally in found),
        sum(tally.agreed for tally in found),
        tuple(map(sum, zip(*(tally.latency for tally in found), strict=True))) or Tally().latency,
    )


async def test_what_is_recorded_is_read_by_version_and_variant(server: Server) -> None:
    async with client_of(server) as client:
        recorder, reader = recorder_on(client), CountsReader(client)
        recorder.record("pets", "2", "canary", ok=True, seconds=0.001)
        recorder.record("pets", "2", "canary", ok=True, seconds=0.0010001)
        recorder.record("pets", "2", "canary", ok=True, seconds=31.0)
        recorder.record("pets", "2", "canary", ok=False, seconds=0.001)
        recorder.record("pets", "2", "pinned", ok=True, seconds=0.02)
        recorder.record_comparison("pets", "2", "canary", agreed=True)
        recorder.record_comparison("pets", "2", "canary", agreed=False)
        recorder.record("signs", "1", "stable", ok=True, seconds=0.02)
        await recorder.flush()
        buckets = (await reader.read("pets", 10)).buckets
        found = total(buckets, CANARY)
        assert (found.requests, found.errors, found.compared, found.agreed) == (4, 1, 2, 1)
        assert len(found.latency) == len(BOUNDS) + 1
        assert {place: count for place, count in enumerate(found.latency) if count} == {
            bucket(0.001): 1,
            bucket(0.001) + 1: 1,
            bucket(31.0): 1,
        }
        assert total(buckets, Series("2", "pinned")).requests == 1
        assert total(buckets, STABLE).requests == 0
        assert total((await reader.read("signs", 10)).buckets, STABLE).requests == 1
        assert list((await reader.read("nothing", 10)).buckets) == []


async def test_the_counts_of_several_recorders_add_up_exactly(server: Server) -> None:
    clients = [client_of(server) for _ in range(4)]
    recorders = [recorder_on(client) for client in clients]
    draw, expected = random.Random(4), {CANARY: [0, 0, 0], STABLE: [0, 0, 0]}

    async def requests(recorder: Recorder) -> None:
        for _ in range(5000):
            series, ok = draw.choice((CANARY, STABLE)), draw.random() < 0.9
            recorder.record("pets", series.version, series.variant, ok=ok, seconds=draw.expovariate(20))
            expected[series][0] += 1
            expected[series][1] += not ok
            if draw.random() < 0.2:
                recorder.record_comparison("pets", series.version, series.variant, agreed=ok)
                expected[series][2] += 1
            if draw.random() < 0.02:
                await asyncio.sleep(draw.uniform(0, 0.04))

    async def worker(recorder: Recorder) -> None:
        async with in_background(recorder.run()):
            await requests(recorder)

    await asyncio.gather(*map(worker, recorders))
    buckets = (await CountsReader(clients[0]).read("pets", 60)).buckets
    for series, (asked, errors, compared) in expected.items():
        found = total(buckets, series)
        assert (found.requests, found.errors, found.compared) == (asked, errors, compared)
        assert sum(found.latency) == asked - errors
    assert [bucket.second for bucket in buckets] == sorted({bucket.second for bucket in buckets})
    assert len(buckets) > 1
    for client in clients:
        await client.aclose()


async def test_only_the_newest_seconds_are_read(server: Server) -> None:
    async with client_of(server) as client:
        recorder, reader = recorder_on(client), CountsReader(client)
        recorder.record("pets", "1", ok=True, seconds=0.1)
        await recorder.flush()
        await asyncio.sleep(2.05)
        recorder.record("pets", "2", ok=True, seconds=0.1)
        await recorder.flush()
        for seconds, versions in ((60, ["1", "2"]), (2, ["2"]), (10**9, ["1", "2"])):
            found = [list(each.tallies) for each in (await reader.read("pets", seconds)).buckets]
            assert found == [[Series(version)] for version in versions]


async def test_everything_that_is_counted_expires(server: Server) -> None:
    async with client_of(server) as client:
        recorder = recorder_on(client)
        recorder.record("pets", "1", ok=True, seconds=0.1)
        await recorder.flush()
        admin = server.admin()
        keys = admin.keys("*")
        assert len(keys) == 2
        assert all(0 < admin.pttl(key) <= KEPT * 1000 for key in keys)
        for key in keys:
            admin.pexpire(key, 1)
        await asyncio.sleep(0.01)
        assert list((await CountsReader(client).read("pets", 60)).buckets) == []


async def test_a_batch_whose_answer_got_lost_counts_once(server: Server) -> None:
    async with client_of(server, timeout=0.2) as client:
        recorder = recorder_on(client)
        recorder.record("pets", "1", ok=True, seconds=0.1)
        await recorder.flush()
        for _ in range(5):
            recorder.record("pets", "1", ok=True, seconds=0.1)
            with server.frozen():
                with pytest.raises(StoreAway):
                    await recorder.flush()
                recorder.record("pets", "1", ok=True, seconds=0.1)
            await recorder.flush()
        assert total((await CountsReader(client).read("pets", 60)).buckets, Series("1")).requests == 11
        sent = server.admin().info("commandstats")["cmdstat_evalsha"]["calls"]
        assert sent >= 1 + 5 * 3, "Redis did every lost batch before it was sent again"


async def test_counts_survive_an_outage_of_some_seconds(server: Server) -> None:
    at = server.at
    async with client_of(server) as client:
        recorder = recorder_on(client)
        with structlog.testing.capture_logs() as lines:
            async with in_background(recorder.run()):
                server.process.stop(signal.SIGKILL)
                for _ in range(100):
                    recorder.record("pets", "1", ok=True, seconds=0.1)
                    await asyncio.sleep(0.01)
                with serving(at):
                    await until(lambda: any(line["event"] == "counts_sent_again" for line in lines))
                    found = (await CountsReader(client).read("pets", 60)).buckets
        assert [line["event"] for line in lines] == ["counts_held", "counts_sent_again"]
        assert total(found, Series("1")).requests == 100


async def test_what_is_too_old_is_dropped_and_said(server: Server) -> None:
    at = server.at
    async with client_of(server) as client:
        recorder = recorder_on(client, hold=0.3)
        with structlog.testing.capture_logs() as lines:
            async with in_background(recorder.run()):
                recorder.record("pets", "1", ok=True, seconds=0.1)
                server.process.stop(signal.SIGKILL)
                await until(lambda: any(line["event"] == "counts_dropped" for line in lines))
                await asyncio.sleep(0.2)
                assert lines[-1]["event"] == "counts_dropped", "that nothing is left to send is no recovery"
                with serving(at):
                    recorder.record("pets", "1", ok=False, seconds=0.1)
                    await until(lambda: any(line["event"] == "counts_sent_again" for line in lines))
                    found = total((await CountsReader(client).read("pets", 60)).buckets, Series("1"))
        assert next(line for line in lines if line["event"] == "counts_dropped")["requests"] == 1
        assert (found.requests, found.errors) == (1, 1)


async def test_what_came_while_an_older_batch_waited_is_as_old_as_its_first_count(server: Server) -> None:
    at, now = server.at, 0.0
    async with client_of(server) as client:
        recorder = Recorder(client, clock=lambda: now, hold=10.0)
        server.process.stop(signal.SIGKILL)
        with structlog.testing.capture_logs() as lines:
            for second in (0.0, 1.0, 9.0):  # the first waits to be sent, and the others for it
                now = second
                recorder.record("pets", "1", ok=True, seconds=0.1)
                with pytest.raises(StoreAway):
                    await recorder.flush()
            with serving(at):
                now = 12.0
                assert not await recorder.flush()
                recorder.record("pets", "1", ok=False, seconds=0.1)
                await recorder.flush()
                found = total((await CountsReader(client).read("pets", 60)).buckets, Series("1"))
        assert (found.requests, found.errors) == (1, 1)
        assert [line["requests"] for line in lines] == [1, 2]


async def test_recording_waits_for_nobody(server: Server) -> None:
    async with client_of(server) as client:
        recorder = recorder_on(client)
        async with in_background(recorder.run()):
            recorder.record("pets", "1", ok=True, seconds=0.1)
            await asyncio.sleep(0.2)
            with server.frozen():
                longest, began = 0.0, time.perf_counter()
                for _ in range(20_000):
                    recorder.record("pets", "1", "stable", ok=True, seconds=0.02)
                spent = time.perf_counter() - began
                for _ in range(50):
                    asked = time.perf_counter()
                    await asyncio.sleep(0.01)
                    longest = max(longest, time.perf_counter() - asked)
            assert spent / 20_000 < 20e-6
            assert longest < 0.2


async def test_a_clean_stop_sends_what_is_left(server: Server) -> None:
    async with client_of(server) as client:
        recorder = Recorder(client, clock=time.monotonic, interval=3600)
        async with in_background(recorder.run()):
            await asyncio.sleep(0)
            recorder.record("pets", "1", ok=True, seconds=0.1)
        assert total((await CountsReader(client).read("pets", 60)).buckets, Series("1")).requests == 1


async def test_something_else_in_the_place_of_the_counts_is_an_outage(server: Server) -> None:
    async with client_of(server) as client:
        recorder = recorder_on(client)
        recorder.record("pets", "1", ok=True, seconds=0.1)
        await recorder.flush()
        admin = server.admin()
        (bucket,) = (key for key in admin.keys("*") if ":pets:" in key)
        admin.hset(bucket, "what", "ever")
        with pytest.raises(StoreAway):
            await CountsReader(client).read("pets", 60)
