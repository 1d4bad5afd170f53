"""Every panel of the dashboard shows something, in a real Prometheus that scraped a real gateway and a real Triton."""

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from processes import RunningStack, running, running_stack, wait_ready
from stack import ROOT, Part, free_port

from gateway.telemetry.definitions import ALL

FOLDER = ROOT / "observability"
DASHBOARD = json.loads((FOLDER / "grafana" / "dashboards" / "gateway.json").read_text())
NEEDS_A_GPU = {"GPU in use", "GPU memory in use", "GPU power"}
SAMPLES = ROOT / "clients" / "samples"


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions(panel: dict[str, Any]) -> list[str]:
    """As Grafana sends them, with every model chosen."""
    texts = [target["expr"] for target in panel["targets"]]
    return [text.replace("$__rate_interval", "1m").replace("$model", ".*") for text in texts]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus with the project's own configuration, but for targets and intervals."""
    folder = tmp_path_factory.mktemp("prometheus")
    with running_stack() as stack:
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(stack)))
        port = free_port()
        command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with running(Part("prometheus", command)) as process:
            url = f"http://127.0.0.1:{port}"
            wait_ready(f"{url}/-/ready", process)
            put_a_canary(stack)
            with used(stack):
                yield url


def configuration(stack: RunningStack) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    found["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    found["rule_files"] = [str(FOLDER / name) for name in found["rule_files"]]
    places = {"gateway": stack.at.gateway_port, "triton": stack.at.triton_metrics_port}
    for job in found["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{places.pop(job['job_name'])}"]}]
    assert places == {}
    return found


def put_a_canary(stack: RunningStack) -> None:
    """Half of the callers may be on it, and all that the others ask is mirrored."""
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=30) as client:
        client.headers["x-api-key"] = stack.admin_key
        route = "/admin/v1/canaries/digits_classifier"
        tag = client.get(route).headers["etag"]
        wanted = {
            "stable": "1",
            "canary": "2",
            "weight": 5000,
            "mirror": 10_000,
            "sticky": "header:x-user-id",
        }
        answer = client.put(route, json=wanted, headers={"if-match": tag})
        assert answer.status_code == 200, answer.text


@contextmanager
def used(stack: RunningStack) -> Iterator[None]:
    """Traffic of every kind for the length of the block: a rate needs counters that rise between scrapes."""
    over = threading.Event()

    def use() -> None:
        while not over.is_set():
            use_everything(stack)
            over.wait(0.5)

    with ThreadPoolExecutor(1) as pool:
        user = pool.submit(use)
        try:
            yield
        finally:
            over.set()
            user.result()


def use_everything(stack: RunningStack) -> None:
    with stack.client() as client:
        digit, scene = (SAMPLES / "digit.png").read_bytes(), (SAMPLES / "scene.jpg").read_bytes()
        for number in range(20):
            headers = {"content-type": "image/png", "x-user-id": str(number)}
            assert client.post("/v1/classify", content=digit, headers=headers).status_code == 200
        assert client.post("/v1/detect", content=scene, headers={"content-type": "image/jpeg"}).is_success
        assert client.post("/v1/classify", json={"inputs": [{"text": "Suomi"}]}).is_success
        assert client.post("/v1/classify", json={"inputs": []}).is_client_error


def answer(url: str, query: str) -> list[Any]:
    """The series. Fails where Prometheus cannot read the query."""
    response = httpx.get(f"{url}/api/v1/query", params={"query": query}, trust_env=False, timeout=10)
    assert response.status_code == 200, f"{query}: {response.text}"
    found: list[Any] = response.json()["data"]["result"]
    return [series for series in found if series["value"][1] != "NaN"]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_has_something_to_show(prometheus: str, panel: dict[str, Any]) -> None:
    queries = expressions(panel)
    if panel["title"] in NEEDS_A_GPU:
        assert [answer(prometheus, query) for query in queries] == [[]] * len(queries)
        return
    end = time.monotonic() + 30
    while empty := [query for query in queries if not answer(prometheus, query)]:
        assert time.monotonic() < end, empty
        time.sleep(0.5)


def test_queries_name_metrics_labels_and_records_that_exist(prometheus: str) -> None:
    records = set(re.findall(r"record: (\S+)", (FOLDER / "rules" / "recording.yml").read_text()))
    ours = {definition.name: {*definition.labels, "le", "pid", "instance", "job"} for definition in ALL}
    of_triton = {name for name in names(prometheus) if name.startswith("nv_")}
    gpu = {
        "nv_gpu_utilization",
        "nv_gpu_memory_used_bytes",
        "nv_gpu_memory_total_bytes",
        "nv_gpu_power_usage",
    }
    for panel in panels():
        for query in expressions(panel):
            for name in re.findall(r"[a-z_]+:[\w:]+", query):
                assert name in records, panel["title"]
            for name, selector in re.findall(r"(?<![:\w])((?:gateway|nv)_\w+)(\{[^}]*\})?", query):
                plain = re.sub("_(bucket|sum|count)$", "", name)
                assert plain in ours or name in of_triton | gpu, panel["title"]
                if plain in ours:
                    assert set(re.findall(r"(\w+)=~?", selector)) <= ours[plain], query


def names(url: str) -> list[str]:
    response = httpx.get(f"{url}/api/v1/label/__name__/values", trust_env=False, timeout=10)
    found: list[str] = response.json()["data"]
    return found


def test_the_runbook_names_panels_rows_and_the_dashboard_as_they_are_called() -> None:
    text = " ".join((ROOT / "docs" / "runbook.md").read_text().split())
    named = set(re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", text))
    assert len(named) > 10
    assert named <= {DASHBOARD["title"], *(panel["title"] for panel in DASHBOARD["panels"])}


def test_grafana_finds_the_dashboard_and_its_source_where_compose_puts_them() -> None:
    (provider,) = yaml.safe_load(
        (FOLDER / "grafana" / "provisioning" / "dashboards" / "gateway.yml").read_text()
    )["providers"]
    assert Path(provider["options"]["path"]).name == "dashboards"
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
