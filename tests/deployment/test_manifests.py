"""The Kubernetes manifests, rendered: valid in several releases, and nothing root, unbounded, unprobed or open."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import ROOT

OVERLAYS = ("dev", "production")
RELEASES = ("1.30", "1.33", "1.37")
BIN = Path(sys.executable).parent
PUBLIC = {"/v1", "/v2", "/classify", "/detect", "/docs", "/problems", "/assets", "/playground"}

Manifest = dict[str, Any]


@pytest.fixture(scope="module", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> str:
    folder = ROOT / "k8s" / "overlays" / request.param
    command = [str(BIN / "kubectl"), "kustomize", str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.fixture
def manifests(rendered: str) -> list[Manifest]:
    return list(yaml.safe_load_all(rendered))


def workloads(manifests: list[Manifest]) -> Iterator[Manifest]:
    return (each for each in manifests if each["kind"] in ("Deployment", "StatefulSet"))


@pytest.mark.parametrize("release", RELEASES)
def test_the_manifests_are_valid(rendered: str, release: str, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(rendered)
    command = [str(BIN / "kubernetes-validate"), "--strict", "-k", release, str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_container_is_locked_down_probed_and_bounded(manifests: list[Manifest]) -> None:
    names = set()
    for workload in workloads(manifests):
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            names.add(container["name"])
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"]["drop"] == ["ALL"]
            assert {"livenessProbe", "readinessProbe", "startupProbe"} <= container.keys()
            for bound in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][bound].keys()
    assert names == {"gateway", "triton"}


def test_no_secret_is_written_down(manifests: list[Manifest]) -> None:
    assert [each for each in manifests if each["kind"] == "Secret"] == []
    config = next(each for each in manifests if each["kind"] == "ConfigMap")["data"]
    assert [name for name in config if "SECRET" in name or "PEPPER" in name] == [
        "GATEWAY_KEY_PEPPER_FILE",
        "GATEWAY_TOKEN_SECRET_FILE",
    ]


def test_only_the_gateway_reaches_triton_and_only_public_paths_reach_the_gateway(
    manifests: list[Manifest],
) -> None:
    policies = {
        each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"
    }
    grpc = [rule for rule in policies["triton"]["ingress"] if rule["ports"] == [{"port": "grpc"}]]
    assert [rule["from"] for rule in grpc] == [
        [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}]
    ]
    paths = {
        path["path"]
        for each in manifests
        if each["kind"] == "Ingress"
        for rule in each["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    assert paths <= PUBLIC


def test_the_grace_period_has_room_for_the_pause_and_for_what_is_under_way(manifests: list[Manifest]) -> None:
    gateway = next(each for each in workloads(manifests) if each["metadata"]["name"] == "gateway")
    pod = gateway["spec"]["template"]["spec"]
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= pause + 16
