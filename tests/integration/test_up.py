"""`make up` as a newcomer types it: what it prints works, and nothing is left when it ends."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from stack import ROOT, RUN, free_addresses
from support.up import UP, environment, until_printed, up


def test_the_printed_curl_lines_work_as_printed_and_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with up(free_addresses(), log) as process:
        printed = until_printed("Ctrl-C stops everything", log, process)
        children = psutil.Process(process.pid).children(recursive=True)
        lines = re.findall(r"(curl .*)$", printed, re.MULTILINE)
        assert len(lines) == 2
        answers = [
            subprocess.run(shlex.split(line), cwd=ROOT, capture_output=True, text=True, check=True).stdout
            for line in lines
        ]
        assert '"label":"7"' in answers[0]
        assert '"box":' in answers[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    gone, alive = psutil.wait_procs(children, timeout=5)
    assert (len(gone), alive) == (len(children), [])


def test_a_part_that_dies_ends_the_rest_with_a_message(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with up(free_addresses(), log) as process:
        until_printed("Ctrl-C stops everything", log, process)
        children = psutil.Process(process.pid).children(recursive=True)
        next(child for child in children if "tritonserver" in child.name()).kill()
        assert process.wait(30) == 1
    assert "a part ended by itself" in log.read_text()
    assert "nothing listens any more where TRITON_" in log.read_text()
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.parametrize("variable", ["GATEWAY_PORT", "TRITON_GRPC_PORT", "REDIS_PORT"])
def test_a_taken_port_is_named_with_the_way_out(variable: str) -> None:
    at = free_addresses()
    with socket.create_server(("127.0.0.1", getattr(at, variable.lower()))):
        result = subprocess.run(
            UP, env=environment(at), cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
        )
    assert result.returncode == 1
    assert f"port {getattr(at, variable.lower())}: Address already in use" in result.stderr
    assert f"{variable}=" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_that_is_none_is_said_to_be_none() -> None:
    result = subprocess.run(
        UP,
        env={**os.environ, "GATEWAY_PORT": "soon"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == 1
    assert "GATEWAY_PORT=soon is not a port" in result.stderr


def test_two_stacks_run_side_by_side(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with up(free_addresses(), first) as one, up(free_addresses(), second) as other:
        until_printed("Ready in", first, one)
        until_printed("Ready in", second, other)


def test_a_folder_of_ones_own_is_the_gateways_too(tmp_path: Path) -> None:
    """Of a model for texts the gateway reads the tokenizer itself."""
    at, log, folder = free_addresses(), tmp_path / "log", tmp_path / "models"
    shutil.copytree(ROOT / "model_repository" / "languages_bert", folder / "tongues")
    for config in folder.rglob("*.pbtxt"):
        config.write_text(config.read_text().replace('name: "languages_bert"', 'name: "tongues"'))
    with up(at, log, MODEL_REPOSITORY=str(folder)) as process:
        printed = until_printed("Ctrl-C stops everything", log, process)
        key = re.search(r"Demo key +(\S+)", printed)
        assert key is not None
        asked = {"model": "tongues", "inputs": [{"text": "Vereinigte Staaten"}]}
        headers = {"x-api-key": key[1]}
        answer = httpx.post(f"{at.gateway_url}/v1/classify", json=asked, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        assert f"GATEWAY_MODEL_REPOSITORY={folder}\n" in (RUN / "secrets.env").read_text()
