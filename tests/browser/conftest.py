"""Pages in a real Chromium. The browser is a module's: while it is open no event loop of a test can run."""

from collections.abc import Iterator

import pytest
from browser import chromium
from playwright.sync_api import Browser, Page
from support.pages import Watched, watched


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def watched_page(browser: Browser) -> Iterator[Watched]:
    """A new page in a profile of its own; the test fails on what its console says or its policy stops."""
    with watched(browser) as found:
        yield found


@pytest.fixture
def page(watched_page: Watched) -> Page:
    """The page alone, for tests that provoke no error."""
    return watched_page.page
