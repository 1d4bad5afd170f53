"""Log lines on their way out: while requests are served a thread writes them, so that no request waits for a reader."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_MOST = 10_000  # lines that may wait
_INTERVAL = 0.05  # seconds for which lines are gathered: a write for many of them costs as much as for one
_FLUSH_SECONDS = 1.0


class Lines(logging.Handler):
    """Writes to `file`, a descriptor or a path: at once, and inside its `with` block from a thread.

    A pipe that nobody reads takes some 64 KiB and then blocks whoever writes to it. That is the thread; lines beyond
    10,000 are given up, and `dropped` hears of each.
    """

    def __init__(self, file: int | Path, dropped: Callable[[], None]) -> None:
        super().__init__()
        # Without a buffer: the lock of one would be held by a thread that waits for the reader.
        self._file = open(file, "ab", buffering=0, closefd=not isinstance(file, int))  # noqa: SIM115
        self._dropped = dropped
        self._waiting: list[bytes] | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread
        self._stuck = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.put(self.format(record).encode(errors="backslashreplace"))
        except Exception:  # noqa: BLE001  # as every handler does: what is logged must not fail for it
            self.handleError(record)

    def put(self, line: bytes) -> None:
        """Takes a line, without its end. Raises OSError where nobody reads and no thread writes."""
        if self._waiting is None:
            self._write_at_once(line + b"\n")
        elif len(self._waiting) < _MOST:
            self._waiting.append(line + b"\n")
        else:
            self._dropped()

    def __enter__(self) -> Self:
        waiting: list[bytes] = []
        self._waiting = waiting
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, args=(waiting,), name="log-lines", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes what waits, as far as that is soon done; what comes after it is written at once again."""
        self._closing.set()
        self._thread.join(_FLUSH_SECONDS)
        self._stuck = self._thread.is_alive()
        self._waiting = None

    def _run(self, waiting: list[bytes]) -> None:
        while not self._closing.wait(_INTERVAL):
            self._write_all(waiting)
        self._write_all(waiting)

    def _write_all(self, waiting: list[bytes]) -> None:
        """Lines leave the list when they are written, so that its bound holds for what is on its way too."""
        while waiting:
            lines = waiting[:]
            try:
                self._write(b"".join(lines))
            except OSError:  # the reader is gone, or the disk is full
                for _ in lines:
                    self._dropped()
            del waiting[: len(lines)]

    def _write_at_once(self, line: bytes) -> None:
        if self._stuck:
            self._dropped()
        else:
            self._write(line)

    def _write(self, data: bytes) -> None:
        """All of it; a pipe may take less at a time."""
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) or 0 :]
