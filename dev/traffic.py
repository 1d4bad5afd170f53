"""Callers for a running stack: a steady, bounded trickle from many end users, for tests and pictures of the pages."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from processes import RunningStack
from stack import ROOT

END_USER = "X-User-Id"


def golden(model: str) -> list[bytes]:
    """The pictures that a demo model carries in its folder."""
    folder = ROOT / "model_repository" / model / "golden"
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@contextmanager
def calling(
    stack: RunningStack, path: str, bodies: Sequence[bytes], *, rate: float, media_type: str = "image/png"
) -> Iterator[None]:
    """About so many calls a second for the length of the block, at most one at a time, each another end user's."""
    over = threading.Event()

    def call() -> None:
        with stack.client() as client:
            number, began = 0, time.monotonic()
            while not over.wait(max(0.0, began + number / rate - time.monotonic())):
                headers = {"content-type": media_type, END_USER: f"u{number}"}
                client.post(path, content=bodies[number % len(bodies)], headers=headers)
                number += 1

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
