"""The playground while Triton is down, and after it has come back."""

import signal

from playwright.sync_api import Browser, expect
from processes import running, running_stack
from stack import triton
from support.pages import barriers_in_both_themes, watched
from support.playground import DIGIT, REFUSED, drop, sign_in


def test_a_triton_that_is_down_is_said_and_its_return_noticed(browser: Browser) -> None:
    with running_stack() as stack, watched(browser) as found:
        found.expected.append(REFUSED)
        page = found.page
        sign_in(page, stack.url, stack.key)
        expect(page.locator("#ready")).to_have_text("ready")
        stack.triton.stop(signal.SIGKILL)
        expect(page.locator("#ready")).to_have_text("Triton is down")
        drop(page, DIGIT)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("cannot be reached at the moment")
        expect(alert).to_contain_text("You can go on")
        assert barriers_in_both_themes(page) == []
        with running(triton(stack.at)):
            expect(page.locator("#ready")).to_have_text("ready", timeout=60_000)
            alert.get_by_role("button", name="Try again").click()
            expect(page.locator(".bars .name").first).to_have_text("7")


def test_a_gateway_that_is_silent_is_said_and_asked_by_one_request_at_a_time(browser: Browser) -> None:
    with running_stack() as stack, watched(browser) as found:
        page = found.page
        sign_in(page, stack.url, stack.key)
        expect(page.locator("#ready")).to_have_text("ready")
        under_way: list[int] = [0]
        page.on(
            "request", lambda asked: asked.url.endswith("/readyz") and under_way.append(under_way[-1] + 1)
        )
        for over in ("requestfinished", "requestfailed"):
            page.on(over, lambda asked: asked.url.endswith("/readyz") and under_way.append(under_way[-1] - 1))
        stack.gateway.popen.send_signal(signal.SIGSTOP)
        try:
            expect(page.locator("#ready")).to_have_text("no answer", timeout=15_000)
            page.wait_for_timeout(10_000)
            expect(page.locator("#ready")).to_have_text("no answer")
        finally:
            stack.gateway.popen.send_signal(signal.SIGCONT)
        expect(page.locator("#ready")).to_have_text("ready", timeout=15_000)
        assert max(under_way) == 1
