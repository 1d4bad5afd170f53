"""What metrics cost: microseconds a request, alone and in files as with several workers, and milliseconds a scrape."""

import subprocess
import sys
import time
from collections.abc import Callable

from gateway.domain import ModelVersion, Priority, Variant
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.requests import Finished
from gateway.telemetry.timeline import Stage, Timeline, server_timing
from gateway.telemetry.worker_files import shared_folder

REQUESTS = 20_000
MODELS = 20


def each(work: Callable[[int], object], times: int) -> float:
    """Microseconds of this process, the best of five: others may use the machine meanwhile."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for number in range(times):
            work(number)
        best = min(best, time.process_time() - started)
    return best / times * 1e6


def measure(kind: str) -> None:
    metrics = Metrics()
    targets = [
        ModelVersion(f"model-{number}", version, variant)
        for number in range(MODELS)
        for version, variant in (("1", Variant.STABLE), ("2", Variant.CANARY))
    ]

    def timed(number: int) -> Timeline:
        timeline = Timeline(time.monotonic)
        timeline.chosen(targets[number % len(targets)])
        for stage in Stage:
            with timeline.stage(stage):
                pass
        return timeline

    def counted(number: int) -> None:
        timeline = timed(number)
        server_timing(timeline, 0.02)
        metrics.requests.begun()
        metrics.requests.finished(
            Finished("/v1/classify", 200, None, Priority.STANDARD, 0.02, timeline, 1200, [1200])
        )
        metrics.requests.over()
        target = targets[number % len(targets)]
        metrics.versions.record(target.model, target.version, target.variant, ok=True, seconds=0.01)

    clock, whole = each(timed, REQUESTS), each(counted, REQUESTS)
    scrape = each(lambda _: metrics.text(), 3) / 1000
    lines = sum(not line.startswith(b"#") for line in metrics.text().splitlines())
    print(
        f"{kind}: {whole:.1f} us a request, {clock:.1f} of them the stage clock; "
        f"{lines} series, {scrape:.1f} ms a scrape"
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        measure(sys.argv[1])
    else:
        subprocess.run([sys.executable, __file__, "one worker"], check=True)
        with shared_folder(None):
            subprocess.run([sys.executable, __file__, "in files"], check=True)
