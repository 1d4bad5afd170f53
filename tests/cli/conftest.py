"""`gateway canary` as an operator types it, against an administration behind real HTTP."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from support.admin_server import KEY, AdminServer, Run, admin_server

from gateway.cli import main


@pytest.fixture
def server() -> Iterator[AdminServer]:
    with admin_server("pets", "finder") as running:
        yield running


@pytest.fixture
def run(server: AdminServer) -> Run:
    """The command with these words, told of the server as a shell would tell it."""

    def invoke(*words: str, stdin: str | None = None, **environment: str) -> Result:
        told = {"GATEWAY_URL": server.url, "GATEWAY_ADMIN_KEY": KEY, **environment}
        return CliRunner(env=told).invoke(main, ["canary", *words], input=stdin)

    return invoke


@pytest.fixture
def rollout(run: Run) -> None:
    """pets has a canary at 5 %."""
    assert run("set", "pets", "--canary", "2", "--weight", "5%").exit_code == 0
