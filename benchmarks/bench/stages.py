"""Where a request's microseconds go: `make profile` prints the table, and puts it into docs/performance.md."""

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from connection import Address
from figures import table
from processes import running, wait_ready
from stack import ROOT, Part, free_port, gateway
from testbed import machine

from bench import drives, field, profiled
from bench.field import Field, Gateway
from bench.networks import CLASSIFIER, DETECTOR, IDENTITY, SIDE, UINT8
from bench.requests import Request, binary_tensor, json_tensor, picture, values

SECONDS, WARM = 8.0, 2.0
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- begin: make profile -->", "<!-- end: make profile -->"
Column = dict[str, float]
"""Microseconds a request, by stage."""


def main() -> int:
    columns: dict[str, Column] = {}
    with (
        field.started((), lambda *_: None) as running_field,
        _profiled(running_field) as (server, file),
    ):
        for name, (request, in_flight) in _works(running_field).items():
            columns[name] = _column(running_field, server, file, request, in_flight)
    lines = [f"On {machine()}."]
    _table(columns, lines)
    print("\n".join(lines))
    _put("\n".join(lines))
    return 0


def _works(at: Field) -> dict[str, tuple[Request, int]]:
    classify = picture(f"/v1/classify?model={CLASSIFIER + UINT8}", at.photo)
    detect = picture(f"/v1/detect?model={DETECTOR + UINT8}", at.scene)
    return {
        "`tensor`, binary": (binary_tensor(IDENTITY, "values", values(1, 64)), 16),
        "`tensor`, JSON": (json_tensor(IDENTITY, "values", values(1, 64)), 16),
        "`json-tensor`": (json_tensor(CLASSIFIER, "images", values(1, 3, SIDE, SIDE)), 1),
        "`jpeg`, uint8": (classify, 4),
        "`detect`, uint8": (detect, 4),
    }


@contextmanager
def _profiled(at: Field) -> Iterator[tuple[Gateway, Path]]:
    """One more gateway, with everything on and the sampler inside, and the file that it writes to."""
    addresses = replace(at.stack.at, gateway_port=free_port())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "profile.json")
        part = gateway(addresses, **at.settings)
        environment = {**part.environment, profiled.FILE: str(file)}
        command = [sys.executable, "-P", "-m", "bench.profiled"]
        with running(Part("profiled", command, environment)) as process:
            wait_ready(f"{addresses.gateway_url}/readyz", process)
            yield Gateway(Address(addresses.gateway_host, addresses.gateway_port), process), file


def _column(at: Field, server: Gateway, file: Path, request: Request, in_flight: int) -> Column:
    """The stages of one work. Raises TurnFailed."""
    raw = request.with_key(at.key).raw()
    for seconds in (WARM, SECONDS):
        server.process.popen.send_signal(signal.SIGUSR1)
        turn = at.generator.turn(
            *(drives.http, server.address, raw, seconds), watched={}, seconds=seconds, in_flight=in_flight
        )
        seen = _seen(server, file)
    samples, used = seen["samples"], seen["seconds"]
    main = used["main"] / max(1, sum(samples.values())) / turn.requests * 1e6
    column = {stage: samples.get(stage, 0) * main for stage in profiled.STAGES}
    column[profiled.DECODING] = used["decoding"] / turn.requests * 1e6
    column[profiled.OTHERS] = used["others"] / turn.requests * 1e6
    return column


def _seen(server: Gateway, file: Path) -> Any:
    """What the sampler saw, once it has written it."""
    server.process.popen.send_signal(signal.SIGUSR2)
    end = time.monotonic() + 10
    while not file.exists():
        if time.monotonic() > end:
            raise RuntimeError("the sampler wrote nothing")
        time.sleep(0.05)
    found = json.loads(file.read_text())
    file.unlink()
    return found


def _table(columns: Mapping[str, Column], lines: list[str]) -> None:
    row = table("Microseconds of the gateway's CPU a request", ["", *columns], say=lines.append)
    for stage in (*profiled.STAGES, profiled.DECODING, profiled.OTHERS):
        row(stage, *(f"{column[stage]:.0f}" for column in columns.values()))
    row("all", *(f"{sum(column.values()):.0f}" for column in columns.values()))


def _put(text: str) -> None:
    """Between the marks of the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, behind = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{behind}")


if __name__ == "__main__":
    sys.exit(main())
