"""The playground's pictures: how a page is brought to where it is worth one."""

from playwright.sync_api import Page, expect
from processes import RunningStack


def start(page: Page, stack: RunningStack) -> None:
    page.goto(stack.url)


def problems(page: Page, stack: RunningStack) -> None:
    page.goto(f"{stack.url}/problems")


def api(page: Page, stack: RunningStack) -> None:
    page.goto(f"{stack.url}/docs")
    page.get_by_text("Classify images or texts").first.wait_for()


def entry(page: Page, stack: RunningStack) -> None:
    page.goto(f"{stack.url}/playground")
    expect(page.locator("#ready")).to_have_text("ready")


def labels(page: Page, stack: RunningStack) -> None:
    _sign_in(page, stack)
    _ask_twice(page, "One digit, large")


def boxes(page: Page, stack: RunningStack) -> None:
    _sign_in(page, stack)
    page.get_by_label("Model", exact=True).select_option("digits_detector")
    page.get_by_label("Version", exact=True).select_option("2")
    _ask_twice(page, "A scene of digits")


def text(page: Page, stack: RunningStack) -> None:
    _sign_in(page, stack)
    page.get_by_label("Model", exact=True).select_option("languages_bert")
    _ask_twice(page, "Estados Unidos, Suíça e Áustria")
    page.get_by_role("tab", name="Python").click()


def compare(page: Page, stack: RunningStack) -> None:
    _sign_in(page, stack)
    page.get_by_label("Model", exact=True).select_option("digits_detector")
    page.get_by_label("Compare with").select_option("2")
    _ask_twice(page, "A scene of digits")


def live(page: Page, stack: RunningStack) -> None:
    _sign_in(page, stack)
    page.get_by_label("Model", exact=True).select_option("digits_detector")
    page.get_by_label("Version", exact=True).select_option("2")
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name="Start live detection").click()
    expect(page.locator("#live-boxes li")).not_to_have_count(0)
    page.wait_for_timeout(3000)  # until the figures are those of a stream that runs


def _sign_in(page: Page, stack: RunningStack) -> None:
    entry(page, stack)
    page.get_by_label("API key").fill(stack.key)
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_label("Model", exact=True).wait_for()


def _ask_twice(page: Page, button: str) -> None:
    """The first answer's times are those of a cold start."""
    for _ in range(2):
        page.get_by_role("button", name=button, exact=True).click()
        page.wait_for_timeout(300)
        page.locator("#results:not([aria-busy]) .bars .name").first.wait_for()
    page.mouse.move(0, 0)
