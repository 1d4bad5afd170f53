"""`make up` as a process, on ports of its own, with what it prints."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from stack import ROOT, Addresses

UP = [sys.executable, str(ROOT / "dev" / "up.py")]


def environment(at: Addresses) -> dict[str, str]:
    return {**os.environ, **{field.name.upper(): str(getattr(at, field.name)) for field in fields(at)}}


@contextmanager
def up(at: Addresses, log: Path, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The running command, with its output in `log`; ended with the block. `variables` are its environment's."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            UP,
            env={**environment(at), **variables},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def until_printed(text: str, log: Path, process: "subprocess.Popen[bytes]", seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    time.sleep(0.3)  # the lines behind it are on their way
    return log.read_text()
