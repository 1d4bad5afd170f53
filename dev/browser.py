"""A real Chromium without a window, for the tests of the pages and their pictures."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright
from stack import StackError


@contextmanager
def chromium() -> Iterator[Browser]:
    """The one on PATH. Root may not use its sandbox, and what it opens here are our own pages. Raises StackError."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise StackError("no chromium: run `make programs`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()
