"""`make bench-overload`: what stays good while too much is asked for: a real Triton, and a model of known capacity.

Parts, all of them if none is named: `mix` (two and five times the peak, in three classes) and `urgent` (what an
interactive request notices of a flood of batch requests).
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from connection import http_request
from figures import SHED, Figures, between, inversions, median, ms, percentile, share, table
from load import Closed, Load, Open, Sample, measure
from slow_model import SlowModel
from testbed import WORKERS, Testbed, machine, started, tiny_picture

MODEL = SlowModel(batch=8, fixed=0.080, each=0.003)
DEADLINE = 1.0  # seconds that each request gives us
WARM_UP = 2.0  # seconds that are not counted
MIX = {"interactive": 0.2, "standard": 0.5, "batch": 0.3}
URGENCY = {"interactive": 1, "standard": 3, "batch": 5}
ROUNDS = 3
PARTS = ("mix", "urgent")

_PROMPT = 20.0  # milliseconds in which a refusal has to be said


@dataclass(frozen=True)
class Subject:
    """The gateway under load, and how long one load lasts."""

    bed: Testbed
    key: str
    seconds: float

    def request(self, urgency: int) -> bytes:
        return http_request(
            "POST",
            "/v1/classify",
            key=self.key,
            body=tiny_picture(),
            urgency=urgency,
            timeout_ms=round(DEADLINE * 1000),
        )

    def offer(
        self, rates: Mapping[str, float], urgency: Mapping[str, int] = URGENCY, seed: int = 1
    ) -> list[Sample]:
        """An open loop of these streams."""
        streams = [Open(name, self.request(urgency[name]), rate) for name, rate in rates.items()]
        return measure(Load(self.bed.address, streams, WARM_UP + self.seconds, seed=seed))

    def counted(self, samples: Sequence[Sample], *streams: str) -> Figures:
        return between(samples, WARM_UP, WARM_UP + self.seconds, *streams, deadline=DEADLINE)


def main() -> None:
    options = argparse.ArgumentParser(description="What stays good while too much is asked for.")
    options.add_argument("parts", nargs="*", help="all of them if none is named")
    options.add_argument("--seconds", type=float, default=30.0, help="of each load")
    # What LimitPolicy recommends: two batches, one that runs and one that gathers, shared by the workers.
    options.add_argument("--in-flight", type=int, default=2 * MODEL.batch // WORKERS)
    chosen = options.parse_args()
    settings = {"request_timeout": DEADLINE, "max_in_flight": chosen.in_flight}
    with (
        tempfile.TemporaryDirectory() as folder,
        started(MODEL.write(Path(folder)), roomy=True, **settings) as bed,
    ):
        print(f"{machine()}; {WORKERS} workers, {chosen.in_flight} calls in flight each at most")
        subject = Subject(bed, bed.key("bench")[1], chosen.seconds)
        peak = find_peak(subject)
        if "mix" in (chosen.parts or PARTS):
            offer_the_mix(subject, peak)
        if "urgent" in (chosen.parts or PARTS):
            flood_with_batch(subject, peak)


def find_peak(subject: Subject) -> float:
    """The best goodput of a closed loop, in answers a second."""
    row = table(
        f"The peak (the model alone: {MODEL.capacity:.0f}/s)", ("clients", "answers in time", "p50", "p99")
    )
    peak, seconds = 0.0, min(8.0, subject.seconds)
    for clients in (MODEL.batch * factor for factor in (1, 2, 3, 4, 6)):
        stream = Closed("peak", subject.request(URGENCY["standard"]), clients)
        samples = measure(Load(subject.bed.address, [stream], WARM_UP + seconds))
        found = between(samples, WARM_UP, WARM_UP + seconds, deadline=DEADLINE)
        row(clients, rate(found), ms(found.latency(0.5)), ms(found.latency(0.99)))
        peak = max(peak, found.goodput)
    return peak


def offer_the_mix(subject: Subject, peak: float) -> None:
    """Once, twice and five times the peak, in three classes."""
    shares = ", ".join(f"{value * 100:.0f} % {name}" for name, value in MIX.items())
    row = table(
        f"Overload ({shares}; {subject.seconds:.0f} s each, deadline {DEADLINE * 1000:.0f} ms)",
        (
            "offered",
            "goodput",
            "of the peak",
            *(f"{name} answered" for name in MIX),
            "p99 of the 200s",
            "200s after the deadline",
            "503 in 20 ms",
            "p99 of 503 at the server",
            "other 5xx than 503, 504",
            "seconds with an inversion",
            "memory growth",
            "machine busy",
        ),
    )
    for factor in (1, 2, 5):
        memory, moment = subject.bed.memory(), time.time()
        psutil.cpu_percent()
        samples = subject.offer({name: value * factor * peak for name, value in MIX.items()})
        busy = psutil.cpu_percent() / 100  # since the call before, whoever used it
        total = subject.counted(samples)
        refused = [line["ms"] for line in subject.bed.log(moment) if line.get("status") == SHED]
        row(
            f"{factor}x",
            rate(total),
            share(total.goodput / peak),
            *(share(subject.counted(samples, name).success) for name in MIX),
            ms(total.latency(0.99)),
            total.late,
            share(sum(took < _PROMPT for took in refused) / len(refused)) if refused else "none",
            ms(percentile(refused, 0.99) / 1000),
            sum(count for status, count in total.statuses.items() if status not in (200, 503, 504)),
            inversions(samples, list(MIX), deadline=DEADLINE, begin=WARM_UP, end=WARM_UP + subject.seconds),
            f"{(subject.bed.memory() - memory) / 2**20:.0f} MiB",
            share(busy),
        )


def flood_with_batch(subject: Subject, peak: float) -> None:
    """Interactive requests alone, beside three times the peak of batch, and beside the same without classes."""
    urgent = {"interactive": MIX["interactive"] * peak}
    flood = {**urgent, "batch": 3 * peak}
    equal = dict.fromkeys(URGENCY, URGENCY["standard"])
    cases: Mapping[str, Callable[[int], list[Sample]]] = {
        "nothing": lambda seed: subject.offer(urgent, seed=seed),
        "3x the peak of batch": lambda seed: subject.offer(flood, seed=seed),
        "the same, all of one class": lambda seed: subject.offer(flood, equal, seed=seed),
    }
    # By turns, so that what the machine does besides meets all of them.
    rounds = [{name: case(seed) for name, case in cases.items()} for seed in range(ROUNDS)]
    row = table(
        f"Interactive at {MIX['interactive'] * 100:.0f} % of the peak, {ROUNDS} x {subject.seconds:.0f} s",
        (
            "beside",
            "p50",
            "p99 (median of the rounds)",
            "to p99 alone (goal 1.5)",
            "answered",
            "goodput of both",
        ),
    )
    base = math.nan
    for name in cases:
        found = [subject.counted(samples[name], "interactive") for samples in rounds]
        both = [subject.counted(samples[name]) for samples in rounds]
        p99 = median(found, lambda figures: figures.latency(0.99))
        base = p99 if name == "nothing" else base
        row(
            name,
            ms(median(found, lambda figures: figures.latency(0.5))),
            ms(p99),
            f"{p99 / base:.2f}",
            share(median(found, lambda figures: figures.success)),
            f"{median(both, lambda figures: figures.goodput):.1f}/s",
        )


def rate(figures: Figures) -> str:
    return f"{figures.goodput:.1f}/s"


if __name__ == "__main__":
    main()
