"""Metrics of several workers, as files in one folder: any worker's /metrics speaks for all, those that died included.

The Prometheus library decides when it is imported whether it keeps its values in files, so `gateway serve` names the
folder in the environment before there is a worker. A counter outlives its worker by its file. A gauge must not: every
worker holds a lock for as long as it lives, and whoever is asked for metrics drops the gauges of those whose lock is
free. A lock ends with its process however that ends, and a process number that comes again does no harm.

The library maps files with holes, and whoever writes to a hole for which the disk has no room is killed. So each
process reserves all that its metrics may ever need before the library opens its files.
"""

import contextlib
import fcntl
import os
import re
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from gateway.telemetry.definitions import Across, Kind

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_OURS = re.compile(r"(counter|histogram|gauge_[a-z]+)_\d+\.db|(\d+|owner)\.lock")
_LIVE_GAUGES = re.compile(r"gauge_live[a-z]*_(\d+)\.db")
_KIB = 1024
# By what the library calls its files: for every set of labels that there may be, of models with the longest names.
_ROOM: Mapping[str, int] = {
    Kind.COUNTER: 512 * _KIB,
    Kind.HISTOGRAM: 384 * _KIB,
    f"gauge_{Across.SUM}": 128 * _KIB,
    **{f"gauge_{each}": 16 * _KIB for each in (Across.EACH, Across.LEAST, Across.MOST)},
}
_SUPERVISORS: Mapping[str, int] = {Kind.COUNTER: 4 * _KIB}
_USED = struct.Struct("i")  # what a file begins with: how many of its bytes are in use


class MetricsFolderError(Exception):
    """The folder cannot be used; the text says why, to the operator."""


@contextlib.contextmanager
def shared_folder(path: Path | None) -> Iterator[Path]:
    """Names the folder to the workers that are started inside the block, empty; without a path, a temporary one.

    Raises MetricsFolderError.
    """
    with _temporary() if path is None else _owned(path) as folder:
        os.environ[_VARIABLE] = str(folder)
        try:
            yield folder
        finally:
            del os.environ[_VARIABLE]


def folder_of_this_process() -> Path | None:
    """What `shared_folder` named in the process that started this one; None where this one counts for itself."""
    named = os.environ.get(_VARIABLE)
    return Path(named) if named else None


def reserve(folder: Path, room: Mapping[str, int] = _SUPERVISORS) -> None:
    """Room for what this process will count; by default for the little that the workers' supervisor does.

    Raises MetricsFolderError, and leaves nothing of it behind.
    """
    made: list[Path] = []
    try:
        for name, size in room.items():
            path = folder / f"{name}_{os.getpid()}.db"
            with path.open("ab") as file:
                made.append(path)
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        for path in made:
            path.unlink()
        raise MetricsFolderError(f"there is no room for metrics in {folder}: {error.strerror}") from None


def check_folder(path: Path) -> None:
    """What can be known of a folder before it is used, or made; leaves nothing in it. Raises MetricsFolderError."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        if there == path.absolute():
            _check_content(path)
    except OSError as error:
        raise _unusable(path, error) from None


class WorkerFiles:
    """This worker's place in the folder; to be made before its first metric. Raises MetricsFolderError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._me = os.getpid()
        self._lock = _lock_file(folder, str(self._me))
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._drop_gauges(self._me)  # of one that died and had the same number
        self.drop_dead()  # one whose place this worker takes may have had the room that it needs
        reserve(folder, _ROOM)

    def drop_dead(self) -> None:
        """Takes the gauges of dead workers out of the sums, and gives back the room that they did not use."""
        for pid in {int(found[1]) for name in self._names() if (found := _LIVE_GAUGES.fullmatch(name))}:
            if pid != self._me:
                with _lock_file(self.folder, str(pid)) as lock:
                    if _take(lock):
                        self._drop_gauges(pid)
                        self._shrink(pid)

    def _drop_gauges(self, pid: int) -> None:
        """What the library's `mark_process_dead` does, where another worker may do the same at this moment."""
        for file in self.folder.glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)

    def _shrink(self, pid: int) -> None:
        for file in self.folder.glob(f"*_{pid}.db"):
            with file.open("r+b") as content:
                content.truncate(*_USED.unpack(content.read(_USED.size)))

    def _names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="gateway-metrics-")
    except OSError as error:
        raise MetricsFolderError(f"there is no temporary folder for metrics: {error.strerror}") from None
    with folder as name:
        yield Path(name)


@contextlib.contextmanager
def _owned(path: Path) -> Iterator[Path]:
    """The folder, empty at first, for as long as nobody else may have it."""
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            _check_content(path)
            if not _take(stack.enter_context(_lock_file(path, "owner"))):
                raise MetricsFolderError(f"another gateway keeps its metrics in {path}")
            _wipe(path)
        except OSError as error:
            raise _unusable(path, error) from None
        yield path


def _unusable(path: Path, error: OSError) -> MetricsFolderError:
    return MetricsFolderError(f"metrics cannot be kept in {path}: {error.strerror}")


def _check_content(path: Path) -> None:
    """What is not of our making is not deleted."""
    strangers = sorted(each.name for each in path.iterdir() if not _OURS.fullmatch(each.name))
    if strangers:
        raise MetricsFolderError(
            f"metrics need a folder of their own, and {path} holds other things: {strangers[0]}"
        )


def _wipe(path: Path) -> None:
    for each in path.iterdir():
        if each.name != "owner.lock":
            each.unlink()


def _lock_file(folder: Path, name: str) -> TextIO:
    return (folder / f"{name}.lock").open("a")


def _take(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
