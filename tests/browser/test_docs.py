"""The API's description as people read it: offline, under the pages' policy, in both themes."""

from playwright.sync_api import Page, expect
from processes import RunningStack


def test_the_description_opens_with_its_examples_and_errors(page: Page, stack: RunningStack) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add("/".join(request.url.split("/")[:3])))
    page.goto(f"{stack.url}/docs")
    page.get_by_text("Find objects in images").first.click()
    operation = page.locator(".opblock.is-open")
    expect(operation.get_by_text("rate_limited").first).to_be_visible()
    expect(operation.get_by_text('"x_min"').first).to_be_visible()
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html.dark-mode")).to_be_attached()
    page.get_by_role("button", name="Use the light theme").click()
    expect(page.locator("html.dark-mode")).not_to_be_attached()
    assert {host for host in hosts if host.startswith("http")} == {stack.url}
