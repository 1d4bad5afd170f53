"""compose.yaml: nothing in it is root, writable, unbounded or open; and what its containers would run, runs."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import deployment_secrets
import httpx
import pytest
import tritonclient.grpc
import yaml
from processes import RunningStack, running, running_triton, wait_listening, wait_ready
from stack import ROOT, TRITON_PYTHON, Addresses, Part, free_addresses
from tritonclient.utils import InferenceServerException

from gateway.access_file import BUILT_IN, tiers_of

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WITHOUT_A_SHELL = {"otel-collector"}  # its image holds one program, which knows no health command


def each_service(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)(test)


@each_service
def test_a_container_can_neither_become_root_nor_change_itself(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert not service.get("privileged")


@each_service
def test_a_container_has_its_bounds(service: dict[str, Any]) -> None:
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    assert service.get("mem_limit") or limits["memory"]
    assert service.get("cpus") or limits["cpus"]
    assert service["pids_limit"]
    assert service["logging"]["options"]["max-size"]


@each_service
def test_an_image_is_built_here_or_has_its_version(service: dict[str, Any]) -> None:
    if "build" in service:
        assert (ROOT / service["build"]["dockerfile"]).is_file()
    else:
        assert re.search(r":[^/:}]*\d+\.\d+[^/:}]*\}?$", service["image"])


def test_all_but_one_say_how_they_are() -> None:
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == WITHOUT_A_SHELL


def test_triton_and_redis_sit_where_nobody_comes_in_and_nothing_goes_out() -> None:
    assert COMPOSE["networks"]["back"]["internal"] is True
    for name in ("redis", "triton-gpu", "triton-cpu"):
        assert list(SERVICES[name]["networks"]) == ["back"]
        assert "ports" not in SERVICES[name]


def test_what_is_published_is_published_on_this_machine_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(re.match(r"(\$\{GATEWAY_PUBLISH:-)?127\.0\.0\.1:", port) for port in published)


@each_service
def test_what_is_mounted_is_there_and_cannot_be_written(service: dict[str, Any]) -> None:
    for volume in service.get("volumes", []):
        source, _, options = volume.partition(":")
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert options.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]
    for name in service.get("secrets", []):
        assert name in COMPOSE["secrets"]


def test_the_access_file_is_mounted_and_says_what_is_built_in() -> None:
    assert "./access:/etc/gateway:ro" in SERVICES["gateway"]["volumes"]
    assert SERVICES["gateway"]["environment"]["GATEWAY_ACCESS_FILE"] == "/etc/gateway/access.toml"
    assert tiers_of(ROOT / "access" / "access.toml") == BUILT_IN


def test_no_secret_stands_in_the_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PEPPER|SECRET|PASSWORD|REDIS_URL", name):
                assert value.startswith("/run/secrets/")


def test_the_guide_sends_traces_where_the_collector_takes_them() -> None:
    """No collector runs here: its configuration is held to its own names, its port and its container's bounds."""
    collector = yaml.safe_load((ROOT / "observability" / "otel-collector.yml").read_text())
    for pipeline in collector["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) == set(collector[kind])
    assert pipeline["processors"][0] == "memory_limiter"  # what it refuses must not have cost anything yet
    assert collector["processors"]["memory_limiter"]["limit_mib"] < int(
        SERVICES["otel-collector"]["mem_limit"].removesuffix("m")
    )
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    guide = (ROOT / "docs" / "deploy.md").read_text()
    assert f"GATEWAY_TRACE_ENDPOINT=http://otel-collector:{port}/v1/traces" in guide
    assert set(SERVICES["otel-collector"]["networks"]) & set(SERVICES["gateway"]["networks"])
    assert SERVICES["gateway"]["environment"]["GATEWAY_TRACE_ENDPOINT"] == "${GATEWAY_TRACE_ENDPOINT:-}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for the container's file system: secrets, and what is mounted to be written."""
    made = tmp_path_factory.mktemp("compose")
    for name in ("data", "metrics", "triton"):
        (made / name).mkdir()
    deployment_secrets.main(made / "secrets")
    return made


def test_secrets_are_drawn_once_and_are_all_that_compose_mounts(folder: Path) -> None:
    before = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
    deployment_secrets.main(folder / "secrets")
    assert {path.name: path.read_text() for path in (folder / "secrets").iterdir()} == before
    assert {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} == set(before)
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700


@pytest.fixture(scope="module")
def containers(folder: Path) -> Iterator[RunningStack]:
    """The commands of the CPU profile as processes, with this machine's paths and ports in place of theirs."""
    at = free_addresses()
    address = folder / "secrets" / "redis_url"
    address.write_text(address.read_text().replace("redis:6379", f"{at.redis_address}:{at.redis_port}"))
    ports = {
        "TRITON_HTTP_PORT": str(at.triton_http_port),
        "TRITON_GRPC_PORT": str(at.triton_grpc_port),
        "TRITON_METRICS_PORT": str(at.triton_metrics_port),
    }
    here = ROOT / ".venv" / "bin"
    with (
        running(part("redis", folder, at, here)) as redis,
        running_triton(part("triton-cpu", folder, at, TRITON_PYTHON.parent, ports), at) as triton,
    ):
        wait_listening(at.redis_address, at.redis_port)
        with running(part("gateway", folder, at, here)) as gateway:
            wait_ready(f"{at.gateway_url}/readyz", gateway, triton)
            yield RunningStack(at, triton, redis, gateway, key_by_command(folder, at, here), "")


def part(
    name: str, folder: Path, at: Addresses, programs: Path, more: Mapping[str, str] | None = None
) -> Part:
    service = SERVICES[name]
    command = [here(word, folder, at) for word in service["command"]]
    environment = {key: here(value, folder, at) for key, value in service.get("environment", {}).items()}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return Part(name, command, {**environment, **(more or {}), "PATH": path})


def here(text: str, folder: Path, at: Addresses) -> str:
    """What a word of the file becomes outside a container."""
    text = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", text).replace("$$", "$")
    places = {
        r"^/run/secrets/": f"{folder / 'secrets'}/",
        r"^/run/(metrics|triton)$": rf"{folder}/\1",
        r"^/data$": str(folder / "data"),
        r"^/models$": str(ROOT / "model_repository"),
        r"^/app/": f"{ROOT}/",
        r"^/etc/gateway/": f"{ROOT / 'access'}/",
        r"^0\.0\.0\.0$": "127.0.0.1",
        r"^triton:8001$": f"{at.triton_address}:{at.triton_grpc_port}",
        r"^8080$": str(at.gateway_port),
        r"^6379$": str(at.redis_port),
    }
    for pattern, place in places.items():
        text = re.sub(pattern, place, text)
    return text


def key_by_command(folder: Path, at: Addresses, programs: Path) -> str:
    """As an operator makes one inside the gateway's container."""
    made = part("gateway", folder, at, programs)
    words = [
        "gateway",
        "keys",
        "create",
        "--quiet",
        "--tenant",
        "shop",
        "--tier",
        "premium",
        "--scope",
        "infer",
    ]
    with running(Part("key", words, made.environment)) as process:
        assert process.popen.wait(60) == 0, process.log.read_text()
    return process.log.read_text().strip()


def test_the_stack_of_the_cpu_profile_answers(containers: RunningStack) -> None:
    with containers.client() as client:
        image = (ROOT / "clients" / "samples" / "digit.png").read_bytes()
        answer = client.post("/v1/classify", content=image, headers={"content-type": "image/png"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["results"][0]["predictions"][0]["label"] == "7"
        text = client.post("/v1/classify", json={"inputs": [{"text": "Uusi-Seelanti"}]})
        assert text.status_code == 200, text.text
    parts = httpx.get(f"{containers.url}/readyz", trust_env=False).json()["parts"]
    assert all(parts.values()), parts


def test_its_triton_has_closed_what_the_gateway_never_uses(containers: RunningStack) -> None:
    url = f"127.0.0.1:{containers.at.triton_grpc_port}"
    with tritonclient.grpc.InferenceServerClient(url) as client:
        for ask in (
            client.get_system_shared_memory_status,
            client.get_trace_settings,
            client.get_log_settings,
        ):
            with pytest.raises(InferenceServerException, match="restricted"):
                ask()


def test_its_doctor_finds_nothing_but_the_age_of_the_triton_wheel(
    containers: RunningStack, folder: Path
) -> None:
    here = ROOT / ".venv" / "bin"
    inside = part("gateway", folder, containers.at, here).environment
    with running(Part("doctor", ["gateway", "doctor"], inside)) as process:
        assert process.popen.wait(60) == 0, process.log.read_text()
    printed = process.log.read_text()
    assert re.findall(r"\[([a-z-]+)\]", printed) == ["old-release"]
    assert "0 error(s), 1 warning(s)." in printed


def test_its_redis_lets_a_stranger_do_nothing_but_ping(containers: RunningStack) -> None:
    import redis as blocking  # noqa: PLC0415  # beside the name of a part

    with blocking.Redis(containers.at.redis_address, port=containers.at.redis_port) as stranger:
        assert stranger.ping()
        with pytest.raises(blocking.exceptions.NoPermissionError):
            stranger.execute_command("INFO")
