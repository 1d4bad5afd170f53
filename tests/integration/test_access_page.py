"""docs/access.md as a newcomer follows it: its commands and its program run against `make up` as they stand there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stack import ROOT, free_addresses
from support.up import until_printed, up

from gateway.access_file import issuers_of, tiers_of

PAGE = (ROOT / "docs" / "access.md").read_text()
END = "### end of a command"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command, and what the page shows that it prints."""

    command: str
    shown: str

    def is_what_came(self, printed: str) -> bool:
        """Dots stand for anything."""
        return re.match(".*".join(map(re.escape, self.shown.split("…"))), printed, re.DOTALL) is not None


def steps() -> list[Step]:
    """Every line behind a `$`, but the one for a Redis that is not the local stack's."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command = re.match(r"(?:.*\\\n)*.*\n", part)
            assert command is not None
            found.append(Step(command[0], part[command.end() :].strip()))
    return [step for step in found if not step.command.startswith("redis-cli")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A terminal beside a running `make up` on other ports; where that listens it learns from the page's own lines."""
    at = free_addresses()
    log: Path = tmp_path_factory.mktemp("up") / "log"
    with up(at, log, GATEWAY_CORS_ORIGINS="http://localhost:3000") as process:
        until_printed("Ctrl-C stops everything", log, process)
        yield {**os.environ, "URL": at.gateway_url}


def in_one_shell(commands: list[str], environment: dict[str, str]) -> list[str]:
    """What each of the commands prints, run one after the other in one bash that stops at the first failure."""
    text = f"\necho '{END}'\n".join(["set -e", *commands, ""])
    done = subprocess.run(
        ["bash", "-c", text.replace("http://127.0.0.1:8080", "$URL")],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(END)[1:-1]


def test_every_command_prints_what_the_page_shows(environment: dict[str, str]) -> None:
    everything = steps()
    assert len(everything) == 9
    printed = in_one_shell([step.command for step in everything], environment)
    for step, came in zip(everything, printed, strict=True):
        assert step.is_what_came(came.strip()), (step, came)


def test_the_settings_for_the_command_line_are_those_of_the_running_stack_and_its_owners_alone(
    environment: dict[str, str],
) -> None:
    everything = steps()
    (sourced,) = [step.command for step in everything if "secrets.env" in step.command]
    keys, checked, examined = in_one_shell(
        [
            sourced,
            *(f".venv/bin/gateway {words}" for words in ("keys list", "check-config", "doctor || true")),
        ],
        environment,
    )[1:]
    assert "demo" in keys
    assert f"GATEWAY_MODEL_REPOSITORY={ROOT / 'model_repository'}\n" in checked
    assert "triton: Triton 2." in examined
    assert (ROOT / ".run" / "secrets.env").stat().st_mode & 0o777 == 0o600


def test_the_python_program_works(environment: dict[str, str]) -> None:
    (program,) = blocks("python")
    beginning = [step.command for step in steps()[:1]]
    python = f"{sys.executable} - <<'EOF'\n{program}EOF"
    printed = in_one_shell([*beginning, python], environment)[-1]
    assert re.fullmatch(r'7 "key";r=\d+;t=\d+', printed.strip()), printed


def test_the_access_file_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    path = tmp_path / "access.toml"
    path.write_text(text)
    assert set(tiers_of(path)) == {"standard"}
    assert [issuer.name for issuer in issuers_of(path)] == ["corp"]
