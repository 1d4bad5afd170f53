"""`make screenshots`: every page in both themes, as docs/images/<name>-<theme>.png, from a real stack.

A scene is a function that brings a page to where it is worth a picture; add yours to `SCENES`. With names as arguments
(`make screenshots ONLY="console-keys console-models"`) only those are taken.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Literal

import console_scenes
import playground_scenes
from browser import chromium
from playwright.sync_api import FloatRect, Page
from processes import RunningStack, running_stack
from stack import ROOT

Scene = Callable[[Page, RunningStack], None]

IMAGES = ROOT / "docs" / "images"
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_WIDTH, _HEIGHT = 1280, 900
_MARGIN = 32
_PHONE_WIDTH, _PHONE_HEIGHT = 375, 812
_KEPT = 300_000  # bytes of a picture that two versions disagree about


def problem(page: Page, stack: RunningStack) -> None:
    page.goto(f"{stack.url}/problems/rate_limited")


SCENES: Mapping[str, Scene] = {
    "problem": problem,
    "problems": playground_scenes.problems,
    "start": playground_scenes.start,
    "api": playground_scenes.api,
    "playground-entry": playground_scenes.entry,
    "playground": playground_scenes.boxes,
    "playground-labels": playground_scenes.labels,
    "playground-text": playground_scenes.text,
    "playground-compare": playground_scenes.compare,
    "playground-live": playground_scenes.live,
    "playground-phone": playground_scenes.boxes,
    **console_scenes.SCENES,
}
"""A scene whose name ends in `-phone` is taken at a phone's width."""


def main(names: list[str]) -> None:
    wanted = names or list(SCENES)
    IMAGES.mkdir(exist_ok=True)
    with ExitStack() as open_parts:
        stack = open_parts.enter_context(running_stack(workers=2, keep_disagreements=_KEPT))
        browser = open_parts.enter_context(chromium())
        if any(name in console_scenes.SCENES for name in wanted):
            open_parts.enter_context(console_scenes.rollouts(stack))
        for name in wanted:
            for theme in THEMES:
                phone = name.endswith("-phone")
                page = browser.new_page(
                    color_scheme=theme,
                    reduced_motion="reduce",
                    device_scale_factor=2 if phone else 1,
                    viewport={
                        "width": _PHONE_WIDTH if phone else _WIDTH,
                        "height": _PHONE_HEIGHT if phone else _HEIGHT,
                    },
                )
                SCENES[name](page, stack)
                path = IMAGES / f"{name}-{theme}.png"
                page.screenshot(path=path, clip=_filled(page))
                print(path.relative_to(ROOT))
                page.close()


def _filled(page: Page) -> FloatRect:
    """What is in the window, without the empty part below."""
    bottoms = "[...document.querySelectorAll('main *')].map((each) => each.getBoundingClientRect().bottom)"
    width, height, bottom = page.evaluate(f"[innerWidth, innerHeight, Math.max(...{bottoms})]")
    return {"x": 0, "y": 0, "width": width, "height": min(height, bottom + _MARGIN)}


if __name__ == "__main__":
    main(sys.argv[1:])
