"""A worker's place among the others in the folder of their metrics, and what the dead leave to those who live.

Every worker holds a lock for as long as it lives: it ends with its process however that ends, and a process number that
comes again does no harm. Whose lock is free is dead. What it counted is added to one file of all the dead, and its
gauges go. Whoever does that, or reads, or comes, is alone in the folder meanwhile.
"""

import contextlib
import fcntl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from prometheus_client.mmap_dict import MmapedDict

from gateway.telemetry.definitions import Kind
from gateway.telemetry.worker_files import WORKERS, allocate, place_of_this_process, reserve, take

_USED = struct.Struct("i4x")  # what a file begins with: how many of its bytes are in use


class WorkerPlace:
    """This worker's; to be made before its first metric. Raises MetricsFolderError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with self.alone():  # a dead worker's room is free now, also of one that had the same number
            self._lock = _locked(place_of_this_process(folder))
            reserve(folder, WORKERS)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other worker comes, and no file changes its place or is a dead worker's, during the block."""
        with _locked(self.folder / "dead.lock"):
            for added in self.folder.glob("*.sum"):  # whoever added it up died before it had ended
                self._replace(added)
            for place in self.folder.glob("[0-9]*.lock"):
                with place.open("a") as lock:
                    if take(lock):
                        self._bury(place)
            yield

    def _bury(self, place: Path) -> None:
        for gauges in self.folder.glob(f"{Kind.GAUGE}_*_{place.stem}.db"):
            gauges.unlink()
        left = list(self.folder.glob(f"*_{place.stem}.db"))
        for file in left:  # the room that it did not use may be what the sums need
            with file.open("r+b") as content:
                content.truncate(_used(file))
        with contextlib.suppress(OSError):  # no room for the sums: another time
            for file in left:
                self._add(file)
            place.unlink()

    def _add(self, file: Path) -> None:
        """To what the dead before it counted. The sum counts from when it has its name, and then takes their place."""
        sources = [each for each in (self._total(file), file) if each.exists()]
        part = file.with_suffix(".part")
        part.unlink(missing_ok=True)  # of whoever died while it added up
        allocate(part, sum(map(_used, sources)))
        sums = MmapedDict(part)  # type: ignore[no-untyped-call]
        for source in sources:
            for key, value, _, _ in MmapedDict.read_all_values_from_file(source):  # type: ignore[no-untyped-call]
                sums.write_value(key, sums.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
        sums.close()  # type: ignore[no-untyped-call]
        self._replace(part.rename(file.with_suffix(".sum")))

    def _replace(self, added: Path) -> None:
        """Of what it was added up from nothing may stay; whoever dies meanwhile, the next one goes on."""
        added.with_suffix(".db").unlink(missing_ok=True)
        added.rename(self._total(added))

    def _total(self, file: Path) -> Path:
        return self.folder / f"{file.name.partition('_')[0]}_dead.db"


def _locked(path: Path) -> TextIO:
    file = path.open("a")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _used(file: Path) -> int:
    """Bytes that are in use, with those that say so; its worker may have died before it had written them."""
    with file.open("rb") as content:
        (used,) = _USED.unpack(content.read(_USED.size).ljust(_USED.size, b"\0"))
    return max(_USED.size, int(used))
