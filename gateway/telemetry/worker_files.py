"""The folder in which several workers keep their metrics: who may have it, and the room in it.

The Prometheus library decides when it is imported whether it keeps its values in files, so `gateway serve` names the
folder in the environment before there is a worker, and nothing here imports it.

The library maps files with holes, and whoever writes to a hole for which the disk has no room is killed. So each
process reserves all that its metrics may ever need before the library opens its files.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from gateway.telemetry.definitions import Across, Kind

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_OURS = re.compile(r"(counter|histogram|gauge_[a-z]+)_(\d+|dead)\.(db|part|sum)|(\d+|owner|dead)\.lock")
_TEMPORARY = "gateway-metrics-"
_OWNER = "owner.lock"
_KIB = 1024
# By what the library calls its files: for every set of labels that there may be, of models with the longest names.
WORKERS: Mapping[str, int] = {
    Kind.COUNTER: 512 * _KIB,
    Kind.HISTOGRAM: 384 * _KIB,
    f"gauge_{Across.SUM}": 128 * _KIB,
    **{f"gauge_{each}": 16 * _KIB for each in (Across.EACH, Across.LEAST, Across.MOST)},
}
_SUPERVISORS: Mapping[str, int] = {Kind.COUNTER: 4 * _KIB}


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


def place_of_this_process(folder: Path) -> Path:
    """The file whose lock says that it lives."""
    return folder / f"{os.getpid()}.lock"


def reserve(folder: Path, room: Mapping[str, int] = _SUPERVISORS) -> None:
    """Room for what this process will count; by default for the little that the workers' supervisor does.

    Raises MetricsFolderError, and leaves nothing of it behind.
    """
    made: list[Path] = []
    try:
        for name, size in room.items():
            path = folder / f"{name}_{os.getpid()}.db"
            allocate(path, size)
            made.append(path)
    except OSError as error:
        for path in made:
            path.unlink()
        raise MetricsFolderError(f"there is no room for metrics in {folder}: {error.strerror}") from None


def allocate(path: Path, size: int) -> None:
    """A file of at least this size, which the disk has room for. Raises OSError, and leaves no file behind."""
    try:
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def take(lock: TextIO) -> bool:
    """Whether nobody else has it; then it is this process's until the file is closed, however the process ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        try:
            _remove_abandoned()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_TEMPORARY)))
            new = folder / "0.lock"
            take(stack.enter_context(new.open("a")))
            new.rename(folder / _OWNER)  # so that it is never there without its owner
        except OSError as error:
            raise MetricsFolderError(f"there is no temporary folder for metrics: {error.strerror}") from None
        yield folder


def _remove_abandoned() -> None:
    """Temporary folders of gateways that were killed, once none of their workers lives either."""
    for owner in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*/{_OWNER}"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            locks = [stack.enter_context(each.open("a")) for each in owner.parent.glob("*.lock")]
            if owner.parent.lstat().st_uid == os.geteuid() and all(map(take, locks)):
                shutil.rmtree(owner.parent)


@contextlib.contextmanager
def _owned(path: Path) -> Iterator[Path]:
    """The folder, empty at first, for as long as nobody else may have it."""
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            _check_content(path)
            if not take(stack.enter_context((path / _OWNER).open("a"))):
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
        if each.name != _OWNER:
            each.unlink()
