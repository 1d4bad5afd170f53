"""A real Chromium without a window, for the tests of the pages and their pictures."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright
from stack import ROOT, RUN, StackError


def _camera() -> list[str]:
    """A camera that always sees the same scene, and may be used without asking."""
    film = RUN / "camera.mjpeg"
    film.parent.mkdir(parents=True, exist_ok=True)
    film.write_bytes((ROOT / "clients" / "samples" / "scene.jpg").read_bytes() * 3)
    return [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The one on PATH. Root may not use its sandbox, and what it opens here are our own pages. Raises StackError."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise StackError("no chromium: run `make programs`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage", *_camera()]
        )
        try:
            yield browser
        finally:
            browser.close()
