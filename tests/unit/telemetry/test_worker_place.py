"""Workers share a folder, as real processes: what outlives them, what does not, and what they leave."""

import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from exposition import Exposition
from prometheus_client.samples import Sample
from support.metered import Worker, workers

from gateway.telemetry.worker_files import shared_folder

# A worker that counts every set of labels that there may be, of models with the longest names that a folder can have;
# it prints the sizes of its files, and how much of them is in use.
FULL = """
import json, os
from pathlib import Path
from prometheus_client import CollectorRegistry
from gateway.telemetry import families
from gateway.telemetry.definitions import ALL, Kind
from gateway.telemetry.worker_place import WorkerPlace
folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
WorkerPlace(folder)
before = {path.name: path.stat().st_size for path in folder.glob("*.db")}
kinds = {Kind.COUNTER: families.Counter, Kind.GAUGE: families.Gauge, Kind.HISTOGRAM: families.Histogram}
for each in ALL:
    metric = kinds[each.kind](each, CollectorRegistry())
    for number in range(each.most):
        label = f"{number:04}" + 251 * "m"
        metric._children.of(tuple(label if name in ("model", "endpoint") else label[:24] for name in each.labels))
print(json.dumps([before, {path.name: path.stat().st_size for path in folder.glob("*.db")}]))
"""


def changes(exposition: Exposition) -> float:
    return exposition.total("gateway_breaker_changes_total", state="open")


def counted(worker: Worker) -> list[Sample]:
    """All that outlives those who counted it."""
    outlives = re.compile(".*_(total|bucket|sum|count)")
    samples = [sample for sample in worker.metrics().samples() if outlives.fullmatch(sample.name)]
    return sorted(samples, key=str)


def files_of(worker: Worker, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{worker.process.pid}.*"))


def laid_aside(dead: Worker, folder: Path, aside: Path) -> list[Path]:
    """Its files, which nobody has looked at since it died."""
    aside.mkdir()
    return [path.rename(aside / path.name) for path in files_of(dead, folder)]


def plant(files: Sequence[Path], folder: Path, pid: int) -> None:
    """A worker that has died as the one did whose files these are."""
    for file in sorted(files, reverse=True):  # the lock comes last
        whole = shutil.copy(file, file.with_suffix(".copy"))
        whole.rename(folder / re.sub(r"\d+", str(pid), file.name))


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
        counters = tmp_path / "counter_dead.db"
        assert counters.stat().st_size == struct.unpack("i", counters.read_bytes()[:4])[0]
        with workers(7, heir_of=one.process.pid) as (heir,):
            assert changes(heir.metrics()) == 3
            assert holes(tmp_path) == 0


def test_the_dead_leave_one_file_of_a_kind_and_it_says_what_all_of_theirs_did(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    with shared_folder(folder), workers(3, 5) as (one, other):
        before = counted(other)
        assert {"gateway_payload_bytes_bucket", "gateway_payload_bytes_sum", "gateway_requests_total"} <= {
            sample.name for sample in before
        }
        one.kill()
        left = laid_aside(one, folder, tmp_path / "aside")
        plant(left, folder, 1_000_000_000)
        assert counted(other) == before
        for number in range(1, 50):
            plant(left, folder, 1_000_000_000 + number)
            assert changes(other.metrics()) == 2 + number
        assert {path.name for path in folder.iterdir()} == {
            *("owner.lock", "dead.lock", "counter_dead.db", "histogram_dead.db"),
            *(path.name for path in files_of(other, folder)),
        }


@pytest.mark.parametrize("kind", ["counter", "histogram"])
@pytest.mark.parametrize(
    ("part", "summed", "own", "total"),
    [
        pytest.param(True, False, True, "old", id="while it adds up"),
        pytest.param(False, True, True, "old", id="when it has added up"),
        pytest.param(False, True, False, "old", id="when the dead one's file is gone"),
        pytest.param(False, False, False, "new", id="when the sum has taken its place"),
    ],
)
def test_who_dies_while_it_adds_up_the_dead_loses_and_doubles_nothing(
    tmp_path: Path, kind: str, part: bool, summed: bool, own: bool, total: str
) -> None:
    """The folder as a process leaves it that is killed at each of its steps."""
    folder, total_file = tmp_path / "metrics", f"{kind}_dead.db"
    with shared_folder(folder), workers(3, 5, 7) as (one, two, other):
        before = counted(other)
        one.kill()
        other.metrics()
        old = (folder / total_file).read_bytes()
        two.kill()
        left = laid_aside(two, folder, tmp_path / "aside")
        plant(left, folder, 1_000_000_000)
        other.metrics()
        new = (folder / total_file).read_bytes()
        (folder / "1000000000.lock").touch()
        (folder / total_file).write_bytes(old if total == "old" else new)
        if part:
            (folder / f"{kind}_1000000000.part").write_bytes(new[: len(new) // 2])
        if summed:
            (folder / f"{kind}_1000000000.sum").write_bytes(new)
        if own:
            shutil.copy(tmp_path / "aside" / f"{kind}_{two.process.pid}.db", folder / f"{kind}_1000000000.db")
        for _ in range(2):
            assert counted(other) == before
        assert not list(folder.glob("*1000000000*"))


def test_several_may_ask_while_workers_die(tmp_path: Path) -> None:
    folder, deaths = tmp_path / "metrics", 30
    with shared_folder(folder), workers(1, 2, 3, 4) as (one, *asked), ThreadPoolExecutor() as pool:
        one.kill()
        left = laid_aside(one, folder, tmp_path / "aside")

        def ask(worker: Worker) -> list[float]:
            seen = [changes(worker.metrics())]
            while seen[-1] < len(asked) + deaths:
                seen.append(changes(worker.metrics()))
            return seen

        asking = [pool.submit(ask, worker) for worker in asked]
        for number in range(deaths):
            plant(left, folder, 1_000_000_000 + number)
        for each in asking:
            seen = each.result(timeout=60)
            assert seen == sorted(seen)
            assert seen[-1] == len(asked) + deaths


def test_a_worker_that_died_before_it_counted_anything_harms_nobody(tmp_path: Path) -> None:
    with shared_folder(tmp_path), workers(3) as (one,):
        for name in ("counter_1000000000.db", "1000000000.lock"):
            (tmp_path / name).touch()
        assert changes(one.metrics()) == 1
        assert not list(tmp_path.glob("*1000000000*"))


def test_where_there_is_no_room_to_add_them_up_the_files_of_the_dead_stay(tmp_path: Path) -> None:
    with shared_folder(tmp_path), workers(3, 5) as (one, other):
        before = counted(other)
        one.kill()
        unlimited = resource.prlimit(other.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(other.process.pid, resource.RLIMIT_FSIZE, (1024, unlimited[1]))
        assert counted(other) == before
        assert other.metrics().total("gateway_workers") == 1
        assert files_of(one, tmp_path)
        assert not list(tmp_path.glob("*.part"))
        resource.prlimit(other.process.pid, resource.RLIMIT_FSIZE, unlimited)
        assert counted(other) == before
        assert not files_of(one, tmp_path)
