"""`gateway canary watch`: in a terminal, as lines, as JSON, and over a restart."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from itertools import islice
from typing import Any

from stack import ROOT
from support.admin_server import KEY, AdminServer, Run
from support.fake_admin import side

from gateway.cli.admin_client import AdminClient
from gateway.cli.canary.feed import Connected, Lost, ServerEvent, follow


def test_watch_once_prints_a_frame(run: Run, rollout: None) -> None:
    result = run("watch", "--once")
    assert result.exit_code == 0
    finder, pets = result.stdout.splitlines()
    assert finder.startswith("finder: steady; version 1 100 %, 100 requests")
    assert "version 2 5 %, 100 requests, 0 (0 %) errors, p50 4.0 ms, p95 9.5 ms" in pets
    assert run("watch", "pets", "--once").stdout == f"{pets}\n"


def test_watch_once_for_machines(run: Run, rollout: None) -> None:
    (found,) = json.loads(run("watch", "pets", "--once", "--json").stdout)
    assert (found["route"]["weight"], found["report"]["canary"]["requests"]) == (500, 100)


def test_a_stream_goes_on_after_the_gateway_was_away(server: AdminServer) -> None:
    """The wait between two attempts is when the gateway comes back."""
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            server.start()

    client = AdminClient(server.url, KEY, scope="admin:canary")
    items = follow(client, "/admin/v1/events", wait)
    assert isinstance(next(items), Connected)
    first = list(islice(items, 2))
    assert [item.document["model"] for item in first if isinstance(item, ServerEvent)] == ["pets", "finder"]
    server.stop()
    away = next(items)
    assert isinstance(away, Lost)
    assert "no gateway answers" in away.why
    assert isinstance(next(items), Connected)
    assert isinstance(next(items), ServerEvent)
    items.close()  # type: ignore[attr-defined]
    client.close()
    assert waits == [0.5, 1.0]


# Tests that run in the background have children who ignore what ends the command.
WATCH = """
import signal, sys
from gateway.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main(["canary", "watch", *sys.argv[1:]], prog_name="gateway")
"""


def watching(server: AdminServer, *words: str, **pipes: Any) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "GATEWAY_URL": server.url, "GATEWAY_ADMIN_KEY": KEY, "TERM": "xterm"}
    environment |= {"COLUMNS": "170", "LINES": "30", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-P", "-c", WATCH, *words]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, **pipes)


def read_until(descriptor: int, wanted: str, seconds: float = 20) -> str:
    """What came, with everything up to `wanted`."""
    found, end = "", time.monotonic() + seconds
    while wanted not in found:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"{wanted!r} did not come, but {found!r}"
        came = os.read(descriptor, 65536)
        assert came, f"it ended before {wanted!r}, after {found!r}"
        found += came.decode()
    return found


def ended(process: "subprocess.Popen[bytes]") -> int:
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(10)
    finally:
        process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def test_watch_without_a_terminal_prints_a_line_for_each_change(
    run: Run, server: AdminServer, rollout: None
) -> None:
    process = watching(server, "pets", stdout=subprocess.PIPE)
    assert process.stdout is not None
    out = process.stdout.fileno()
    read_until(out, "pets: steady; version 1 95 %")
    run("set", "pets", "--weight", "25%")
    read_until(out, "version 2 25 %")
    server.fake.tell("report", server.fake.report("finder"))
    server.fake.tell("report", {**server.fake.report("pets"), "stable": side("1", 777)})
    assert "finder" not in read_until(out, "777 requests")
    assert ended(process) == 0


def test_watch_as_json_prints_an_event_a_line(server: AdminServer) -> None:
    process = watching(server, "--json", stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = read_until(process.stdout.fileno(), "finder").splitlines()
    assert json.loads(lines[0])["event"] == "route"
    assert json.loads(lines[0])["data"]["model"] == "pets"
    assert ended(process) == 0


def test_watch_on_a_terminal_draws_a_table_and_tells_of_a_restart(server: AdminServer, rollout: None) -> None:
    ours, theirs = pty.openpty()
    process = watching(server, stdout=theirs)
    os.close(theirs)
    read_until(ours, "Live.")
    server.fake.tell("report", {**server.fake.report("pets"), "canary": side("2", 4321)})
    assert "agreement" in read_until(ours, "4321")
    server.stop()
    read_until(ours, "No news")
    server.start()
    read_until(ours, "connected again 1x")
    assert ended(process) == 0
    os.close(ours)
