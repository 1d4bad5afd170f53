"""The parent of the workers: uvicorn's, which here also hears signals while it restarts or waits for its workers."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import cast

import structlog
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

_log = structlog.stdlib.get_logger("gateway.serving")

_ENDS = (signal.SIGINT, signal.SIGTERM)
_LOOK = 0.1  # seconds
_SETTLED = 30.0  # seconds after which a worker's death has nothing to do with its start
_LONGEST_PAUSE = 10.0  # seconds
_EX_UNAVAILABLE = 69  # of sysexits.h


class _Told(threading.Event):
    """Set also by a signal to end that nobody has handled yet, so that whatever is under way gives up for it."""

    def __init__(self, signals: Sequence[int]) -> None:
        super().__init__()
        self._signals = signals

    def is_set(self) -> bool:
        return super().is_set() or any(each in _ENDS for each in self._signals)


class Worker(Process):
    """uvicorn's `is_alive` waits for its answer, and its supervisor for that; this one looks whether one has come.

    `serves` says whether it has ever said so itself, `failures` how many died in a row before it in its place, `again`
    when somebody else may take that, once it has died. Without its supervisor it ends as if that had told it to, for it
    would keep the address from the next one; `ending` is as there.
    """

    def __init__(
        self, config: Config, sockets: list[socket.socket], *, ending: float, failures: int = 0
    ) -> None:
        super().__init__(config, sockets)
        self.serves = False
        self.failures = failures
        self.again: float | None = None
        self._ending = ending
        self._heard = self._born = time.monotonic()
        self._asked = False

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What runs in the worker's process."""
        threading.Thread(target=self._end_with_supervisor, name="supervised", daemon=True).start()
        super().target(sockets)

    def _end_with_supervisor(self) -> None:
        if (supervisor := multiprocessing.parent_process()) is None:
            return
        supervisor.join()  # returns when the pipe is closed whose other end only that process has
        _log.error("supervisor_died")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._ending)
        os._exit(_EX_UNAVAILABLE)

    def died(self) -> float:
        """To be said once; answers how many seconds its place stays empty: none at first, longer with each failure."""
        if time.monotonic() - self._born >= _SETTLED:
            self.failures = 0
        pause = min(2.0 ** (self.failures - 1), _LONGEST_PAUSE) if self.failures else 0.0
        self.failures += 1
        self.again = time.monotonic() + pause
        return pause

    def is_alive(self, timeout: float = 5) -> bool:
        """False where it is dead, or has been silent for so many seconds."""
        if not self.process.is_alive():
            return False
        try:
            while self.parent_conn.poll(0):
                self.serves = self.parent_conn.recv() or self.serves
                self._heard, self._asked = time.monotonic(), False
            if not self._asked:
                self.parent_conn.send(b"ping")
                self._asked = True
        except (OSError, EOFError):
            return False
        return time.monotonic() - self._heard < timeout


class Supervisor(Multiprocess):
    """`ending` is what a worker may take from its first signal to its end, in seconds; then it is killed. By
    `successor` runs who takes the place of a worker that serves; such a one ends where it could not do as well.

    `failed` says that it ended because no worker could be started. Once any of them served, one that cannot take the
    place of another is tried again, each time a little later: the others are as good as ever. `died` hears of each that
    ended without being told to, was silent, or could not start.
    """

    def __init__(
        self,
        config: Config,
        sockets: list[socket.socket],
        *,
        successor: Config,
        ending: float,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config, sockets)
        self._successor = successor
        self.should_exit = _Told(self.signal_queue)
        self._ending = ending
        self._died = died
        self._leaving: dict[Process, float] = {}  # who was told to end, and when all patience is over
        self._served = False
        self.failed = False

    def init_processes(self) -> None:
        self.processes = [self._started(self.config) for _ in range(self.processes_num)]

    def _started(self, config: Config, failures: int = 0) -> Worker:
        worker = Worker(config, self.sockets, ending=self._ending, failures=failures)
        worker.start()
        return worker

    def restart_all(self) -> None:
        """Each worker by a new one, which serves before the old one is told to end."""
        for index, old in enumerate(self.processes):
            new = self._started(self._successor)
            if not new.wait_until_ready(self.config.timeout_worker_healthcheck, self.should_exit):
                new.kill()
                new.join()
                _log.error("restart_given_up", kept=old.pid)
                if not self.should_exit.is_set():
                    self._died()
                return
            self.processes[index] = new
            self._let_go(old)
            self._wait([old], until=self._leaving[old])
            self._look_after_leaving()
            if self.should_exit.is_set():
                return

    def handle_ttin(self) -> None:
        """One worker more."""
        self.processes_num += 1
        self.processes.append(self._started(self.config))

    def handle_ttou(self) -> None:
        """One worker fewer, but for the last; nobody waits for its end."""
        if self.processes_num > 1:
            self.processes_num -= 1
            self._let_go(self.processes.pop())

    def _let_go(self, worker: Process) -> None:
        worker.terminate()
        self._leaving[worker] = time.monotonic() + self._ending

    def _look_after_leaving(self) -> None:
        """Forgets who has ended, and kills who takes longer than one may."""
        for worker, until in tuple(self._leaving.items()):
            if worker.process.is_alive() and time.monotonic() >= until:
                _log.error("worker_did_not_end", pid=worker.pid)
                worker.process.kill()
                worker.join()
            if not worker.process.is_alive():
                del self._leaving[worker]

    def keep_subprocess_alive(self) -> None:
        self._look_after_leaving()
        for index, worker in enumerate(cast("list[Worker]", self.processes)):
            if self.should_exit.is_set():
                return
            if worker.again is None and not self._look_at(worker):
                return
            if worker.again is not None and time.monotonic() >= worker.again:
                self.processes[index] = self._started(self.config, worker.failures)

    def _look_at(self, worker: Worker) -> bool:
        """Buries it where it is dead. False where nobody can be started at all."""
        if worker.is_alive(self.config.timeout_worker_healthcheck):
            self._served = self._served or worker.serves
            return True
        worker.kill()
        worker.join()
        if worker.exitcode == STARTUP_FAILURE and not self._served:
            _log.error("worker_did_not_start")  # nor would the next one, for the same reason
            self.failed = True
            self.should_exit.set()
            return False
        self._died()
        _log.error("worker_died", pid=worker.pid, exit=worker.exitcode, again_in=worker.died())
        return True

    def terminate_all(self) -> None:
        for worker in self.processes:
            self._let_go(worker)

    def join_all(self) -> None:
        """Signals that come now go to the workers, as the one they were sent: they know what a second one means."""
        self.signal_queue.clear()
        while not self._wait(self._leaving, until=min(self._leaving.values(), default=0.0)):
            for number in tuple(self.signal_queue):
                self.signal_queue.remove(number)
                for worker in self._leaving:
                    if number in _ENDS and worker.process.is_alive() and worker.pid:
                        os.kill(worker.pid, signal.SIGTERM)
            self._look_after_leaving()

    def _wait(self, workers: Collection[Process], *, until: float) -> bool:
        """Whether they have ended, by then or when a signal came."""
        while alive := any(worker.process.is_alive() for worker in workers):
            if self.signal_queue or time.monotonic() >= until:
                break
            time.sleep(_LOOK)
        return not alive
