"""The sample page in a real Chromium: it classifies with a token, and the long-lived key never reaches it."""

import json
import threading
from collections.abc import Iterator

import httpx
import pytest
from browser import chromium
from page_server import PageServer
from playwright.sync_api import Browser, Request, Route, expect
from processes import RunningStack, running_stack
from stack import ROOT, create_key, free_port
from support.pages import barriers_in_both_themes, watched

CLIENTS = ROOT / "clients"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(port: int) -> Iterator[RunningStack]:
    """A stack that knows the page's origin."""
    with running_stack(cors_origins=f"http://localhost:{port}") as parts:
        yield parts


@pytest.fixture(scope="module")
def page_server(gateway: RunningStack, port: int) -> Iterator[PageServer]:
    with PageServer(port, gateway.url, create_key(gateway.at, "shop", "infer")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_page_classifies_with_a_token_and_never_sees_the_key(
    browser: Browser, gateway: RunningStack, page_server: PageServer
) -> None:
    sent: list[Request] = []
    answers: list[str] = []

    def note(request: Request) -> None:
        sent.append(request)

    with watched(browser) as found:
        page = found.page
        page.on("request", note)
        page.goto(page_server.origin)
        with page.expect_response("**/token") as token:
            page.set_input_files("#file", CLIENTS / "samples" / "digit.png")
        answers.append(token.value.text())
        expect(page.locator("#classes tr")).to_have_count(3)
        expect(page.locator("#classes tr").first.locator("td").first).to_have_text("7")
        expect(page.locator("#status")).to_contain_text("digits_classifier, version 1")
        assert barriers_in_both_themes(page) == []
        answers.append(page.content())
        headers = [request.all_headers() for request in sent if request.url.startswith("http")]
    assert any(one.get("authorization", "").startswith("Bearer ") for one in headers)
    assert page_server.key not in json.dumps([answers, headers])


def test_a_token_that_is_over_is_replaced(browser: Browser, page_server: PageServer) -> None:
    with watched(browser) as found:
        page = found.page
        found.expected.append("401")
        page.goto(page_server.origin)
        page.evaluate("gateway => { access = { gateway, token: 'over' }; }", page_server.gateway)
        page.set_input_files("#file", CLIENTS / "samples" / "digit.png")
        expect(page.locator("#classes tr")).to_have_count(3)


def test_a_late_answer_does_not_take_the_place_of_a_newer_one(
    browser: Browser, page_server: PageServer
) -> None:
    """The first is held until the second is there."""
    held: list[Route] = []

    def hold(request: Route) -> None:
        held.append(request)

    with watched(browser) as found:
        page = found.page
        found.expected.append("ERR_ABORTED")
        page.goto(page_server.origin)
        page.route("**/v1/classify?*", hold, times=1)
        with page.expect_request("**/v1/classify?*"):
            page.set_input_files("#file", CLIENTS / "samples" / "scene.jpg")
        page.set_input_files("#file", CLIENTS / "samples" / "digit.png")
        expect(page.locator("#classes tr").first.locator("td").first).to_have_text("7")
        shown = page.locator("#classes").inner_text()
        other = {"predictions": [{"label": "late", "score": 1.0}]}
        headers = {"Access-Control-Allow-Origin": page_server.origin}
        document = {"model": {"name": "late", "version": "1"}, "results": [other]}
        held[0].fulfill(json=document, headers=headers)
        expect(page.locator("#status")).to_contain_text("digits_classifier")
        page.evaluate("() => new Promise((done) => setTimeout(done, 500))")
        assert page.locator("#classes").inner_text() == shown


@pytest.mark.parametrize("origin", ["http://localhost:1", None], ids=["another page", "no page"])
def test_only_the_page_gets_a_token(page_server: PageServer, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    answer = httpx.post(f"{page_server.origin}/token", headers=headers, trust_env=False)
    assert answer.status_code == 403
