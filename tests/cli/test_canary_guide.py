"""docs/canary.md against the commands: what it tells operators to type exists, and its routes file is one."""

import re
from pathlib import Path

import click
from stack import ROOT

from gateway.canary.routes_file import read_routes_file
from gateway.cli.canary import canary

GUIDE = (ROOT / "docs" / "canary.md").read_text()


def test_every_command_and_option_of_the_guide_exists() -> None:
    joined = GUIDE.replace("\\\n", " ")
    typed = re.findall(r"^\$ gateway canary (\S+)(.*)$", joined, re.MULTILINE)
    assert len(typed) >= 15
    for name, rest in typed:
        command = canary.commands[name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", rest.partition("#")[0])) <= known, name


def test_every_command_there_is_stands_in_the_guide() -> None:
    for name, command in canary.commands.items():
        assert isinstance(command, click.Command)
        assert re.search(rf"\b{name}\b", GUIDE), name


def test_the_routes_file_of_the_guide_is_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "routes.yaml"
    file.write_text(text)
    route = read_routes_file(file)["digits_classifier"]
    assert (route["stable"], route["canary"], route["lease"]) == ("1", "2", 86_400)
    assert [step["weight"] for step in route["steps"]] == [100, 2500, 10_000]
