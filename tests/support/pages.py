"""What browser tests watch for on a page: errors in its console, what axe finds, a page wider than its window."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page

PHONE = {"width": 375, "height": 812}
DESKTOP = {"width": 1280, "height": 860}
# The new theme's colours are on the page when it has been drawn with them.
_TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
_WHO = "/console/session"  # the console asks who is signed in, and hears 401 from nobody
_TOO_BAD = ("serious", "critical")


@dataclass
class Watched:
    """A page, and what its console said that is an error. `expected` are parts of those that a test provokes."""

    page: Page
    errors: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=lambda: [_WHO])

    @property
    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(part in error for part in self.expected)]


@contextmanager
def watched(browser: Browser, **options: Any) -> Iterator[Watched]:
    """A page in a new profile; `options` are those of `Browser.new_context`."""
    context = browser.new_context(**{"viewport": DESKTOP, **options})
    context.set_default_timeout(20_000)
    page = context.new_page()
    found = Watched(page)

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            found.errors.append(f"{message.text} ({message.location.get('url', '')})")

    page.on("console", hear)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    try:
        yield found
        assert found.unexpected == [], found.unexpected
    finally:
        context.close()


def barriers(page: Page) -> list[str]:
    """What axe finds on the page as it stands that is serious or critical: its rule, and the elements."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {[(node['html'][:160], node['failureSummary']) for node in violation['nodes']]}"
        for violation in violations
        if violation["impact"] in _TOO_BAD
    ]


def barriers_in_both_themes(page: Page) -> list[str]:
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate(_TWO_FRAMES)
        found += [f"{scheme}: {barrier}" for barrier in barriers(page)]
    return found


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wider
