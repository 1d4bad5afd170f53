"""A quota of CPU time for a tree of processes, by the kernel's control groups: what a container's limit sets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_PERIOD = 20_000  # us; the shorter, the sooner goes on who had used up its quota


@contextmanager
def held_to(cores: float, root: int) -> Iterator[None]:
    """Holds the processes from `root` down to so many cores together, until the end.

    Raises OSError where the machine doesn't let the caller do so.
    """
    controller = _GROUPS / "cpu"  # of version 1; version 2 has one tree for all controllers
    parent = controller if controller.is_dir() else _GROUPS
    group = parent / f"bench-{root}"
    group.mkdir()
    try:
        _limit(group, round(cores * _PERIOD))
        _enter(group, root)
        yield
    finally:
        _enter(parent, root)
        group.rmdir()


def _limit(group: Path, quota: int) -> None:
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(quota))


def _enter(group: Path, root: int) -> None:
    process = psutil.Process(root)
    for member in (process, *process.children(recursive=True)):
        (group / "cgroup.procs").write_text(str(member.pid))
