"""Log lines when nobody reads them: who logs does not wait, and what is lost is counted."""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gateway.telemetry.lines import Lines

MANY = 20_000  # lines: more than a pipe and the queue hold


@dataclass
class Pipe:
    """Standard error of a process, with its reader."""

    read: int
    write: int
    dropped: list[None] = field(default_factory=list)

    def handler(self) -> Lines:
        return Lines(self.write, lambda: self.dropped.append(None))

    def lines(self, most: int = 1 << 24) -> list[str]:
        """What there is by now."""
        os.set_blocking(self.read, False)
        found = b""
        while len(found) < most:
            try:
                found += os.read(self.read, 1 << 16)
            except BlockingIOError:
                break
        return found.decode().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, write = os.pipe()
    made = Pipe(read, write)
    yield made
    os.close(made.read)
    os.close(write)


def say(handler: Lines, *texts: str) -> None:
    for text in texts:
        handler.handle(logging.LogRecord("test", logging.INFO, __file__, 1, text, None, None))


def test_lines_are_there_at_once_before_and_after_a_server_runs_and_soon_while_it_does(pipe: Pipe) -> None:
    handler = pipe.handler()
    say(handler, "before")
    assert pipe.lines() == ["before"]
    with handler:
        say(handler, "while", "it runs")
    assert pipe.lines() == ["while", "it runs"]  # also when it ends right then
    say(handler, "after")
    assert pipe.lines() == ["after"]


def test_a_reader_that_sleeps_holds_nobody_up_and_lines_beyond_the_bound_are_counted(pipe: Pipe) -> None:
    handler = pipe.handler()
    with handler:
        say(handler, *(f"line {number} {'x' * 100}" for number in range(MANY)))  # comes back
        assert len(pipe.dropped) > 0
        found: list[str] = []
        end = time.monotonic() + 30
        while len(found) < MANY - len(pipe.dropped):
            assert time.monotonic() < end
            found += pipe.lines()
            time.sleep(0.01)
        say(handler, "awake")
    assert pipe.lines() == ["awake"]


def test_a_reader_that_is_gone_costs_lines_only(pipe: Pipe) -> None:
    handler = pipe.handler()
    os.close(pipe.read)
    with handler:
        say(handler, "one", "two")
    assert len(pipe.dropped) == 2
    pipe.read = os.open(os.devnull, os.O_RDONLY)


def test_a_reader_that_never_wakes_does_not_keep_the_process(pipe: Pipe) -> None:
    handler = pipe.handler()
    with handler:
        say(handler, *("x" * 1000 for _ in range(200)))
    before = len(pipe.dropped)
    say(handler, "after")  # comes back too
    assert len(pipe.dropped) == before + 1
    while pipe.lines():  # so that the thread ends before its pipe is closed
        time.sleep(0.05)
