"""The Kubernetes manifests, rendered: valid in several releases, and nothing root, unbounded, unprobed or open."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate.utils import ValidationError as NotOfTheRelease
from stack import ROOT

OVERLAYS = ("dev", "production", "autoscaled")
RELEASES = ("1.30", "1.33", "1.37")
PUBLIC = {"/v1", "/v2", "/classify", "/detect", "/docs", "/problems", "/assets", "/playground"}
SCHEMAS = (
    ROOT / "k8s" / "schemas"
)  # of the kinds that Kubernetes itself does not know, as far as they are used
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_OF_IMAGES = (Path("/app"), Path("/opt"), Path("/usr"))  # what stands in them is run, and never written

Manifest = dict[str, Any]


def render(overlay: str) -> list[Manifest]:
    """What `kubectl apply -k` would send. Raises CalledProcessError with kustomize's words."""
    command = [str(Path(sys.executable).parent / "kubectl"), "kustomize", f"k8s/overlays/{overlay}"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return list(yaml.safe_load_all(answer.stdout))


def problems(manifests: Sequence[Manifest]) -> Iterator[str]:
    """A sentence for each thing that is wrong with them."""
    for manifest in manifests:
        yield from (f"{_name(manifest)}: {problem}" for problem in _invalid(manifest))
    for look in _POLICIES:
        yield from look(manifests)


def _invalid(manifest: Manifest) -> Iterator[str]:
    path = SCHEMAS / f"{manifest['kind']}.json"
    if path.exists():
        validator = jsonschema.Draft202012Validator(json.loads(path.read_text()))
        yield from (error.message for error in validator.iter_errors(manifest))
        return
    for release in RELEASES:
        try:
            kubernetes_validate.validate(manifest, release, strict=True)
        except NotOfTheRelease as error:
            yield f"{release}: {error.message}"


def _workloads(manifests: Sequence[Manifest]) -> list[Manifest]:
    return [each for each in manifests if each["kind"] in ("Deployment", "StatefulSet")]


def _locked_down(manifests: Sequence[Manifest]) -> Iterator[str]:
    """No container is root, changes itself, or lacks bounds and probes."""
    for workload in _workloads(manifests):
        pod = workload["spec"]["template"]["spec"]
        if pod["securityContext"].get("runAsNonRoot") is not True or pod["automountServiceAccountToken"]:
            yield f"{_name(workload)}: it may be root, or holds a token of the cluster"
        for container in pod["containers"]:
            yield from (f"{_name(workload)}: {problem}" for problem in _of_container(container))


def _of_container(container: Manifest) -> Iterator[str]:
    security = container["securityContext"]
    if (
        security.get("readOnlyRootFilesystem") is not True
        or security.get("allowPrivilegeEscalation") is not False
    ):
        yield "its root file system can be written, or it may gain privileges"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield "it keeps capabilities"
    for probe in _PROBES:
        if probe not in container:
            yield f"it has no {probe}"
    for bound in ("requests", "limits"):
        if not {"cpu", "memory"} <= container["resources"][bound].keys():
            yield f"its {bound} leave something open"


def _without_one_model(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Triton is ready, as it sees it, when every model of its repository is: one that does not load would end it."""
    for workload in _workloads(manifests):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            yield from (
                f"{_name(workload)}: its {probe} fails for good where one model does not load"
                for probe in _PROBES
                if container.get(probe, {}).get("httpGet", {}).get("path") == "/v2/health/ready"
            )


def _mounted(manifests: Sequence[Manifest]) -> Iterator[str]:
    """What a container is told to read or write is mounted: the rest is its image's, and cannot be written."""
    settings = {each["metadata"]["name"]: each["data"] for each in manifests if each["kind"] == "ConfigMap"}
    for workload in _workloads(manifests):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            words = [*container.get("command", []), *container.get("args", [])]
            if not words:
                yield f"{_name(workload)}: what it runs is left to its image"
            for source in container.get("envFrom", []):
                words += settings[source["configMapRef"]["name"]].values()
            yield from (
                f"{_name(workload)}: {path} is not mounted" for path in _not_mounted(container, words)
            )


def _not_mounted(container: Manifest, words: Sequence[str]) -> Iterator[str]:
    there = (*_OF_IMAGES, *(Path(mount["mountPath"]) for mount in container["volumeMounts"]))
    for word in words:
        path = Path(word.partition("=")[2] if word.startswith("-") else word)
        if path.is_absolute() and not any(path.is_relative_to(place) for place in there):
            yield str(path)


def _outlives_a_drain(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Whoever empties a node takes one pod at a time, and they are on different nodes where that is possible."""
    budgets = [each["spec"] for each in manifests if each["kind"] == "PodDisruptionBudget"]
    for workload in _workloads(manifests):
        selector = workload["spec"]["selector"]
        if {"maxUnavailable": 1, "selector": selector} not in budgets:
            yield f"{_name(workload)}: no budget keeps one of its pods while a node is emptied"
        spread = workload["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        if selector not in [each["labelSelector"] for each in spread]:
            yield f"{_name(workload)}: all of its pods may be put on one node"


def _no_secrets(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Secrets are named, never written down."""
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            yield f"{_name(manifest)}: a secret stands in the files"
        for name in manifest.get("data", {}):
            if any(word in name for word in ("PEPPER", "SECRET", "REDIS_URL")) and not name.endswith("_FILE"):
                yield f"{_name(manifest)}: {name} belongs into the Secret"


def _closed(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Only the gateway reaches Triton, and only public paths lead to the gateway."""
    named = {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"}
    gateway = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}
    for rule in named["triton"]["ingress"]:
        if {"port": "grpc"} in rule["ports"] and rule.get("from") != [gateway]:
            yield "Triton can be called by others than the gateway"
    for ingress in (each for each in manifests if each["kind"] == "Ingress"):
        paths = {path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]}
        yield from (f"{_name(ingress)}: {path} is not public" for path in sorted(paths - PUBLIC))


def _time_to_end(manifests: Sequence[Manifest]) -> Iterator[str]:
    """The grace period has room for the pause before the signal and for what is under way after it."""
    (gateway,) = (each for each in manifests if _name(each) == "Deployment/gateway")
    pod = gateway["spec"]["template"]["spec"]
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    if pod["terminationGracePeriodSeconds"] < pause + 16:
        yield "Deployment/gateway: its grace period ends before its requests do"


def _one_scaler(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Two autoscalers on one workload pull at both ends, and so does a number in the files."""
    targets = [
        each["spec"]["scaleTargetRef"]["name"]
        for each in manifests
        if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    ]
    yield from (f"{name} has two autoscalers" for name in sorted(set(targets)) if targets.count(name) > 1)
    for manifest in manifests:
        if manifest["metadata"]["name"] in targets and "replicas" in manifest["spec"]:
            yield f"{_name(manifest)}: its number is written down and an autoscaler's as well"


_POLICIES: Sequence[Callable[[Sequence[Manifest]], Iterator[str]]] = (
    _locked_down,
    _without_one_model,
    _mounted,
    _outlives_a_drain,
    _no_secrets,
    _closed,
    _time_to_end,
    _one_scaler,
)


def _name(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def main() -> None:
    """Prints every problem of every overlay; exits with 1 where there is one."""
    found = [f"{overlay}: {problem}" for overlay in OVERLAYS for problem in problems(render(overlay))]
    print("\n".join(found), end="\n" if found else "")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
