"""What all pages share: assets under their policy, both themes, and a switch that is remembered."""

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from processes import RunningStack
from support.pages import PHONE, barriers_in_both_themes, overflow, watched
from support.playground import sign_in

OURS = ("/", "/console", "/playground", "/problems", "/problems/rate_limited")


@pytest.fixture
def opened(page: Page, stack: RunningStack) -> Page:
    page.goto(f"{stack.url}/console")
    return page


def background(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return colour


def test_assets_are_found_by_name_and_again_by_their_tag(client: httpx.Client) -> None:
    first = client.get("/assets/shared/design.css")
    assert first.headers["content-type"] == "text/css; charset=utf-8"
    again = client.get("/assets/shared/design.css", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for absent in ("shared/nothing.css", "shared/", "../__init__.py", "%2e%2e/__init__.py"):
        assert client.get(f"/assets/{absent}").status_code == 404


@pytest.mark.parametrize("path", OURS)
def test_a_page_may_load_from_its_own_host_only_and_in_no_frame(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_the_theme_is_the_systems_until_somebody_chooses_and_stays_chosen(opened: Page) -> None:
    opened.emulate_media(color_scheme="light")
    light = background(opened)
    opened.emulate_media(color_scheme="dark")
    dark = background(opened)
    assert light != dark
    opened.get_by_role("button", name="Use the light theme").click()
    assert background(opened) == light
    opened.reload()
    expect(opened.get_by_role("button", name="Use the dark theme")).to_be_visible()
    assert background(opened) == light


def test_the_name_on_a_narrow_page_keeps_away_from_its_edge(browser: Browser, stack: RunningStack) -> None:
    with watched(browser, viewport={"width": 360, "height": 740}) as found:
        sign_in(found.page, stack.url, stack.key)
        mark = found.page.locator(".brand svg").bounding_box()
        assert mark is not None
        assert mark["y"] >= 8


@pytest.mark.parametrize("path", OURS)
def test_a_page_has_no_barrier_in_either_theme_and_fits_a_phone(
    browser: Browser, stack: RunningStack, path: str
) -> None:
    with watched(browser, viewport=PHONE) as found:
        found.page.goto(f"{stack.url}{path}")
        assert barriers_in_both_themes(found.page) == []
        assert overflow(found.page) == 0
