"""`make bench-mirror`: what callers of the stable version notice while all their calls are mirrored to a canary.

One open loop on a model that has room. The mirror is on and off by turns, in blocks of some seconds, so that whatever
else the machine does falls on both.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
from connection import http_request
from figures import Figures, between, ms, percentile, table
from load import Load, Open, RunningLoad, Sample
from slow_model import SlowModel
from testbed import WORKERS, Testbed, machine, started, tiny_picture

MODEL = SlowModel(batch=16, fixed=0.010, each=0.0005, versions=2)
GOAL = 1.10  # of the p99 without a mirror, at most
WARM_UP = 4.0  # seconds, with the mirror on
SETTLING = 1.5  # seconds after a change that are not counted: a worker may hear of it at its next poll only
_FULL = 10_000


@dataclass(frozen=True)
class Block:
    """From `begin` to `end`, in seconds of the load."""

    mirrored: bool
    begin: float
    end: float

    def figures(self, samples: Sequence[Sample]) -> Figures:
        return between(samples, self.begin + SETTLING, self.end)


class Switch:
    """The share of the mirror, in basis points; nobody is on the canary."""

    def __init__(self, bed: Testbed) -> None:
        self._path = f"{bed.stack.url}/admin/v1/canaries/slow"
        headers = {"x-api-key": bed.stack.admin_key}
        self._client = httpx.Client(headers=headers, timeout=10, trust_env=False)

    def turn(self, share: int) -> None:
        tag = self._client.get(self._path).raise_for_status().headers["etag"]
        document = {"stable": "1", "canary": "2", "weight": 0, "mirror": share}
        self._client.put(self._path, json=document, headers={"if-match": tag}).raise_for_status()

    def compared(self) -> int:
        """How many mirrored answers the workers have compared so far."""
        report = self._client.get(f"{self._path}/report").raise_for_status().json()
        return int(report["agreement"]["compared"])


def main() -> None:
    options = argparse.ArgumentParser(description="What callers notice of a mirror.")
    options.add_argument("--rate", type=float, default=60.0, help="requests a second")
    options.add_argument("--seconds", type=float, default=8.0, help="of each block")
    options.add_argument("--pairs", type=int, default=8, help="of blocks: one with the mirror, one without")
    chosen = options.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        started(MODEL.write(Path(folder)), roomy=True) as bed,
    ):
        print(
            f"{machine()}; {WORKERS} workers, {chosen.rate:.0f} requests/s of {MODEL.capacity:.0f} possible"
        )
        take_turns(bed, chosen.rate, blocks(chosen.pairs, chosen.seconds))


def blocks(pairs: int, seconds: float) -> list[Block]:
    """On, off, off, on and so on: which comes first changes from pair to pair."""
    order = [mirrored for pair in range(pairs) for mirrored in (pair % 2 == 0, pair % 2 == 1)]
    length = SETTLING + seconds
    return [
        Block(mirrored, WARM_UP + place * length, WARM_UP + (place + 1) * length)
        for place, mirrored in enumerate(order)
    ]


def take_turns(bed: Testbed, rate: float, turns: Sequence[Block]) -> None:
    switch = Switch(bed)
    switch.turn(_FULL)
    request = http_request("POST", "/v1/classify", key=bed.key("bench")[1], body=tiny_picture())
    with RunningLoad(Load(bed.address, [Open("stable", request, rate)], turns[-1].end)) as load:
        for block in turns:
            load.wait_until(block.begin)
            switch.turn(_FULL if block.mirrored else 0)
        samples = load.samples()
    load.wait_until(turns[-1].end + SETTLING)  # until the workers have told what they compared
    show(samples, turns)
    offered = len(between(samples, 0, WARM_UP).samples)
    offered += sum(len(between(samples, b.begin, b.end).samples) for b in turns if b.mirrored)
    print(f"\n{switch.compared()} answers compared, of about {offered} calls while the mirror was on")


def show(samples: Sequence[Sample], turns: Sequence[Block]) -> None:
    row = table("Calls of the stable version", ("mirror", "calls", "not answered 200", "p50", "p95", "p99"))
    by_mirror = {}
    for mirrored in (False, True):
        parts = [block.figures(samples) for block in turns if block.mirrored is mirrored]
        found = Figures([s for part in parts for s in part.samples], sum(part.seconds for part in parts))
        quantiles = (ms(found.latency(share)) for share in (0.5, 0.95, 0.99))
        row("100 %" if mirrored else "none", len(found.samples), len(found.samples) - found.good, *quantiles)
        by_mirror[mirrored] = found.latency(0.99)
    ratios = [ratio(samples, pair) for pair in list(pairwise(turns))[::2]]
    print(
        f"\np99 with the mirror to p99 without: {by_mirror[True] / by_mirror[False]:.3f}, {GOAL:.2f} is allowed"
    )
    print(
        f"pair by pair: {', '.join(f'{one:.2f}' for one in ratios)}; their median {percentile(ratios, 0.5):.3f}"
    )


def ratio(samples: Sequence[Sample], pair: tuple[Block, Block]) -> float:
    """Of the p99 of the block with the mirror to that of its neighbour."""
    p99 = {block.mirrored: block.figures(samples).latency(0.99) for block in pair}
    return p99[True] / p99[False]


if __name__ == "__main__":
    main()
