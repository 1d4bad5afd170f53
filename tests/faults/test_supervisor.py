"""A worker that does not end: it is killed when its time is over, and the supervisor hears signals until then."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest
from processes import Process, running, workers_of
from stack import ROOT, Part

ENDING = 1.0  # seconds that a worker may take
PATIENCE = (
    30.0  # for a process to start or to end, on a busy machine; a worker may be silent for twice as long
)


@pytest.fixture
def supervisor() -> Iterator[Process]:
    """Two workers, and both answer."""
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    command = [sys.executable, "-m", "support.supervised", str(ENDING)]
    with running(Part("supervisor", command, {"PYTHONPATH": path})) as process:
        until(lambda: started(process) == 2)
        yield process


def until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def started(process: Process) -> int:
    return process.log.read_text().count("Started server process")


def stopped(process: Process) -> Sequence[psutil.Process]:
    """The workers, of which none does anything from now on."""
    workers = workers_of(process)
    for worker in workers:
        worker.suspend()
    return workers


def test_a_worker_that_a_restart_leaves_behind_is_killed_and_the_new_ones_stay(supervisor: Process) -> None:
    old = stopped(supervisor)
    supervisor.popen.send_signal(signal.SIGHUP)
    until(lambda: not any(each.is_running() for each in old))
    assert started(supervisor) == 4
    assert len(workers_of(supervisor)) == 2
    assert supervisor.log.read_text().count("worker_did_not_end") == 2


def test_while_a_worker_too_many_does_not_end_signals_are_heard(supervisor: Process) -> None:
    stopped(supervisor)
    supervisor.popen.send_signal(signal.SIGTTOU)
    until(lambda: not supervisor.popen.poll() and len(workers_of(supervisor)) == 1)
    supervisor.popen.send_signal(signal.SIGTERM)
    supervisor.popen.wait(PATIENCE)


def test_a_worker_more_is_one_like_the_others(supervisor: Process) -> None:
    supervisor.popen.send_signal(signal.SIGTTIN)
    until(lambda: started(supervisor) == 3)
    stopped(supervisor)
    time.sleep(1)  # two looks of the supervisor at workers that say nothing
    supervisor.popen.send_signal(signal.SIGTERM)
    supervisor.popen.wait(PATIENCE)
