"""What an operator gets wrong is told in one line, and neither a reload nor a bad file takes down what serves."""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import Process, running, workers_of
from stack import Addresses, free_port, gateway

PATIENCE = 40.0  # seconds, on a busy machine
WRONG_SETTINGS, STARTUP_FAILURE = 1, 3
GOOD = "p" * 32
SHORT = "too-short-a-secret"


@dataclass(frozen=True)
class Served:
    """A gateway whose Triton and Redis are not there: it starts all the same."""

    process: Process
    url: str

    def text(self) -> str:
        return self.process.log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Fails where a line is not JSON."""
        return [json.loads(line) for line in self.text().splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == name]

    def until(self, met: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not met():
            assert time.monotonic() < end, self.text()[-2000:]
            time.sleep(0.05)

    def started(self) -> int:
        """How many processes have begun to serve so far."""
        return self.text().count("Application startup complete")

    def until_started(self, processes: int = 1) -> None:
        self.until(lambda: self.started() >= processes)

    def answers(self) -> bool:
        return httpx.get(f"{self.url}/livez", trust_env=False, timeout=PATIENCE).is_success


@contextlib.contextmanager
def served(host: str = "127.0.0.1", **settings: object) -> Iterator[Served]:
    ports = {name: free_port() for name in ("gateway_port", "triton_grpc_port", "redis_port")}
    at = replace(Addresses(), gateway_host=host, **ports)
    part = gateway(at, log_format="json", **settings)
    environment = {name: v for name, v in part.environment.items() if f"{name}_FILE" not in part.environment}
    with running(replace(part, environment=environment)) as process:
        yield Served(process, at.gateway_url)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_cannot_be_used_ends_the_start_with_its_name_and_no_traceback(
    tmp_path: Path, workers: int
) -> None:
    wrong = tmp_path / "access.toml"
    wrong.write_text("[tiers.gold]\nkey = 5\n")
    with served(workers=workers, access_file=wrong) as gateway:
        assert gateway.process.popen.wait(PATIENCE) == WRONG_SETTINGS
        assert f"GATEWAY_ACCESS_FILE: {wrong}: tiers.gold.key" in gateway.text()
        assert "Traceback" not in gateway.text()
        assert gateway.started() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_who_was_told_to_end_and_has_ended_says_that_all_went_well(workers: int) -> None:
    with served(workers=workers, drain_delay=0) as gateway:
        gateway.until_started(workers)
        gateway.process.popen.send_signal(signal.SIGTERM)
        assert gateway.process.popen.wait(PATIENCE) == 0
        assert "Traceback" not in gateway.text()


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secrets") / "pepper"


@pytest.fixture(scope="module")
def two(secret: Path) -> Iterator[Served]:
    secret.write_text(GOOD)
    with served(workers=2, key_pepper_file=secret) as gateway:
        gateway.until_started(2)
        yield gateway


def test_a_reload_with_a_bad_secret_keeps_the_workers_and_the_secret(two: Served, secret: Path) -> None:
    secret.write_text(SHORT)
    two.process.popen.send_signal(signal.SIGHUP)
    two.until(lambda: two.events("restart_given_up"))
    assert "GATEWAY_KEY_PEPPER: " in two.events("settings_not_valid")[0]["why"]
    assert SHORT not in two.text()
    assert two.answers()


def test_a_worker_that_cannot_be_replaced_yet_does_not_end_the_other_one(two: Served, secret: Path) -> None:
    secret.write_text(SHORT)
    told, started = len(two.events("settings_not_valid")), two.started()
    workers_of(two.process)[0].kill()
    two.until(lambda: len(two.events("settings_not_valid")) > told)
    assert two.answers()
    secret.write_text(GOOD)
    two.until_started(started + 1)
    assert SHORT not in two.text()


def test_a_reload_of_a_single_process_is_declined_and_it_goes_on_serving() -> None:
    with served() as gateway:
        gateway.until_started()
        gateway.process.popen.send_signal(signal.SIGHUP)
        gateway.until(lambda: gateway.events("no_reload_with_one_worker"))
        assert gateway.answers()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_address_of_either_kind_is_listened_to(workers: int) -> None:
    with served("::", workers=workers) as gateway:
        gateway.until_started(workers)
        port = gateway.url.rpartition(":")[2]
        for host in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{host}:{port}/livez", trust_env=False, timeout=PATIENCE).is_success


def test_an_address_that_cannot_be_had_names_its_variables() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with running(gateway(Addresses(gateway_port=port))) as process:
            assert process.popen.wait(PATIENCE) == STARTUP_FAILURE
            (line,) = process.log.read_text().splitlines()
            assert f"GATEWAY_PORT={port}: cannot listen there: address already in use" in line
