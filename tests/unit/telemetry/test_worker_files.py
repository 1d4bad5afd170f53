"""The folder that workers share, with real processes: what outlives them, what does not, and who may have it."""

import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from exposition import Exposition

from gateway.telemetry.worker_files import MetricsFolderError, folder_of_this_process, reserve, shared_folder

# One worker: it has a request in flight for ever, and answers each line by its metrics. The heir of a process has its
# files, as if it had its number.
WORKER = """
import os, sys
from pathlib import Path
for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob(f"*_{sys.argv[2]}.db"):
    file.rename(file.with_name(file.name.replace(sys.argv[2], str(os.getpid()))))
from gateway.telemetry.metrics import Metrics
metrics = Metrics()
metrics.upstream.breaker_changed("open")
metrics.requests.begun()
metrics.requests.tell()
metrics.worker.catalog(models=int(sys.argv[1]), generation=int(sys.argv[1]))
print("ready", flush=True)
for _ in sys.stdin:
    text = metrics.text().decode()
    print(len(text.splitlines()), text, sep="\\n", end="", flush=True)
"""


# A worker that counts every set of labels that there may be, of models with the longest names that a folder can have;
# it prints the sizes of its files, and how much of them is in use.
FULL = """
import json, os
from pathlib import Path
from prometheus_client import CollectorRegistry
from gateway.telemetry import families
from gateway.telemetry.definitions import ALL, Kind
from gateway.telemetry.worker_files import WorkerFiles
folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
WorkerFiles(folder)
before = {path.name: path.stat().st_size for path in folder.glob("*.db")}
kinds = {Kind.COUNTER: families.Counter, Kind.GAUGE: families.Gauge, Kind.HISTOGRAM: families.Histogram}
for each in ALL:
    metric = kinds[each.kind](each, CollectorRegistry())
    for number in range(each.most):
        label = f"{number:04}" + 251 * "m"
        metric._children.of(tuple(label if name in ("model", "endpoint") else label[:24] for name in each.labels))
print(json.dumps([before, {path.name: path.stat().st_size for path in folder.glob("*.db")}]))
"""


class Worker:
    def __init__(self, number: int, heir_of: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(number), str(heir_of)],
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
def workers(*numbers: int, heir_of: int = 0) -> Iterator[list[Worker]]:
    made = [Worker(number, heir_of) for number in numbers]
    try:
        yield made
    finally:
        for worker in made:
            worker.kill()


def changes(exposition: Exposition) -> float:
    return exposition.total("gateway_breaker_changes_total", state="open")


def test_one_worker_speaks_for_all() -> None:
    with shared_folder(None), workers(3, 5) as (one, other):
        for exposition in (one.metrics(), other.metrics()):
            assert changes(exposition) == 2
            assert exposition.total("gateway_requests_in_flight") == 2
            assert exposition.total("gateway_workers") == 2
            assert exposition.total("gateway_catalog_models") == 3  # the fewest
            generations = {
                sample.labels["pid"]: sample.value
                for sample in exposition.found("gateway_catalog_generation")
            }
            assert generations == {str(one.process.pid): 3, str(other.process.pid): 5}


def test_what_a_dead_worker_counted_stays_and_what_it_held_goes() -> None:
    with shared_folder(None), workers(3, 5) as (one, other):
        one.kill()
        exposition = other.metrics()
        assert changes(exposition) == 2
        assert exposition.total("gateway_requests_in_flight") == 1
        assert exposition.total("gateway_workers") == 1
        assert exposition.total("gateway_catalog_models") == 5
        with workers(7):
            again = other.metrics()
            assert (changes(again), again.total("gateway_workers")) == (3, 2)


def test_a_worker_that_is_dead_and_not_yet_buried_holds_nothing() -> None:
    with shared_folder(None), workers(3, 5) as (one, other):
        one.process.kill()  # nobody has waited for it: its number is still taken
        os.waitid(os.P_PID, one.process.pid, os.WEXITED | os.WNOWAIT)
        assert other.metrics().total("gateway_workers") == 1


def test_a_worker_with_the_number_of_a_dead_one_counts_on_and_holds_nothing_of_it() -> None:
    with shared_folder(None), workers(3) as (one,):
        one.kill()
        with workers(5, heir_of=one.process.pid) as (heir,):
            exposition = heir.metrics()
            assert changes(exposition) == 2
            assert exposition.total("gateway_requests_in_flight") == 1
            assert [sample.value for sample in exposition.found("gateway_catalog_generation")] == [5]


def test_the_folder_is_emptied_at_start(tmp_path: Path) -> None:
    with shared_folder(tmp_path), workers(3) as (before,):
        assert changes(before.metrics()) == 1
    assert list(tmp_path.glob("counter_*.db"))
    with shared_folder(tmp_path), workers(3) as (after,):
        assert changes(after.metrics()) == 1


def test_the_name_of_the_folder_ends_with_its_block(tmp_path: Path) -> None:
    with shared_folder(tmp_path / "new" / "folder") as folder:
        assert folder_of_this_process() == folder
        assert folder.is_dir()
    assert folder_of_this_process() is None


def test_a_temporary_folder_leaves_nothing_behind() -> None:
    with shared_folder(None) as folder, workers(3):
        assert folder.is_dir()
    assert not folder.exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with (
        pytest.raises(MetricsFolderError, match=r"holds other things: letters\.txt"),
        shared_folder(tmp_path),
    ):
        pass
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(MetricsFolderError, match=r"metrics cannot be kept in .*file: File exists"),
        shared_folder(tmp_path / "file"),
    ):
        pass


def test_the_room_that_is_reserved_is_enough_for_all_that_may_be_counted() -> None:
    with shared_folder(None):
        printed = subprocess.run(
            [sys.executable, "-c", FULL], capture_output=True, text=True, check=True
        ).stdout
    before, after = json.loads(printed)
    assert len(before) == 6
    assert after == before


def holes(folder: Path) -> int:
    """Bytes of its files that no disk has room for yet."""
    return sum(max(0, each.stat().st_size - 512 * each.stat().st_blocks) for each in folder.glob("*.db"))


def test_no_file_of_a_worker_has_a_hole(tmp_path: Path) -> None:
    with shared_folder(tmp_path), workers(3):
        assert holes(tmp_path) == 0


def test_a_dead_worker_gives_back_the_room_that_it_did_not_use(tmp_path: Path) -> None:
    with shared_folder(tmp_path), workers(3, 5) as (one, other):
        one.kill()
        assert changes(other.metrics()) == 2
        (counters,) = tmp_path.glob(f"counter_{one.process.pid}.db")
        assert counters.stat().st_size == struct.unpack("i", counters.read_bytes()[:4])[0]
        with workers(7, heir_of=one.process.pid) as (heir,):
            assert changes(heir.metrics()) == 3
            assert holes(tmp_path) == 0


def test_a_folder_without_room_is_named_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))  # what a full disk does to a file
    try:
        with pytest.raises(
            MetricsFolderError, match=f"there is no room for metrics in {tmp_path}: File too large"
        ):
            reserve(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_two_gateways_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        shared_folder(tmp_path),
        pytest.raises(MetricsFolderError, match="another gateway"),
        shared_folder(tmp_path),
    ):
        pass


def test_a_gateway_that_cannot_keep_its_metrics_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    secrets = {"GATEWAY_KEY_PEPPER": "p" * 32, "GATEWAY_TOKEN_SECRET": "t" * 32}
    result = subprocess.run(
        [sys.executable, "-P", "-m", "gateway", "serve"],
        env={**os.environ, **secrets, "GATEWAY_WORKERS": "2", "GATEWAY_METRICS_DIR": str(tmp_path / "file")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert "GATEWAY_METRICS_DIR: metrics cannot be kept in" in result.stderr
    assert "Traceback" not in result.stderr
