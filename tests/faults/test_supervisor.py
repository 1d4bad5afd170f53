"""Workers that do not end, do not start, or lose their supervisor; and the supervisor hears signals meanwhile."""

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from processes import Process, running, workers_of
from stack import ROOT, Part

ENDING = 1.0  # seconds that a worker may take
PATIENCE = (
    30.0  # for a process to start or to end, on a busy machine; a worker may be silent for twice as long
)


@pytest.fixture
def fault(tmp_path: Path) -> Path:
    """While this file is there, no worker can start."""
    return tmp_path / "fault"


@pytest.fixture
def part(fault: Path) -> Part:
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    command = [sys.executable, "-m", "support.supervised", str(ENDING)]
    return Part("supervisor", command, {"PYTHONPATH": path, "FAULT": str(fault)})


@pytest.fixture
def supervisor(part: Part) -> Iterator[Process]:
    """Two workers, and both answer."""
    with running(part) as process:
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


def stand_still(process: Process) -> None:
    """One worker's loop, by a request."""
    (port,) = re.findall(r"running on http://127\.0\.0\.1:(\d+)", process.log.read_text())[:1]
    with socket.create_connection(("127.0.0.1", int(port))) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        time.sleep(1)  # for it to be read


def test_workers_end_with_a_supervisor_that_was_killed(supervisor: Process) -> None:
    workers = workers_of(supervisor)
    supervisor.popen.kill()
    until(lambda: not any(each.is_running() for each in workers))
    assert supervisor.log.read_text().count("supervisor_died") == 2


def test_so_does_one_that_stands_still(supervisor: Process) -> None:
    workers = workers_of(supervisor)
    stand_still(supervisor)
    supervisor.popen.kill()
    until(lambda: not any(each.is_running() for each in workers))


def test_who_cannot_take_the_place_of_a_dead_one_is_tried_again_later_each_time(
    supervisor: Process, fault: Path
) -> None:
    killed, other = workers_of(supervisor)
    killed.kill()
    until(lambda: started(supervisor) == 3)  # by then the supervisor knows that the other one serves
    fault.touch()
    [heir] = [each for each in workers_of(supervisor) if each != other]
    heir.kill()
    until(lambda: len(pauses(supervisor)) == 3)
    assert pauses(supervisor) == [0.0, 1.0, 2.0]
    assert other.is_running()
    fault.unlink()
    until(lambda: started(supervisor) == 4)
    assert len(workers_of(supervisor)) == 2


def test_where_no_worker_can_start_none_is_tried_again(part: Part, fault: Path) -> None:
    fault.touch()
    with running(part) as supervisor:
        supervisor.popen.wait(PATIENCE)
        assert supervisor.log.read_text().count("worker_did_not_start") == 1
        assert pauses(supervisor) == []


def pauses(process: Process) -> list[float]:
    return [float(each) for each in re.findall(r"again_in\S*=\S*?([\d.]+)", process.log.read_text())]
