"""Models are looked at, loaded, unloaded and healed on a real Triton, over the API and by the command."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from exposition import Exposition
from processes import RunningStack, running, running_stack, wait_ready
from stack import ROOT, Addresses, Part, create_key, free_addresses, triton
from support.pictures import encoded, photo
from support.repositories import add_model
from support.serving import served, until_ready

BASE = "/admin/v1/models"
INT8 = {"name": "INT8", "datatype": "INT8", "shape": [1, 1], "data": [1]}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    add_model(folder, "echo", ["1"])
    add_model(folder, "echo", ["1"], name="broken")
    add_model(folder, "echo", ["1", "2"], name="retiring")
    (folder / "broken" / "1" / "model.py").write_text("raise ValueError('not today')")
    for name in ("digits_classifier", "digits_ensemble", "digits_preprocess", "words_stream"):
        shutil.copytree(ROOT / "model_repository" / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def parts(repository: Path) -> Iterator[RunningStack]:
    with running_stack(repository, heal_models="true") as stack:
        yield stack


@pytest.fixture
def admin(parts: RunningStack) -> Iterator[httpx.Client]:
    headers = {"x-api-key": parts.admin_key}
    with httpx.Client(base_url=parts.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def gateway_models(parts: RunningStack) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`gateway models …` as an operator types it."""
    environment = {**os.environ, "GATEWAY_URL": parts.url, "GATEWAY_ADMIN_KEY": parts.admin_key}

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-P", "-m", "gateway", "models", *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    return run


def classify(client: httpx.Client, **wanted: str) -> httpx.Response:
    picture = encoded(photo(32, 32))
    headers = {"content-type": "image/png"}
    return client.post("/v1/classify", params=wanted, content=picture, headers=headers)


def versions(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {each["version"]: each["state"] for each in answer.json()["versions"]}


def runs(process: psutil.Process, model: str) -> bool:
    """Whether this is a process of the model; what ends while it is looked at is none."""
    try:
        return any(f"/{model}/" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def until(true: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def test_models_are_listed_with_state_reason_and_statistics(admin: httpx.Client) -> None:
    assert classify(admin).status_code == 200
    listed = {model["name"]: model for model in admin.get(BASE).json()["models"]}
    digit_models = ["digits_classifier", "digits_ensemble", "digits_preprocess"]
    assert sorted(listed) == ["broken", *digit_models, "echo", "retiring", "words_stream"]
    digits = listed["digits_classifier"]
    assert (digits["task"], digits["callable"], digits["default_version"]) == (
        "image-classification",
        True,
        "1",
    )
    first = digits["versions"][0]
    assert (first["version"], first["state"]) == ("1", "READY")
    assert first["statistics"]["requests"] >= 1
    assert first["statistics"]["compute_ms"] > 0
    batches = first["statistics"]["batches"]
    assert sum(each["executions"] for each in batches) == first["statistics"]["executions"]
    broken = listed["broken"]
    assert (broken["callable"], broken["versions"][0]["state"]) == (False, "UNAVAILABLE")
    assert "not today" in broken["versions"][0]["reason"]
    assert admin.get(f"{BASE}/echo").json()["task"] is None
    assert admin.get(f"{BASE}/nothing").json()["code"] == "model_not_found"


def test_a_model_that_is_needed_is_unloaded_only_by_force(admin: httpx.Client, repository: Path) -> None:
    route = "/admin/v1/canaries/digits_classifier"
    tag = admin.get(route).headers["etag"]
    wanted = {"stable": "1", "canary": "2", "weight": 100}
    assert admin.put(route, json=wanted, headers={"if-match": tag}).status_code == 200
    refused = admin.post(f"{BASE}/digits_classifier/unload")
    assert (refused.status_code, refused.json()["code"]) == (409, "model_in_use")
    assert any("version 2" in reason for reason in refused.json()["reasons"])
    only_first = {"config": {"version_policy": {"specific": {"versions": [1]}}}}
    lost = admin.post(f"{BASE}/digits_classifier/load", json=only_first)
    assert (lost.status_code, lost.json()["code"]) == (409, "model_in_use")
    assert classify(admin).status_code == 200

    assert admin.post(f"{BASE}/digits_classifier/unload", json={"force": True}).status_code == 200
    until(lambda: classify(admin).status_code == 503)
    back = admin.post(f"{BASE}/digits_classifier/load")
    assert versions(back) == {"1": "READY", "2": "READY"}
    assert classify(admin).status_code == 200
    load, unload = admin.get("/admin/v1/audit?limit=2").json()["changes"]
    assert (load["area"], load["action"], load["subject"]) == ("models", "load", "digits_classifier")
    assert (unload["action"], unload["actor"]) == ("unload", admin.headers["x-api-key"].split("_")[2])


def test_a_version_that_a_change_took_away_comes_back_only_where_a_change_says_so(
    admin: httpx.Client,
) -> None:
    """Triton reports the policy that the loaded versions came with."""
    load = f"{BASE}/retiring/load"
    both, second = ({"version_policy": {"specific": {"versions": each}}} for each in ([1, 2], [2]))
    queues = [{"dynamic_batching": {"max_queue_delay_microseconds": each}} for each in (1000, 2000, 3000)]
    assert versions(admin.post(load))["2"] == "READY"
    assert versions(admin.post(load, json={"config": both})) == {"1": "READY", "2": "READY"}
    refused_unless_said(admin.post(load, json={"config": queues[0]}), "1")
    assert versions(admin.post(load, json={"config": queues[0] | both})) == {"1": "READY", "2": "READY"}
    assert versions(admin.post(load, json={"config": second})) == {"1": "UNAVAILABLE", "2": "READY"}
    refused_unless_said(admin.post(load, json={"config": queues[1]}), "1")
    refused_unless_said(admin.post(load, json={"config": queues[1], "force": True}), "1")
    wanted = {"config": queues[1] | second}
    assert versions(admin.post(load, json=wanted)) == {"1": "UNAVAILABLE", "2": "READY"}
    assert versions(admin.post(load, json={"config": queues[2]})) == {"1": "UNAVAILABLE", "2": "READY"}
    assert admin.post(f"{BASE}/retiring/unload").status_code == 200


def refused_unless_said(answer: httpx.Response, version: str) -> None:
    assert answer.status_code == 422, answer.text
    (told,) = answer.json()["errors"]
    assert told["pointer"] == "/config/version_policy"
    assert f"version {version}" in told["detail"]


def test_a_change_of_the_configuration_holds_until_the_model_is_unloaded(admin: httpx.Client) -> None:
    def delay() -> int:
        config = admin.get("/v2/models/digits_classifier/config").json()
        return int(config["dynamic_batching"]["max_queue_delay_microseconds"])

    before = delay()
    change = {"config": {"dynamic_batching": {"max_queue_delay_microseconds": before + 1000}}}
    assert versions(admin.post(f"{BASE}/digits_classifier/load", json=change)) == {"1": "READY", "2": "READY"}
    assert delay() == before + 1000
    assert admin.post(f"{BASE}/digits_classifier/load").status_code == 200
    assert delay() == before + 1000, "nothing of its files changed"
    assert admin.post(f"{BASE}/digits_classifier/heal").status_code == 200
    assert delay() == before


@pytest.mark.parametrize(
    "change",
    [{"max_batch_size": 8}, {"version_policy": {"all": {}}}],
    ids=[
        "smaller batches than Triton has filled in as preferred",
        "another policy in place of the one that it has",
    ],
)
def test_a_change_is_written_as_it_is_meant(admin: httpx.Client, change: dict[str, Any]) -> None:
    answer = admin.post(f"{BASE}/digits_classifier/load", json={"config": change})
    assert answer.status_code == 200, answer.text
    config = admin.get("/v2/models/digits_classifier/config").json()
    assert {name: config[name] for name in change} == change
    assert admin.post(f"{BASE}/digits_classifier/heal").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param({"config": {"no_such_field": 1}}, 422, "validation_failed", id="an unknown field"),
        pytest.param({"config": {"max_batch_size": "many"}}, 422, "validation_failed", id="a wrong type"),
        pytest.param({"config": {"max_batch_size": -1}}, 422, "validation_failed", id="a negative size"),
        pytest.param({"config": {"name": "another"}}, 422, "validation_failed", id="another name"),
        pytest.param({"config": []}, 422, "validation_failed", id="no object"),
        pytest.param(
            {"config": {"version_policy": {"latest": {}, "specific": {"versions": [1]}}}},
            *(422, "validation_failed"),
            id="two policies",
        ),
        pytest.param(
            {"config": {"version_policy": {"latest": None, "specific": {"versions": None}}}},
            *(409, "model_in_use"),
            id="a policy that keeps nothing",
        ),
        pytest.param(
            {"config": {"parameters": {"gateway.default_version": "9"}}},
            *(422, "validation_failed"),
            id="a default version that is not there",
        ),
        pytest.param({"file:1/model.py": "aGFoYQ=="}, 422, "validation_failed", id="files"),
        pytest.param({"config": {"backend": "none_such"}}, 422, "validation_failed", id="a backend"),
        pytest.param(
            {"config": {"default_model_filename": "../../other/1/model.py"}, "force": True},
            *(422, "validation_failed"),
            id="another file to run",
        ),
        pytest.param(
            {"config": {"instance_group": [{"kind": "KIND_GPU", "gpus": [99]}]}},
            *(409, "model_not_loaded"),
            id="what Triton refuses",
        ),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_the_model_serves_on(
    admin: httpx.Client, body: dict[str, Any], status: int, code: str
) -> None:
    answer = admin.post(f"{BASE}/echo/load", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert str(ROOT) not in answer.text
    assert admin.get("/v2/models/echo/ready").status_code == 200


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"gateway.labels": None}, 422, "gateway.labels is missing"),
        ({"gateway.labels": "one\ntwo"}, 422, "10"),
        ({"gateway.task": None}, 422, "gateway.task is missing"),
        ({"gateway.default": "false"}, 409, "no longer be the default"),
    ],
    ids=["no labels", "too few labels", "no task", "no default"],
)
def test_a_change_of_what_the_gateway_needs_is_checked_before_triton_sees_it(
    admin: httpx.Client, parameters: dict[str, str | None], status: int, says: str
) -> None:
    """Strings will do for parameters, though Triton's own form has each in a message."""
    answer = admin.post(f"{BASE}/digits_classifier/load", json={"config": {"parameters": parameters}})
    assert answer.status_code == status
    assert says in answer.text
    assert classify(admin).status_code == 200


def test_files_that_load_and_cannot_be_called_are_told_of(
    admin: httpx.Client, repository: Path, gateway_models: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    shutil.copytree(repository / "echo", repository / "wrong")
    config = repository / "wrong" / "config.pbtxt"
    text = config.read_text().replace('name: "echo"', 'name: "wrong"')
    config.write_text(text + 'parameters { key: "gateway.resize" value { string_value: "crop" } }')
    done = gateway_models("load", "wrong")
    assert done.returncode == 1
    assert "cannot be called" in done.stderr
    assert "gateway.task is missing, and without it nothing reads gateway.resize" in done.stderr
    config.write_text(text.replace("TYPE_INT8", "INT8"))
    done = gateway_models("load", "wrong")
    assert done.returncode == 1
    assert "cannot be read, or names another model than its folder: Triton's log says which." in done.stderr
    config.write_text(text)
    assert gateway_models("load", "wrong").returncode == 0


def test_a_model_that_had_no_version_is_loaded_once_it_has_one(admin: httpx.Client, repository: Path) -> None:
    """Triton leaves it out of its index meanwhile."""
    folder = add_model(repository, "echo", [], name="late")
    for _ in range(2):
        refused = admin.post(f"{BASE}/late/load")
        assert (refused.status_code, refused.json()["code"]) == (409, "model_not_loaded")
        assert "at least one version must be available" in refused.json()["reasons"][0]
    shutil.copytree(repository / "echo" / "1", folder / "1")
    assert versions(admin.post(f"{BASE}/late/load")) == {"1": "READY"}
    assert admin.post(f"{BASE}/late/unload").status_code == 200
    for name in ("nothing", "..%2fechoes", "a%20b"):
        absent = admin.post(f"{BASE}/{name}/load")
        assert absent.status_code == 404, absent.text


def test_a_model_that_loads_slowly_keeps_no_other_one_waiting(admin: httpx.Client, repository: Path) -> None:
    folder = add_model(repository, "echo", ["1"], name="slow")
    go = repository.parent / "go"
    code = folder / "1" / "model.py"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.05)\n"
    code.write_text(wait + code.read_text())
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(admin.post, f"{BASE}/slow/load")
        until(lambda: versions(admin.get(f"{BASE}/slow")) == {"1": "LOADING"})
        assert admin.post(f"{BASE}/echo/unload").status_code == 200
        assert versions(admin.post(f"{BASE}/echo/load")) == {"1": "READY"}
        assert not slow.done()
        go.touch()
        assert versions(slow.result()) == {"1": "READY"}
    assert admin.post(f"{BASE}/slow/unload").status_code == 200


def test_a_second_default_gets_no_request_that_names_no_model(
    admin: httpx.Client, repository: Path, gateway_models: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    """It comes before the first by name."""
    shutil.copytree(repository / "digits_classifier", repository / "another")
    for config in (repository / "another").rglob("*.pbtxt"):
        config.write_text(config.read_text().replace('name: "digits_classifier"', 'name: "another"'))
    done = gateway_models("load", "another")
    assert done.returncode == 1
    assert "digits_classifier is" in done.stderr
    assert classify(admin).json()["model"]["name"] == "digits_classifier"
    listed = {model["name"]: model["default"] for model in admin.get("/v1/models").json()["models"]}
    assert [name for name, default in listed.items() if default] == ["digits_classifier"]
    assert "another" in listed
    assert gateway_models("unload", "another").returncode == 0, "nothing needs it"


def test_a_model_whose_folder_is_gone_is_shown_and_unloaded(
    admin: httpx.Client, repository: Path, tmp_path: Path
) -> None:
    add_model(repository, "echo", ["1"], name="gone")
    assert admin.post(f"{BASE}/gone/load").status_code == 200
    shutil.move(repository / "gone", tmp_path / "gone")
    shown = admin.get(f"{BASE}/gone")
    assert versions(shown) == {"1": "READY"}
    assert "its folder is gone" in shown.json()["versions"][0]["reason"]
    assert versions(admin.post(f"{BASE}/gone/unload")) == {}
    until(lambda: admin.get(f"{BASE}/gone").status_code == 404)


def test_a_model_that_failed_is_loaded_once_its_files_are_mended(
    admin: httpx.Client, repository: Path
) -> None:
    assert admin.post(f"{BASE}/broken/load").json()["code"] == "model_not_loaded"
    shutil.copy(repository / "echo" / "1" / "model.py", repository / "broken" / "1" / "model.py")
    assert versions(admin.post(f"{BASE}/broken/load")) == {"1": "READY"}
    assert admin.get("/v2/models/broken/ready").status_code == 200


def test_the_command_says_the_same(gateway_models: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    listed = gateway_models("list")
    assert listed.returncode == 0, listed.stderr
    assert "digits_classifier" in listed.stdout
    assert "READY" in listed.stdout
    shown = json.loads(gateway_models("show", "echo", "--json").stdout)
    assert shown["name"] == "echo"
    refused = gateway_models("unload", "digits_classifier")
    assert refused.returncode == 1
    assert "Model in use" in refused.stderr
    assert gateway_models("load", "echo", "--config", "{").returncode == 2
    assert gateway_models("unload", "echo").returncode == 0
    assert "READY" in gateway_models("load", "echo").stdout
    assert "READY" in gateway_models("heal", "echo").stdout


@pytest.mark.parametrize(
    ("model", "path", "document"),
    [
        ("echo", "infer", {"inputs": [INT8], "outputs": [{"name": "out_INT8"}]}),
        ("words_stream", "generate_stream", {"TEXT": "one by one"}),
    ],
)
def test_a_process_that_died_is_found_and_healed(
    parts: RunningStack, admin: httpx.Client, model: str, path: str, document: dict[str, Any]
) -> None:
    def call() -> int:
        return admin.post(f"/v2/models/{model}/{path}", json=document).status_code

    found_and_healed(parts, admin, model, call)


def test_of_an_ensemble_the_step_is_healed_whose_process_died(
    parts: RunningStack, admin: httpx.Client
) -> None:
    def call() -> int:
        return classify(admin, model="digits_ensemble").status_code

    # Triton takes an ensemble for unloaded while one of its steps is loaded again.
    found_and_healed(parts, admin, "digits_preprocess", call, {200, 404, 503})
    (noted,) = admin.get("/admin/v1/audit?limit=1").json()["changes"]
    assert (noted["action"], noted["subject"]) == ("heal", "digits_preprocess")
    for process in stubs(parts, "digits_preprocess"):
        process.kill()
    assert call() == 503
    assert versions(admin.post(f"{BASE}/digits_ensemble/heal")) == {"1": "READY"}, "by hand, before its turn"
    until(lambda: call() == 200)


def stubs(parts: RunningStack, model: str) -> list[psutil.Process]:
    family = psutil.Process(parts.triton.popen.pid).children(recursive=True)
    return [process for process in family if runs(process, model)]


def found_and_healed(
    parts: RunningStack,
    admin: httpx.Client,
    model: str,
    call: Callable[[], int],
    statuses: AbstractSet[int] = frozenset({200, 503}),
) -> None:
    """The processes of the model end, which `call` needs; it answers with no other status than these meanwhile."""
    assert call() == 200
    before = stubs(parts, model)
    assert before
    for process in before:
        process.kill()
    seen = set()

    def healed() -> bool:
        seen.add(call())
        text = admin.get("/metrics").text
        return Exposition(text).total("gateway_model_healing_total", model=model, outcome="healed") == 1

    until(healed)
    assert 503 in seen
    assert seen <= statuses
    until(lambda: call() == 200)
    assert {process.pid for process in stubs(parts, model)}.isdisjoint(process.pid for process in before)


async def test_a_triton_that_loads_nothing_when_asked_is_told_of(redis: Addresses, tmp_path: Path) -> None:
    add_model(tmp_path, "echo", ["1"])
    at = free_addresses()
    usual = triton(at, tmp_path)
    part = Part("triton", [*usual.command, "--", "--model-control-mode=none"], usual.environment)
    with running(part) as process:
        wait_ready(f"http://127.0.0.1:{at.triton_http_port}/v2/health/ready", process)
        key = create_key(redis, "operators", "infer", "admin:models")
        async with served(redis, key, f"127.0.0.1:{at.triton_grpc_port}") as client:
            for action in ("load", "unload", "heal"):
                answer = await client.post(f"{BASE}/echo/{action}")
                assert (answer.status_code, answer.json()["code"]) == (409, "control_disabled"), answer.text
            await until_ready(client)
            assert (await client.get(f"{BASE}/echo")).json()["versions"][0]["state"] == "READY"
