"""`make bench-against REV=…`: another commit's gateway and this one's, by turns on the same Triton and the same Redis.

What counts is the CPU time of each gateway's process and what its callers waited, as ratios of turns that follow one
another: what else the machine does strikes both.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from connection import Address
from figures import percentile, table
from hot_path import per_request
from processes import running_stack
from stack import ROOT
from testbed import machine, roomy_access

from bench import networks
from bench.field import CLASSIFY_SIZE, DETECT_SIZE, Gateway, second
from bench.networks import CLASSIFIER, DETECTOR, IDENTITY, SIDE, UINT8
from bench.requests import Request, binary_tensor, json_tensor, photo, picture, values

ROUNDS, SECONDS = 5, 3.0


@dataclass(frozen=True)
class Turn:
    """Microseconds of the gateway's CPU a request, and what the callers waited in milliseconds."""

    cpu: float
    p50: float
    p99: float


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="bench.against", description=__doc__)
    options.add_argument("revision")
    revision = options.parse_args(arguments).revision
    print(f"On {machine()}.")
    with (
        tempfile.TemporaryDirectory() as folder,
        roomy_access() as access,
        running_stack(networks.write(Path(folder, "models")), access_file=access) as stack,
        _checkout(revision, Path(folder, "checkout")) as checkout,
        second(
            stack.at, {"access_file": access}, source=checkout
        ) as other,  # with the packages installed here
    ):
        own = Gateway(Address(stack.at.gateway_host, stack.at.gateway_port), stack.gateway)
        columns = [
            "",
            *(word for name in ("CPU us", "p50", "p99") for word in (f"{name} then", "now", "ratio")),
        ]
        row = table(f"This gateway against {revision}", columns)
        for name, (request, in_flight) in _works().items():
            raw = request.with_key(stack.key).raw()
            turns = [(_turn(other, raw, in_flight), _turn(own, raw, in_flight)) for _ in range(ROUNDS + 1)]
            row(name, *_cells(turns[1:]))  # the first one warms up
    return 0


def _works() -> Mapping[str, tuple[Request, int]]:
    """What is asked, and how many at once."""
    small, scene = photo(*CLASSIFY_SIZE), photo(*DETECT_SIZE)
    return {
        "`tensor`, binary, 16 in flight": (binary_tensor(IDENTITY, "values", values(1, 64)), 16),
        "`tensor`, JSON, 16 in flight": (json_tensor(IDENTITY, "values", values(1, 64)), 16),
        "`tensor`, JSON, 1 in flight": (json_tensor(IDENTITY, "values", values(1, 64)), 1),
        "`json-tensor`, 1 in flight": (json_tensor(CLASSIFIER, "images", values(1, 3, SIDE, SIDE)), 1),
        "`jpeg`, 1 in flight": (picture(f"/v1/classify?model={CLASSIFIER}", small), 1),
        "`jpeg`, uint8, 4 in flight": (picture(f"/v1/classify?model={CLASSIFIER + UINT8}", small), 4),
        "`detect`, uint8, 1 in flight": (picture(f"/v1/detect?model={DETECTOR + UINT8}", scene), 1),
    }


@contextmanager
def _checkout(revision: str, folder: Path) -> Iterator[Path]:
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def _turn(gateway: Gateway, request: bytes, in_flight: int) -> Turn:
    used, samples = per_request(gateway.process, gateway.address, request, in_flight, SECONDS)
    waited = [sample.latency * 1e3 for sample in samples]
    return Turn(used, percentile(waited, 0.5), percentile(waited, 0.99))


def _cells(turns: list[tuple[Turn, Turn]]) -> Iterator[str]:
    """Medians of both, and the median ratio with the lowest and the highest."""
    for what, form in (("cpu", "{:.0f}"), ("p50", "{:.2f} ms"), ("p99", "{:.2f} ms")):
        then, now = ([getattr(turn, what) for turn in side] for side in zip(*turns, strict=True))
        ratios = [new / old for old, new in zip(then, now, strict=True)]
        yield form.format(statistics.median(then))
        yield form.format(statistics.median(now))
        yield f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
