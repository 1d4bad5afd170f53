"""The Kubernetes manifests hold to `dev/check_manifests.py`, which finds what is wrong, and fit what they deploy."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from check_manifests import OVERLAYS, PUBLIC, Manifest, problems, render
from stack import ROOT
from support.application import routes_of_a_gateway

from gateway.settings import Settings

INSIDE = {"/", "/admin", "/console", "/livez", "/readyz", "/metrics", "/openapi.json"}


@pytest.fixture(scope="module")
def rendered() -> Mapping[str, Sequence[Manifest]]:
    return {overlay: render(overlay) for overlay in OVERLAYS}


def the(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    return next(each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name))


def container(manifests: Sequence[Manifest]) -> dict[str, Any]:
    found: dict[str, Any] = the(manifests, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][
        0
    ]
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_are_valid_and_keep_to_the_policy(
    rendered: Mapping[str, Sequence[Manifest]], overlay: str
) -> None:
    assert list(problems(rendered[overlay])) == []


def _misspell(manifests: Sequence[Manifest]) -> None:
    container(manifests)["livenesProbe"] = container(manifests)["livenessProbe"]


def _as_root(manifests: Sequence[Manifest]) -> None:
    the(manifests, "StatefulSet", "triton")["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] = (
        False
    )


def _writable(manifests: Sequence[Manifest]) -> None:
    container(manifests)["securityContext"]["readOnlyRootFilesystem"] = False


def _unbounded(manifests: Sequence[Manifest]) -> None:
    del container(manifests)["resources"]["limits"]["memory"]


def _unprobed(manifests: Sequence[Manifest]) -> None:
    del container(manifests)["startupProbe"]


def _waits_for_every_model(manifests: Sequence[Manifest]) -> None:
    triton = the(manifests, "StatefulSet", "triton")["spec"]["template"]["spec"]["containers"][0]
    triton["startupProbe"]["httpGet"]["path"] = "/v2/health/ready"


def _left_to_the_image(manifests: Sequence[Manifest]) -> None:
    del container(manifests)["args"]


def _nowhere(manifests: Sequence[Manifest]) -> None:
    mounts = container(manifests)["volumeMounts"]
    mounts.remove(next(each for each in mounts if each["mountPath"] == "/run/metrics"))


def _told_to_write(manifests: Sequence[Manifest]) -> None:
    container(manifests)["args"] += ["--state", "/run/state"]


def _evicted(manifests: Sequence[Manifest]) -> None:
    the(manifests, "PodDisruptionBudget", "triton")["spec"]["maxUnavailable"] = 2


def _together(manifests: Sequence[Manifest]) -> None:
    del the(manifests, "StatefulSet", "triton")["spec"]["template"]["spec"]["topologySpreadConstraints"]


def _told(manifests: Sequence[Manifest]) -> None:
    next(each for each in manifests if each["kind"] == "ConfigMap")["data"]["GATEWAY_REDIS_URL"] = (
        "redis://:word@a"
    )


def _open_triton(manifests: Sequence[Manifest]) -> None:
    del the(manifests, "NetworkPolicy", "triton")["spec"]["ingress"][0]["from"]


def _open_console(manifests: Sequence[Manifest]) -> None:
    paths = the(manifests, "Ingress", "gateway")["spec"]["rules"][0]["http"]["paths"]
    paths.append({**paths[0], "path": "/console"})


def _hurried(manifests: Sequence[Manifest]) -> None:
    the(manifests, "Deployment", "gateway")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 10


def _monitors_nothing(manifests: Sequence[Manifest]) -> None:
    the(manifests, "ServiceMonitor", "triton")["spec"]["endpoint"] = []


def _scales_by_nothing(manifests: Sequence[Manifest]) -> None:
    del the(manifests, "ScaledObject", "triton")["spec"]["triggers"][0]["metadata"]["query"]


def _scales_twice(manifests: Sequence[Manifest]) -> None:
    the(manifests, "ScaledObject", "triton")["spec"]["scaleTargetRef"]["name"] = "gateway"


def _numbered(manifests: Sequence[Manifest]) -> None:
    the(manifests, "Deployment", "gateway")["spec"]["replicas"] = 3


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_misspell, "livenesProbe"),
        (_as_root, "may be root"),
        (_writable, "can be written"),
        (_unbounded, "limits leave something open"),
        (_unprobed, "no startupProbe"),
        (_waits_for_every_model, "triton: its startupProbe fails for good where one model does not load"),
        (_left_to_the_image, "left to its image"),
        (_nowhere, "/run/metrics is not mounted"),
        (_told_to_write, "/run/state is not mounted"),
        (_evicted, "StatefulSet/triton: no budget"),
        (_together, "StatefulSet/triton: all of its pods"),
        (_told, "belongs into the Secret"),
        (_open_triton, "can be called by others"),
        (_open_console, "/console is not public"),
        (_hurried, "grace period"),
        (_monitors_nothing, "endpoint"),
        (_scales_by_nothing, "ScaledObject/triton"),
        (_scales_twice, "two autoscalers"),
        (_numbered, "is written down"),
    ],
)
def test_what_is_wrong_is_found(
    rendered: Mapping[str, Sequence[Manifest]], spoil: Callable[[Sequence[Manifest]], None], sentence: str
) -> None:
    manifests = copy.deepcopy(rendered["autoscaled"])
    spoil(manifests)
    assert any(sentence in problem for problem in problems(manifests))


def test_every_route_is_public_through_the_ingress_or_meant_to_stay_inside(
    rendered: Mapping[str, Sequence[Manifest]],
) -> None:
    paths = the(rendered["production"], "Ingress", "gateway")["spec"]["rules"][0]["http"]["paths"]
    assert {path["path"] for path in paths} == PUBLIC
    heads = {"/" + route.path.split("/")[1] for route in routes_of_a_gateway()}
    assert heads - PUBLIC - INSIDE == set()
    assert heads >= PUBLIC, "a path leads nowhere"


def test_what_scales_is_a_metric_that_there_is(rendered: Mapping[str, Sequence[Manifest]]) -> None:
    """The gateway's stand in docs/metrics.md; Triton's are its own names, which the recording rules use too."""
    queries = " ".join(
        trigger["metadata"]["query"]
        for each in rendered["autoscaled"]
        if each["kind"] == "ScaledObject"
        for trigger in each["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    )
    documented = (ROOT / "docs" / "metrics.md").read_text()
    ours = set(re.findall(r"gateway_\w+", queries))
    assert ours == {"gateway_requests_in_flight", "gateway_calls_waiting"}
    assert all(f"`{name}`" in documented for name in ours)
    assert {"nv_inference_pending_request_count", "nv_inference_queue_duration_us"} <= set(
        re.findall(r"nv_\w+", queries)
    )


def test_a_monitor_finds_a_service_and_a_port_by_its_name(rendered: Mapping[str, Sequence[Manifest]]) -> None:
    for monitor in (each for each in rendered["autoscaled"] if each["kind"] == "ServiceMonitor"):
        service = the(rendered["autoscaled"], "Service", monitor["metadata"]["name"])
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert wanted <= service["metadata"]["labels"].items()
        ports = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def test_no_variable_is_one_that_the_gateway_does_not_read(
    rendered: Mapping[str, Sequence[Manifest]],
) -> None:
    for manifests in rendered.values():
        config = next(each for each in manifests if each["kind"] == "ConfigMap")["data"]
        names = {name.removeprefix("GATEWAY_").lower() for name in config}
        assert names <= set(Settings.model_fields)
