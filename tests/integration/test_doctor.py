"""`gateway doctor` against a real Triton and a real Redis that are wrong on purpose, and against empty answers."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import running, wait_ready
from stack import ROOT, Addresses, create_key, free_addresses, store_environment, triton
from support.fake_triton import CLASSIFIER, FakeTriton, answer, config, serving
from support.redis_server import Server
from support.redis_server import serving as serving_redis
from support.repositories import add_model

from gateway.canary.route import Route, to_document
from gateway.canary.store import Cause, RouteStore
from gateway.store import connect

_TASK = 'parameters { key: "gateway.task"'


def doctor(at: Addresses, *options: str, **settings: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the report, and all that was printed."""
    environment = {
        **os.environ,
        **store_environment(at),
        "GATEWAY_TRITON_URL": f"{at.triton_address}:{at.triton_grpc_port}",
        "GATEWAY_MODEL_REPOSITORY": str(ROOT / "model_repository"),
        **settings,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gateway", "doctor", "--json", *options],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


def found(report: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(each["subject"], each["code"], each["severity"]) for each in report["findings"]}


def edited(folder: Path, *changes: tuple[str, str]) -> None:
    path = folder / "config.pbtxt"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that are each wrong in a way of their own."""
    folder = tmp_path_factory.mktemp("repository")
    add_model(folder, "levels", ["1"], name="stalls")
    alone = add_model(folder, "rehearsal", ["1"], name="alone")
    edited(alone, ("dynamic_batching { }\n", ""), ("version_policy { all { } }\n", ""))
    absent = add_model(folder, "rehearsal", ["1"], name="absent_default")
    edited(
        absent, ('default_version" value: { string_value: "1"', 'default_version" value: { string_value: "9"')
    )
    nonsense = add_model(folder, "rehearsal", ["1", "2"], name="nonsense")
    unlabelled = add_model(folder, "rehearsal", ["1"], name="unlabelled")
    edited(unlabelled, ('"gateway.labels"', '"other.labels"'))
    tensors = add_model(folder, "rehearsal", ["1"], name="tensors")
    edited(tensors, (_TASK, 'parameters { key: "other.task"'))
    lines = [line for line in (tensors / "config.pbtxt").read_text().splitlines() if '"gateway.' not in line]
    (tensors / "config.pbtxt").write_text("\n".join(lines))
    broken = add_model(folder, "rehearsal", ["1"], name="broken")
    manners = {
        alone: "good",
        absent: "good",
        nonsense: "good",
        unlabelled: "good",
        tensors: "good",
        broken: "unloadable",
    }
    for model, manner in manners.items():
        with (model / "config.pbtxt").open("a") as file:
            for version, how in (("1", manner), ("2", "narrow")):
                file.write(
                    f'\nparameters {{ key: "version.{version}" value: {{ string_value: "{how}" }} }}\n'
                )
    return folder


@pytest.fixture(scope="module")
def forgetful() -> Iterator[Server]:
    """A Redis without users, without a disk, and free to throw out what it likes."""
    at = free_addresses()
    with serving_redis(at, "--maxmemory-policy", "allkeys-lru") as server:
        yield server


@pytest.fixture(scope="module")
def wrong(repository: Path, forgetful: Server) -> Iterator[Addresses]:
    at = forgetful.at
    with running(triton(at, repository)) as process:
        wait_ready(f"http://127.0.0.1:{at.triton_http_port}/v2/health/ready", process)
        asyncio.run(_a_route_to_nowhere(forgetful.url))
        yield at


async def _a_route_to_nowhere(url: str) -> None:
    async with connect(url, timeout=2.0) as redis:
        route = to_document(Route(model="nonsense", stable="7"))
        await RouteStore(redis).put("nonsense", route, 0, Cause("tests", "put", ""))
        there = to_document(
            Route(model="unlabelled", stable="1")
        )  # ready in Triton, though nobody can call it
        await RouteStore(redis).put("unlabelled", there, 0, Cause("tests", "put", ""))


def test_all_that_is_wrong_is_found_each_with_its_mend(wrong: Addresses) -> None:
    code, report, _ = doctor(wrong)
    assert code == 1
    assert all(each["problem"] and each["mend"] for each in report["findings"])
    expected = {
        ("model stalls", "batcher-stalls", "error"),
        ("model stalls", "one-version", "warning"),
        ("model stalls", "highest-version", "warning"),
        ("model alone", "no-batching", "warning"),
        ("model alone", "one-version", "warning"),
        ("model absent_default", "default-not-ready", "error"),
        ("model nonsense", "answers-nonsense", "error"),
        ("model unlabelled", "not-callable", "error"),
        ("model tensors", "highest-version", "warning"),
        ("model tensors", "no-task", "warning"),
        ("model broken", "not-callable", "error"),
        ("route nonsense", "route-to-nowhere", "error"),
        ("triton", "old-release", "warning"),
        ("redis", "redis-open", "error"),
        ("redis", "redis-forgets", "error"),
        ("redis", "redis-evicts", "error"),
        ("redis", "redis-unbounded", "warning"),
    }
    assert found(report) - {("redis", "redis-old", "warning")} == expected
    assert report["unchecked"] == []


def test_without_probes_no_model_is_called(wrong: Addresses) -> None:
    _, report, _ = doctor(wrong, "--no-probe")
    assert "answers-nonsense" not in {each["code"] for each in report["findings"]}


def test_secrets_and_settings_are_looked_at_and_never_shown(wrong: Addresses) -> None:
    weak = "change-me-change-me-change-me-change-me"
    code, report, printed = doctor(
        wrong, "--no-probe", GATEWAY_KEY_PEPPER=weak, GATEWAY_TOKEN_SECRET=weak, GATEWAY_HOST="0.0.0.0"
    )
    assert code == 1
    assert {"guessable-secret", "one-secret", "dev-environment"} <= {
        each["code"] for each in report["findings"]
    }
    assert weak not in printed


def test_a_triton_and_a_redis_that_are_away_are_findings_not_tracebacks() -> None:
    code, report, printed = doctor(free_addresses())
    assert code == 1
    assert {("triton", "triton-away", "error"), ("redis", "redis-away", "error")} <= found(report)
    assert "Traceback" not in printed


def test_keys_whose_tier_is_not_configured_are_found(forgetful: Server, tmp_path: Path) -> None:
    bounds = "key = { limit = 50 }\ntenant = { limit = 200 }\n"
    access = tmp_path / "access.toml"
    access.write_text(f"[tiers.gold]\n{bounds}")
    create_key(forgetful.at, "shop", "infer")
    _, report, _ = doctor(forgetful.at, GATEWAY_ACCESS_FILE=str(access))
    (finding,) = [each for each in report["findings"] if each["code"] == "tier-missing"]
    assert finding["problem"].startswith("1 key(s) have the tier premium")
    access.write_text(f"[tiers.premium]\n{bounds}")
    _, report, _ = doctor(forgetful.at, GATEWAY_ACCESS_FILE=str(access))
    assert "tier-missing" not in {each["code"] for each in report["findings"]}


async def test_an_ok_with_empty_tensors_as_of_numpy_2_is_found(forgetful: Server) -> None:
    fake = FakeTriton()
    fake.models["pets"] = (config("pets", CLASSIFIER, output=[3]), ["1"])

    async def empty(request: Any, _: object) -> Any:
        made = answer(request, _rows())
        made.raw_output_contents[0] = b""
        return made

    fake.infer = empty
    async with serving(fake) as url:
        _, report, _ = await asyncio.to_thread(doctor, forgetful.at, GATEWAY_TRITON_URL=url)
    (finding,) = [each for each in report["findings"] if each["code"] == "answers-nonsense"]
    assert finding["subject"] == "model pets"
    assert "numpy below 2" in finding["mend"]


def _rows() -> Any:
    import numpy as np  # noqa: PLC0415

    return np.array([[0.5, 0.3, 0.2]], np.float32)
