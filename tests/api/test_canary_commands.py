"""`gateway canary` against the real administration: the same words as in `tests/cli`, whose far side is imitated."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from stack import ROOT, Addresses, create_key
from support.fake_triton import CLASSIFIER, FakeTriton, config
from support.newer_release import set_by_a_newer_release
from support.pictures import encoded, photo
from tritonclient.grpc import model_config_pb2

PATH = "/admin/v1/canaries/pets"


@dataclass(frozen=True)
class Ran:
    code: int | None
    out: str
    errors: str


Run = Callable[..., Awaitable[Ran]]


@pytest.fixture
async def triton() -> FakeTriton:
    fake = FakeTriton()
    message = config("pets", CLASSIFIER, output=[3])
    every = model_config_pb2.ModelVersionPolicy(all=model_config_pb2.ModelVersionPolicy.All())
    message.version_policy.CopyFrom(every)
    fake.models["pets"] = (message, ["1", "2"])
    return fake


@pytest.fixture(scope="module")
def admin_key(redis: Addresses) -> str:
    return create_key(redis, "operators", "admin:canary")


@pytest.fixture
def environment(gateway: httpx.AsyncClient, admin_key: str) -> dict[str, str]:
    return {**os.environ, "GATEWAY_URL": str(gateway.base_url), "GATEWAY_ADMIN_KEY": admin_key}


@pytest.fixture
async def admin(gateway: httpx.AsyncClient, admin_key: str) -> AsyncIterator[httpx.AsyncClient]:
    """An operator without the command; the route is as it was at first."""
    headers = {"x-api-key": admin_key}
    async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers, trust_env=False) as client:
        tag = (await client.get(PATH)).headers["etag"]
        assert (await client.delete(PATH, headers={"if-match": tag})).status_code == 204
        yield client


@pytest.fixture
async def run(admin: httpx.AsyncClient, environment: dict[str, str]) -> Run:
    """The command with these words."""

    async def invoke(*words: str) -> Ran:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "gateway", "canary", *words),
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        return Ran(process.returncode, out.decode(), errors.decode())

    return invoke


async def test_a_rollout_is_checked_set_reported_and_taken_back(gateway: httpx.AsyncClient, run: Run) -> None:
    fit = await run("check", "pets", "--to", "2")
    assert (fit.code, fit.out.splitlines()[-1]) == (0, "version 2 of pets is fit for traffic")
    begun = await run("set", "pets", "--canary", "2", "--weight", "100%", "--lease", "2h")
    assert begun.code == 0, begun.errors
    assert "0 % -> 100 %" in begun.out
    assert "none -> 2h" in begun.out
    answer = await gateway.post(
        "/v1/classify", content=encoded(photo(20, 10)), headers={"content-type": "image/png"}
    )
    assert answer.json()["model"]["version"] == "2"
    report = await run("report", "pets")
    assert "agreement" in report.out
    assert "decision" in report.out
    back = await run("rollback", "pets", "--reason", "pager")
    assert "pets: rolled-back, stable 1, 0 % on 2" in back.out
    events = await run("events", "pets", "--limit", "2")
    told = r"pager; phase steady -> rolled-back; weight 100 % -> 0 %; lease (2h|1h59m\d+s) -> none"
    assert re.search(told, events.out)


async def test_a_canary_that_is_not_loaded_is_refused_with_the_reasons(run: Run) -> None:
    refused = await run("set", "pets", "--canary", "3", "--weight", "5%")
    assert refused.code == 1
    assert refused.errors.startswith("Error: Pre-flight failed: Version 3 is not fit for traffic.\n  ")
    wrong = await run("set", "pets", "--canary", "2", "--weight", "5%", "--min-requests", "1")
    assert "Validation failed" in wrong.errors
    assert "\n  /guard/min_requests: " in wrong.errors


async def test_a_file_is_applied_once(run: Run, admin: httpx.AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(
        "routes:\n  pets:\n    stable: 1\n    canary: 2\n    mirror: 10%\n    lease: 1h\n"
        "    guard: {min_agreement: 90%, latency_factor: null}\n"
        "    steps: [1%, {weight: 50%, seconds: 1h, min_requests: 1000}, 100%]\n"
        "    lives: {1: {deprecated_at: 2027-01-01}}\n"
    )
    applied = await run("apply", "-f", str(path), "--yes")
    assert applied.code == 0, applied.errors
    assert "pets: progressing, stable 1, 1 % on 2" in applied.out
    again = await run("apply", "-f", str(path), "--dry-run")
    assert (again.code, again.out) == (0, "pets: no change\n")
    assert (await admin.post(f"{PATH}/rollback", json={"reason": "labels"})).status_code == 200
    over = await run("apply", "-f", str(path), "--yes")
    assert (over.code, over.out) == (0, "pets: version 2 was rolled back: labels\n")
    restarted = await run("apply", "-f", str(path), "--yes", "--restart")
    assert "pets: progressing, stable 1, 1 % on 2" in restarted.out


async def test_a_route_that_cannot_be_read_is_shown_and_set_again_as_the_runbook_says(
    run: Run, admin: httpx.AsyncClient, redis: Addresses, tmp_path: Path
) -> None:
    begun = await run("set", "pets", "--canary", "2", "--weight", "5%")
    assert begun.code == 0, begun.errors
    tag = await set_by_a_newer_release(redis, "pets", (await admin.get(PATH)).headers["etag"])
    wrong = "cannot be read (wrong or missing: colour)"
    assert wrong in " ".join((await run("list")).out.split())
    shown = await run("show", "pets")
    assert (shown.code, wrong in shown.errors) == (0, True)
    path = tmp_path / "routes.yaml"
    path.write_text("routes: {pets: {stable: 1, canary: 2, weight: 5%}}\n")
    dry = await run("apply", "-f", str(path), "--dry-run")
    assert (dry.code, wrong in dry.out) == (2, True)
    mended = await run("set", "pets", "--weight", "5%")
    assert "unreadable  wrong or missing: colour -> none" in mended.out
    assert (await admin.get(PATH)).headers["etag"] == f'"{int(tag.strip(chr(34))) + 1}"'
    assert (await run("apply", "-f", str(path))).out == "pets: no change\n"


async def test_the_live_stream_is_followed(admin: httpx.AsyncClient, environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-u", "-m", "gateway", "canary", "watch", "pets"),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert b"version 1 100 %" in await process.stdout.readline()
            tag = (await admin.get(PATH)).headers["etag"]
            wanted = {"canary": "2", "weight": 2500}
            assert (await admin.patch(PATH, json=wanted, headers={"if-match": tag})).status_code == 200
            while not re.search(rb"version 2 25 %, \d+ requests", await process.stdout.readline()):
                pass
    finally:
        process.kill()
        await process.wait()
