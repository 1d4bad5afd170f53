"""A Redis that can be read and takes no changes, full or a replica: callers are served, operators are told."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from exposition import Exposition
from redis.exceptions import ResponseError
from stack import ADMINISTRATION, Addresses, create_key, free_addresses, store_environment
from support.fake_triton import CLASSIFIER, FakeTriton, config
from support.fake_triton import serving as serving_triton
from support.redis_server import Server, serving, until
from support.serving import served, until_ready

from gateway.doctor.keeping import redis_report
from gateway.store import connect

WAYS = {
    "is full": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "is read-only": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
}

REFUSES = {"redis-full", "redis-read-only", "redis-cannot-save"}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(free_addresses()) as started:
        yield started


def command(at: Addresses, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gateway", *words],
        env={**os.environ, **store_environment(at)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout
    return done.stderr


async def until_changes_are_taken(client: httpx.AsyncClient, taken: bool) -> None:
    async with asyncio.timeout(30):
        while (await client.get("/readyz")).json()["parts"]["changes_taken"] is not taken:
            await asyncio.sleep(0.05)


async def fresh(client: httpx.AsyncClient) -> dict[str, float]:
    found = Exposition((await client.get("/metrics")).text).found("gateway_fresh")
    return {sample.labels["part"]: sample.value for sample in found}


@pytest.mark.parametrize("state", WAYS)
async def test_operators_are_told_what_it_is_and_a_metric_says_so(server: Server, state: str) -> None:
    fake = FakeTriton()
    fake.models["pets"] = (config("pets", CLASSIFIER, output=[3]), ["1", "2"])
    key = await asyncio.to_thread(create_key, server.at, "operators", *ADMINISTRATION)
    break_it, mend_it = WAYS[state]
    async with serving_triton(fake) as triton, served(server.at, key, triton) as client:
        await until_ready(client)
        await until_changes_are_taken(client, True)
        route = "/admin/v1/canaries/pets"
        tag = (await client.get(route)).headers["etag"]
        server.admin().execute_command(*break_it)
        await until_changes_are_taken(client, False)
        copies = await fresh(client)
        assert (copies["changes"], copies["keys"], copies["routes"]) == (0, 1, 1)
        put = client.put(route, json={"stable": "1"}, headers={"if-match": tag})
        for asked in (
            put,
            client.delete(f"/admin/v1/keys/{key.split('_')[2]}"),
            client.delete("/admin/v1/tokens/it"),
        ):
            answer = await asked
            assert answer.status_code == 503
            assert f"{state}, and takes no changes" in answer.json()["detail"]
        for words in (("keys", "revoke", key.split("_")[2]), ("tokens", "revoke", "it")):
            told = await asyncio.to_thread(command, server.at, *words)
            assert f"the store at GATEWAY_REDIS_URL {state}, and takes no changes" in told
        server.admin().execute_command(*mend_it)
        await until_changes_are_taken(client, True)


@pytest.mark.parametrize(
    ("part", "severity"),
    [
        pytest.param(1.05, "warning", id="hardly any room"),
        pytest.param(0.9, "error", id="none"),
        pytest.param(2.0, None, id="half"),
    ],
)
async def test_the_doctor_says_how_full_it_is(server: Server, part: float, severity: str | None) -> None:
    admin = server.admin()
    admin.set("gw:filler", "x" * 10_000_000)  # beside which a connection more or less is little
    admin.config_set("maxmemory", round(part * admin.info("memory")["used_memory"]))
    async with connect(server.url, timeout=2.0) as redis:
        findings = (await redis_report(redis, redis)).findings
    assert [each.severity.value for each in findings if each.code == "redis-full"] == (
        [severity] if severity else []
    )


async def test_the_doctor_says_that_it_is_a_replica(server: Server) -> None:
    assert await codes(server) & REFUSES == set()
    server.admin().execute_command("REPLICAOF", "127.0.0.1", "1")
    assert await codes(server) & REFUSES == {"redis-read-only"}


async def test_the_doctor_says_that_it_refuses_changes_because_it_cannot_save_them(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    admin = server.admin()
    admin.config_set("dir", str(tmp_path))
    admin.config_set("dbfilename", "taken")
    admin.bgsave()
    await until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
    assert await codes(server) & REFUSES == set(), (
        "without snapshots of its own it takes changes all the same"
    )
    admin.config_set("save", "3600 1")
    with pytest.raises(ResponseError, match="MISCONF"):
        admin.set("gw:it", "changed")
    assert await codes(server) & REFUSES == {"redis-cannot-save"}
    admin.config_set("stop-writes-on-bgsave-error", "no")
    assert await codes(server) & REFUSES == set()


async def codes(server: Server) -> set[str]:
    """Of what the doctor finds."""
    async with connect(server.url, timeout=2.0) as redis:
        return {each.code for each in (await redis_report(redis, redis)).findings}
