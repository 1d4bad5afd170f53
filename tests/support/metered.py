"""Workers of a gateway that have nothing but their metrics, as processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from exposition import Exposition

# It has answered a request and has one in flight for ever, and answers each line by its metrics. The heir of a process
# has its files, as if it had its number.
_WORKER = """
import os, sys, time
from pathlib import Path
for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob(f"*{sys.argv[2]}.*"):
    file.rename(file.with_name(file.name.replace(sys.argv[2], str(os.getpid()))))
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.requests import Finished
from gateway.telemetry.timeline import Timeline
metrics = Metrics()
metrics.upstream.breaker_changed("open")
metrics.requests.finished(Finished("/v1/classify", 200, None, None, 0.1, Timeline(time.monotonic), 5000))
metrics.requests.begun()
metrics.requests.tell()
metrics.worker.catalog(models=int(sys.argv[1]), generation=int(sys.argv[1]))
print("ready", flush=True)
for _ in sys.stdin:
    text = metrics.text().decode()
    print(len(text.splitlines()), text, sep="\\n", end="", flush=True)
"""


class Worker:
    """`number` tells its gauges apart."""

    def __init__(self, number: int, heir_of: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(number), str(heir_of)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def metrics(self) -> Exposition:
        assert self.process.stdin is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return Exposition("".join(self._line() + "\n" for _ in range(int(self._line()))))

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")


@contextmanager
def workers(*numbers: int, heir_of: int = -1) -> Iterator[list[Worker]]:
    made = [Worker(number, heir_of) for number in numbers]
    try:
        yield made
    finally:
        for worker in made:
            worker.kill()
