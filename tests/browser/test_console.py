"""The console in a real Chromium, on a real Triton and Redis, with callers whose traffic it moves."""

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect
from processes import RunningStack, running_stack
from redis import Redis
from stack import ROOT, create_key
from support import rehearsal
from support.pages import DESKTOP, PHONE, Watched, barriers_in_both_themes, overflow, watched
from support.rehearsal import Manner
from traffic import END_USER, calling

from gateway.auth.store import KEYS

MODEL, DETECTOR = "rehearsal", "digits_detector"
ROUTE = f"/admin/v1/canaries/{MODEL}"
PATIENCE = 60_000  # ms: the machine may be busy

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Version 2 is sound, version 3 fails every tenth call, version 5 answers something else; and a detector."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "model_repository" / DETECTOR, folder / DETECTOR)
    versions = {"1": Manner.SOUND, "2": Manner.SOUND, "3": Manner.FAILING, "5": Manner.SHUFFLED}
    with running_stack(
        rehearsal.repository(folder, versions), workers=2, keep_disagreements=100_000
    ) as parts:
        yield parts


@pytest.fixture(scope="module")
def operator(stage: RunningStack) -> Iterator[httpx.Client]:
    """Somebody else with a key that administers."""
    headers = {"x-api-key": stage.admin_key}
    with httpx.Client(base_url=stage.url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def route(operator: httpx.Client) -> Callable[..., None]:
    """Sets the route; without anything, the default one."""

    def put(**wanted: Any) -> None:
        tag = {"if-match": operator.get(ROUTE).headers["etag"]}
        document = {"stable": "1", "sticky": f"header:{END_USER}", **wanted}
        answer = operator.put(ROUTE, json=document, headers=tag)
        assert answer.status_code == 200, answer.text

    put()
    return put


def sign_in(page: Page, stage: RunningStack, view: str = f"#/rollouts/{MODEL}") -> Page:
    page.goto(f"{stage.url}/console{view}")
    page.get_by_label("API key").fill(stage.admin_key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page


@contextmanager
def callers(stage: RunningStack, rate: float = 30) -> Iterator[None]:
    pictures = [rehearsal.picture(label) for label in range(rehearsal.LABELS)]
    with calling(stage, f"/v1/classify?model={MODEL}", pictures, rate=rate):
        yield


def newest(page: Page, chart: str, line: str) -> Locator:
    """The newest value of a line, as the chart's legend tells it."""
    figure = page.locator("figure", has=page.get_by_role("heading", name=chart, exact=True))
    return figure.locator(f"li[data-line='{line}'] b")


def test_signing_in_leaves_a_cookie_and_nothing_of_the_key(
    stage: RunningStack, watched_page: Watched
) -> None:
    page = watched_page.page
    page.goto(f"{stage.url}/console#/rollouts/{MODEL}")
    page.get_by_label("API key").fill(f"“{stage.admin_key}”")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("characters that no key has")
    page.get_by_label("API key").fill("gw_dev_00000000_nobody")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("no key of this gateway")
    page.get_by_label("API key").fill(stage.admin_key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=MODEL)).to_be_visible()

    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    kept = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    )
    assert stage.admin_key not in kept + page.content() + str(cookie)
    assert cookie["value"] not in kept

    page.reload()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_focused()
    ended = {"cookie": f"{cookie['name']}={cookie['value']}", "x-console": "1"}
    until_answered(stage, "/console/session", ended, 401)


def test_a_tab_does_not_go_on_by_the_key_of_another_tab(
    stage: RunningStack, operator: httpx.Client, watched_page: Watched, route: Callable[..., None]
) -> None:
    watched_page.expected += ["401", "ERR_FAILED"]
    page = sign_in(watched_page.page, stage)
    page.get_by_role("group", name="Actions").get_by_role("button", name="Freeze").click()
    page.route("**/admin/v1/workers", lambda request: request.abort())  # it does not hear of it by itself
    page.route("**/admin/v1/events?*", lambda request: request.abort())
    sign_in_in_another_tab(page, stage)
    page.get_by_role("dialog").get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("main")).to_contain_text("Somebody signed in with another key in this browser")
    assert operator.get(ROUTE).json()["frozen"] is False
    page.get_by_role("button", name="Go on with that key").click()
    expect(page.locator("#who")).to_contain_text("second")


def test_a_tab_that_asks_for_nothing_hears_of_it_when_it_is_looked_at(
    stage: RunningStack, watched_page: Watched
) -> None:
    watched_page.expected.append("401")
    page = sign_in(watched_page.page, stage, "#/keys")
    sign_in_in_another_tab(page, stage)
    page.evaluate(
        "document.dispatchEvent(new Event('visibilitychange'))"
    )  # without a window all are in front
    expect(page.get_by_role("main")).to_contain_text("Somebody signed in with another key in this browser")


def sign_in_in_another_tab(page: Page, stage: RunningStack) -> None:
    """Somebody ends the session there and begins one with another key, of the tenant "second"."""
    key = create_key(stage.at, "second", "admin:canary")
    until_answered(stage, ROUTE, {"x-api-key": key}, 200)
    other = page.context.new_page()
    other.goto(f"{stage.url}/console#/audit")
    other.get_by_role("button", name="Sign out").click()
    other.get_by_label("API key").fill(key)
    other.keyboard.press("Enter")
    expect(other.locator("#who")).to_contain_text("second")


def test_a_late_refusal_of_an_earlier_session_does_not_end_the_next(
    stage: RunningStack, watched_page: Watched
) -> None:
    watched_page.expected.append("401")
    page = watched_page.page
    first = create_key(stage.at, "first", "admin:canary")
    until_answered(stage, ROUTE, {"x-api-key": first}, 200)
    page.goto(f"{stage.url}/console#/audit")
    page.get_by_label("API key").fill(first)
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_contain_text("first")
    held: list[Route] = []

    def hold(request: Route) -> None:
        held.append(request)

    page.route("**/admin/v1/audit?*", hold, times=1)
    while not held:
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API key").fill(stage.admin_key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    with page.expect_response(lambda answer: answer.status == 401):
        held[0].fulfill(status=401, json={"code": "invalid_token"})
    expect(page.get_by_role("link", name="Keys")).to_be_visible()
    expect(page.get_by_label("API key")).to_have_count(0)


@pytest.mark.parametrize("model", ["digits_detector", "languages_bert"])
def test_a_link_to_a_model_opens_that_one(stack: RunningStack, page: Page, model: str) -> None:
    sign_in(page, stack, f"#/rollouts/{model}")
    expect(page.get_by_role("heading", level=1)).to_have_text(model)


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        pytest.param("%", "There is no model % here.", id="an address that is cut short"),
        pytest.param("nobody", "There is no model nobody here.", id="a model that is not there"),
    ],
)
def test_a_link_to_no_model_says_so_and_offers_the_others(
    stack: RunningStack, page: Page, part: str, shown: str
) -> None:
    sign_in(page, stack, f"#/rollouts/{part}")
    expect(page.get_by_role("main")).to_contain_text(shown)
    page.get_by_role("link", name="languages_bert").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("languages_bert")


def test_the_slider_moves_traffic_once_the_preflight_has_answered(
    stage: RunningStack, page: Page, route: Callable[..., None]
) -> None:
    with callers(stage):
        sign_in(page, stage)
        expect(newest(page, "Requests", "Version 1")).to_have_text(
            re.compile(r"[1-9]\d*/s"), timeout=PATIENCE
        )
        page.get_by_label("Weight of the canary").fill("50")
        page.get_by_label("Canary", exact=True).select_option("2")
        expect(page.get_by_text("Pre-flight passed: version 2 is fit for traffic.")).to_be_visible()
        page.get_by_role("button", name="Send 50 % to version 2").click()
        expect(page.get_by_role("img", name="Version 1 50 %, version 2 50 %")).to_be_visible()
        expect(newest(page, "Requests", "Version 2")).to_have_text(
            re.compile(r"[1-9]\d*(\.\d)?/s"), timeout=PATIENCE
        )
        expect(page.get_by_text("applied by 2 of 2 workers")).to_be_visible()
        newest_change = page.get_by_role("region", name="Log").locator("li").first
        expect(newest_change).to_contain_text("weight 0 % → 50 %")
        expect(newest_change.locator("p").first).to_have_text(re.compile(r"^\w+ by \w+ · generation \d+$"))

        page.get_by_label("Weight of the canary").fill("10")
        page.get_by_label("Weight of the canary").dispatch_event("change")
        expect(page.get_by_text("Less traffic for the canary needs no pre-flight.")).to_be_visible()


@pytest.mark.parametrize(
    "typed", ["150", "-1", "0.001", ""], ids=["too much", "too little", "too fine", "nothing"]
)
def test_a_percentage_that_is_none_has_nothing_to_press(
    stage: RunningStack, page: Page, route: Callable[..., None], typed: str
) -> None:
    sign_in(page, stage)
    percent = page.get_by_label("Percent", exact=True)
    percent.fill("1e1")
    expect(page.get_by_role("button", name="Send 10 % to version 5")).to_be_enabled()
    percent.fill(typed)
    expect(page.get_by_role("button", name="0 to 100, in hundredths")).to_be_disabled()
    percent.fill("12.34")
    expect(page.get_by_role("button", name="Send 12.34 % to version 5")).to_be_enabled()


def test_a_canary_that_fails_is_seen_to_be_taken_back(
    stage: RunningStack, page: Page, route: Callable[..., None]
) -> None:
    sign_in(page, stage)
    with callers(stage, rate=40):
        route(canary="3", weight=5000, guard={"min_requests": 50, "latency_factor": None})
        expect(page.get_by_role("img", name="Version 1 50 %, version 3 50 %")).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text("Rolled back.", timeout=PATIENCE)
    expect(page.get_by_role("img", name="Version 1 100 %, version 3 0 %")).to_be_visible()
    expect(page.get_by_role("region", name="Log")).to_contain_text("guard")


AT_EACH_CARRIAGE_RETURN = """(() => {
  const asked = window.fetch;
  const split = () => new TransformStream({
    transform(chunk, controller) {
      for (let from = 0; from < chunk.length;) {
        const at = chunk.indexOf(13, from);
        const to = at < 0 ? chunk.length : at + 1;
        controller.enqueue(chunk.slice(from, to));
        from = to;
      }
    },
  });
  window.fetch = async (path, options) => {
    const answer = await asked(path, options);
    if (!path.startsWith("/admin/v1/events")) return answer;
    return new Response(answer.body.pipeThrough(split()), { status: answer.status });
  };
})()"""


def test_events_are_whole_wherever_the_network_cuts_them(
    stage: RunningStack, page: Page, route: Callable[..., None]
) -> None:
    page.add_init_script(AT_EACH_CARRIAGE_RETURN)
    sign_in(page, stage)
    route(canary="2", weight=2500)
    expect(page.get_by_role("img", name="Version 1 75 %, version 2 25 %")).to_be_visible()


def test_a_stream_that_ends_at_once_is_opened_again_with_longer_and_longer_pauses(
    stage: RunningStack, page: Page
) -> None:
    """So does a gateway that is about to stop."""
    began: list[float] = []

    def end(request: Route) -> None:
        began.append(time.monotonic())
        request.fulfill(content_type="text/event-stream", body="")

    page.route("**/admin/v1/events", end)
    sign_in(page, stage, "#/rollouts")
    while len(began) < 4:
        page.wait_for_timeout(100)
    assert began[3] - began[0] > 2  # 0.5, 1 and 2 seconds


def test_disagreements_show_the_picture_and_both_answers(
    stage: RunningStack, page: Page, route: Callable[..., None]
) -> None:
    sign_in(page, stage)
    with callers(stage):
        route(canary="5", weight=0, mirror=10_000)
        found = page.get_by_role("region", name="Disagreements")
        expect(found.locator("img").first).to_be_visible(timeout=PATIENCE)
    assert found.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 10
    expect(found.locator("li").first).to_contain_text(re.compile(r"v1.*v5", re.DOTALL))


def test_disagreements_of_detectors_show_the_picture_with_the_boxes_of_both(
    stage: RunningStack, operator: httpx.Client, page: Page
) -> None:
    path = f"/admin/v1/canaries/{DETECTOR}"
    tag = {"if-match": operator.get(path).headers["etag"]}
    wanted = {"stable": "1", "canary": "2", "weight": 0, "mirror": 10_000}
    assert operator.put(path, json=wanted, headers=tag).status_code == 200
    sign_in(page, stage, f"#/rollouts/{DETECTOR}")
    scene = page.get_by_role("region", name="Disagreements").locator("li.boxes").first
    end = time.monotonic() + PATIENCE / 1000
    while not scene.is_visible():
        assert time.monotonic() < end
        picture = (ROOT / "clients" / "samples" / "scene.jpg").read_bytes()
        answer = operator.post(
            f"/v1/detect?model={DETECTOR}", content=picture, headers={"content-type": "image/jpeg"}
        )
        assert answer.status_code == 200, answer.text
        page.wait_for_timeout(500)
    assert scene.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
    boxes = len(answer.json()["results"][0]["detections"])
    expect(scene.locator("rect.stable")).to_have_count(boxes)
    expect(scene.locator("rect.canary").first).to_be_visible()


def test_disagreements_in_tensors_show_how_both_answers_begin(
    stage: RunningStack, operator: httpx.Client, page: Page, route: Callable[..., None]
) -> None:
    sign_in(page, stage)
    route(canary="5", weight=0, mirror=10_000)
    gray = [200 if column == 2 else 40 for _ in range(4) for column in range(rehearsal.LABELS)]
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 1, 4, rehearsal.LABELS], "data": gray}
    found = page.get_by_role("region", name="Disagreements")
    for _ in range(5):
        assert operator.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor]}).status_code == 200
    expect(found.locator("li").first).to_contain_text(
        re.compile(r"v1 logits FP32\[1,10\].*v5 logits", re.DOTALL)
    )
    expect(found.locator("li").first).to_contain_text("tensors")


def test_a_plan_is_begun_paused_frozen_taken_back_undone_resumed_and_promoted(
    stage: RunningStack, page: Page, route: Callable[..., None]
) -> None:
    def confirm(action: str) -> None:
        page.get_by_role("group", name="Actions").get_by_role("button", name=action).click()
        page.get_by_role("dialog").get_by_role("button", name=action).click()

    sign_in(page, stage)
    page.get_by_role("button", name="Plan a rollout…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Canary").select_option("2")
    dialog.get_by_label("Steps").fill("1 %, 50%")
    dialog.get_by_label("Time at each step").fill("soon")
    dialog.get_by_role("button", name="Begin the plan").click()
    expect(dialog.get_by_role("alert")).to_contain_text("no value for time")
    dialog.get_by_label("Time at each step").fill("10m")
    dialog.get_by_role("button", name="Begin the plan").click()
    expect(page.get_by_role("region", name="Plan")).to_contain_text("Step 1 of 2")
    confirm("Pause")
    expect(page.get_by_role("region", name="Plan")).to_contain_text("Step 1 of 2, paused")
    confirm("Freeze")
    expect(page.get_by_role("slider")).to_be_disabled()
    confirm("Unfreeze")
    confirm("Roll back")
    expect(page.get_by_role("alert")).to_contain_text("Rolled back.")
    confirm("Undo")
    expect(page.get_by_role("region", name="Plan")).to_contain_text("Step 1 of 2, paused")
    confirm("Resume")
    expect(page.get_by_role("region", name="Plan")).not_to_contain_text("paused")
    confirm("Promote")
    expect(page.get_by_text("Version 2 is the stable version now.")).to_be_visible()
    expect(page.get_by_role("region", name="Log").locator("li").first).to_contain_text("promote")


def test_who_loses_a_race_is_told_and_sees_what_stands(
    stage: RunningStack, watched_page: Watched, route: Callable[..., None]
) -> None:
    watched_page.expected.append("412")
    page = sign_in(watched_page.page, stage)
    page.get_by_label("Canary", exact=True).select_option("2")
    expect(page.get_by_text("Pre-flight passed")).to_be_visible()

    def overtake(request: Route) -> None:
        route(canary="5", weight=0)
        request.continue_()

    page.route(f"**{ROUTE}", overtake)
    page.get_by_role("button", name="Name version 2 as canary").click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody else changed this route meanwhile")
    expect(page.get_by_role("img", name="Version 1 100 %, version 5 0 %")).to_be_visible()


def test_no_other_page_acts_by_the_session(
    stage: RunningStack, watched_page: Watched, operator: httpx.Client, route: Callable[..., None]
) -> None:
    """Another port of the same host is the same site: the browser sends the cookie, and it must not count."""
    watched_page.expected += ["401", "403", "CORS", "ERR_FAILED", "favicon"]
    page = sign_in(watched_page.page, stage)
    with evil_page() as url:
        page.goto(url)
        for headers in ("{}", "{'X-Console': '1'}"):
            outcome = page.evaluate(
                f"fetch('{stage.url}{ROUTE}/freeze', {{method: 'POST', credentials: 'include', headers: {headers}}})"
                ".then(() => 'read', () => 'refused')"
            )
            assert outcome == "refused"
        page.evaluate(
            f"fetch('{stage.url}{ROUTE}/freeze', {{method: 'POST', mode: 'no-cors', credentials: 'include'}})"
        )
    assert operator.get(ROUTE).json()["frozen"] is False


def test_a_new_key_is_shown_once_and_revoked(stage: RunningStack, page: Page) -> None:
    sign_in(page, stage, "#/keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_role("dialog").get_by_label("Tenant").fill("shop")
    page.get_by_role("button", name="Make the key").click()
    secret = page.get_by_role("dialog").locator(".secret").inner_text()
    page.get_by_role("button", name="I have it").click()
    expect(page.locator("dialog")).to_have_count(0)
    assert secret not in page.content()
    until_answered(stage, "/v1/models", {"x-api-key": secret}, 200)
    key_id = secret.split("_")[2][:8]
    page.get_by_role("button", name=f"Revoke key {key_id}").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("button", name=f"Revoke key {key_id}")).to_have_count(0)
    until_answered(stage, "/v1/models", {"x-api-key": secret}, 401)


def test_a_key_that_cannot_be_read_is_shown_and_revoked(stage: RunningStack, page: Page) -> None:
    key = create_key(stage.at, "damaged", "infer")
    key_id = key.split("_")[2]
    until_answered(stage, "/v1/models", {"x-api-key": key}, 200)
    client = Redis(stage.at.redis_address, port=stage.at.redis_port)
    client.hset(KEYS, key_id, client.hget(KEYS, key_id)[:40])
    sign_in(page, stage, "#/keys")
    expect(page.get_by_role("row", name=key_id)).to_contain_text("unreadable")
    page.get_by_role("button", name=f"Revoke key {key_id}").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("button", name=f"Revoke key {key_id}")).to_have_count(0)
    until_answered(stage, "/v1/models", {"x-api-key": key}, 401)


def test_a_secret_stays_until_its_reader_has_it_and_is_selected_where_it_cannot_be_copied(
    stage: RunningStack, watched_page: Watched
) -> None:
    watched_page.expected.append("Cross-Origin-Opener-Policy")  # which plain HTTP does without
    page = watched_page.page
    key_id = create_key(stage.at, "careful", "infer").split("_")[2]
    page.goto(
        f"{stage.url.replace('127.0.0.1', '0.0.0.0')}/console#/keys"
    )  # which browsers do not count as safe
    page.get_by_label("API key").fill(stage.admin_key)
    page.keyboard.press("Enter")
    page.get_by_role("button", name=f"Rotate key {key_id}").click()
    page.get_by_role("button", name="Rotate", exact=True).click()
    dialog = page.get_by_role("dialog", name="The key has a new secret")
    secret = dialog.locator(".secret").inner_text()
    for _ in range(3):
        page.keyboard.press("Escape")
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog.get_by_role("button", name="Selected: press Ctrl+C")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == secret
    dialog.get_by_role("button", name="I have it").click()
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name=f"Rotate key {key_id}")).to_be_focused()


def test_a_moment_that_is_none_is_refused_in_words(stage: RunningStack, page: Page) -> None:
    sign_in(page, stage, "#/keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_role("dialog").get_by_label("Tenant").fill("shop")
    page.get_by_role("dialog").get_by_label("Expires in").fill("99999999999d")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(
        "Say when it expires like 30d or 12h."
    )


def test_many_changes_while_the_page_was_away_leave_no_hole_in_the_log(
    stage: RunningStack, watched_page: Watched, route: Callable[..., None]
) -> None:
    watched_page.expected.append("ERR_INTERNET_DISCONNECTED")
    page = sign_in(watched_page.page, stage, "#/audit")
    route(canary="2", weight=100)
    log = page.locator(".log li")
    expect(log.first).to_contain_text("weight 0 % → 1 %")
    page.context.set_offline(True)
    expect(page.get_by_role("alert").first).to_be_visible()
    for weight in range(200, 4200, 100):
        route(canary="2", weight=weight)
    page.context.set_offline(False)
    expect(log.first).to_contain_text("→ 41 %")
    page.get_by_role("button", name="Earlier changes").click()
    expect(log.nth(39)).to_be_visible()
    steps = [re.search(r"→ (\d+) %", text) for text in log.all_inner_texts()]
    assert [int(step[1]) for step in steps[:40] if step] == list(range(41, 1, -1))


@pytest.mark.parametrize(("view", "page_size"), [("#/audit", 25), (f"#/rollouts/{MODEL}", 12)])
def test_earlier_changes_come_once_however_often_they_are_asked_for(
    stage: RunningStack, page: Page, route: Callable[..., None], view: str, page_size: int
) -> None:
    for weight in range(100, 2 * page_size * 100, 100):
        route(canary="2", weight=weight)
    sign_in(page, stage, view)
    asked: list[Route] = []

    def hold(request: Route) -> None:
        asked.append(request)

    page.route("**before=*", hold)
    page.get_by_role("button", name="Earlier changes").dblclick()
    page.wait_for_function("() => document.querySelector('.log + .button[aria-busy]')")
    asked[0].continue_()
    expect(page.locator(".log li")).to_have_count(2 * page_size)
    assert len(asked) == 1


def test_what_has_the_focus_keeps_it_while_lists_are_drawn_anew(
    stage: RunningStack, operator: httpx.Client, page: Page, route: Callable[..., None]
) -> None:
    """By the labels of buttons, and by the place of a link among those with the same target."""
    focused = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.dataset.key"
    sign_in(page, stage, "#/models")
    heal = page.get_by_role("button", name=f"Heal {MODEL}")
    heal.focus()
    drawn = heal.element_handle()
    picture = rehearsal.picture(1)
    answer = operator.post(
        f"/v1/classify?model={MODEL}", content=picture, headers={"content-type": "image/png"}
    )
    assert answer.status_code == 200, answer.text
    page.wait_for_function("button => !button.isConnected", arg=drawn)
    assert page.evaluate(focused) == f"Heal {MODEL}"

    page.goto(f"{stage.url}/console#/audit")
    link = page.locator(".log a").first
    link.focus()
    key, drawn = page.evaluate(focused), link.element_handle()
    route(canary="2", weight=100)
    page.wait_for_function("link => !link.isConnected", arg=drawn)
    assert page.evaluate(focused) == key


def test_a_key_gets_a_new_secret_and_the_log_of_all_changes_says_who_did_it(
    stage: RunningStack, page: Page
) -> None:
    old = create_key(stage.at, "rotating", "infer")
    key_id = old.split("_")[2]
    sign_in(page, stage, "#/keys")
    page.get_by_role("button", name=f"Rotate key {key_id}").click()
    page.get_by_role("dialog").get_by_label("The old one holds for").fill("0")
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    new = page.get_by_role("dialog").locator(".secret").inner_text()
    page.get_by_role("button", name="I have it").click()
    until_answered(stage, "/v1/models", {"x-api-key": new}, 200)
    until_answered(stage, "/v1/models", {"x-api-key": old}, 401)
    page.get_by_role("link", name="Audit").click()
    newest, before = page.locator(".log li").nth(0), page.locator(".log li").nth(1)
    expect(newest).to_contain_text(re.compile(rf"rotate.*key {key_id} by {stage.admin_key.split('_')[2]}"))
    expect(before).to_contain_text(re.compile(rf"create.*key {key_id} by command line"))


def test_who_ends_its_own_secret_keeps_the_new_one_when_the_session_is_over(
    stage: RunningStack, watched_page: Watched
) -> None:
    watched_page.expected.append("401")
    page = watched_page.page
    old = create_key(stage.at, "rotating", "infer", "admin:keys")
    page.goto(f"{stage.url}/console#/keys")
    page.get_by_label("API key").fill(old)
    page.keyboard.press("Enter")
    page.get_by_role("button", name=f"Rotate key {old.split('_')[2]}").click()
    expect(page.get_by_role("dialog")).to_contain_text("your session ends with its old secret")
    page.get_by_role("dialog").get_by_label("The old one holds for").fill("0")
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    new = page.get_by_role("dialog").locator(".secret").inner_text()
    over, end = page.get_by_text("Your session is over."), time.monotonic() + PATIENCE / 1000
    while not over.is_visible():  # the page finds out when it asks a worker that has heard of it
        assert time.monotonic() < end
        page.evaluate(
            "import('/assets/console/admin.js').then((m) => m.read('/admin/v1/keys')).catch(() => {})"
        )
    assert page.get_by_role("dialog").locator(".secret").inner_text() == new
    page.get_by_role("button", name="I have it").click()
    until_answered(stage, "/console/session", {"x-api-key": new}, 200)
    page.get_by_label("API key").fill(new)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_session_whose_key_is_revoked_is_over(
    stage: RunningStack, watched_page: Watched, operator: httpx.Client
) -> None:
    watched_page.expected.append("401")
    page = watched_page.page
    key = create_key(stage.at, "leaving", "admin:canary")
    page.goto(f"{stage.url}/console")
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Workers")).to_be_visible()
    expect(page.get_by_role("link", name="Keys")).to_have_count(0)
    assert operator.delete(f"/admin/v1/keys/{key.split('_')[2]}").status_code == 204
    expect(page.get_by_text("Your session is over.")).to_be_visible()


def test_a_model_is_unloaded_which_is_shown_and_loaded_again(stage: RunningStack, page: Page) -> None:
    def confirm(action: str, name: str) -> None:
        page.get_by_role("button", name=f"{action} {DETECTOR}", exact=True).click()
        dialog = page.get_by_role("dialog")
        if action == "Unload":
            expect(dialog).to_contain_text("This model is needed")
            dialog.get_by_label("Do it all the same").check()
        dialog.get_by_role("button", name=action).click()
        expect(page.get_by_text(f"{DETECTOR} {name}.")).to_be_visible(timeout=PATIENCE)

    sign_in(page, stage, "#/models")
    card = page.get_by_role("region", name=DETECTOR, exact=True)
    confirm("Load again", "is loaded")
    confirm("Unload", "is unloaded")
    expect(card.locator("header")).to_contain_text("not loaded")
    confirm("Load", "is loaded")
    expect(card.locator("header")).to_contain_text("answers")


def test_an_answer_that_cannot_be_read_is_told_in_words(stage: RunningStack, page: Page) -> None:
    sign_in(page, stage, "#/models")
    page.route("**/admin/v1/models", lambda request: request.fulfill(body='{"models": ['), times=1)
    expect(page.get_by_role("alert")).to_contain_text("The answer broke off, or it is not the gateway's")
    expect(page.get_by_role("alert")).to_have_count(0)  # the next one is read


def test_a_model_that_is_unloaded_is_offered_no_more_until_it_is_back(
    stage: RunningStack, operator: httpx.Client, watched_page: Watched
) -> None:
    watched_page.expected += ["404", "503"]  # the log of a model that a worker knows no more, or not yet

    def order(action: str) -> None:
        answer = operator.post(f"/admin/v1/models/{DETECTOR}/{action}", json={"force": True})
        assert answer.status_code == 200, answer.text

    path = f"/admin/v1/canaries/{DETECTOR}"
    steady = operator.put(
        path, json={"stable": "1"}, headers={"if-match": operator.get(path).headers["etag"]}
    )
    assert steady.status_code == 200, steady.text
    page = sign_in(watched_page.page, stage, f"#/rollouts/{DETECTOR}")
    heading, link = page.get_by_role("heading", level=1), page.get_by_role("link", name=DETECTOR)
    for _ in range(2):
        expect(heading).to_have_text(DETECTOR)
        order("unload")
        expect(page.get_by_role("main")).to_contain_text(f"There is no model {DETECTOR} here.")
        expect(link).to_have_count(0)
        order("load")
    expect(heading).to_have_text(DETECTOR)
    page.get_by_role("link", name=MODEL).click()
    expect(heading).to_have_text(MODEL)
    order("unload")
    expect(link).to_have_count(0)
    order("load")
    expect(link).to_be_visible()
    expect(heading).to_have_text(MODEL)


def test_the_workers_say_which_generation_they_apply(
    stage: RunningStack, operator: httpx.Client, page: Page, route: Callable[..., None]
) -> None:
    sign_in(page, stage, "#/workers")
    route(canary="2", weight=100)
    generation = operator.get(ROUTE).json()["generation"]
    rows = page.get_by_role("region", name="Workers").locator("tbody tr")
    expect(rows).to_have_count(2)
    for row in (rows.nth(0), rows.nth(1)):
        expect(row.get_by_text(f"generation {generation}", exact=True)).to_be_visible()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["on a desk", "on a phone"])
def test_every_view_is_without_barriers_in_both_themes_and_fits(
    stage: RunningStack, browser: Browser, route: Callable[..., None], viewport: dict[str, int]
) -> None:
    route(canary="5", weight=2500, mirror=10_000)
    with callers(stage, rate=10), watched(browser, viewport=viewport) as found:
        page = sign_in(found.page, stage)
        expect(page.get_by_role("region", name="Disagreements").locator("img").first).to_be_visible(
            timeout=PATIENCE
        )
        for view, sign in (
            ("rollouts", "Traffic split"),
            ("workers", "Replica"),
            ("models", "Load again"),
            ("audit", "generation"),
            ("keys", "Rotate"),
        ):
            page.goto(f"{stage.url}/console#/{view}")
            expect(page.get_by_text(sign).first).to_be_visible()
            expect(page.locator("#tabs [aria-current]")).to_be_in_viewport(ratio=0.95)
            assert barriers_in_both_themes(page) == [], view
            assert overflow(page) == 0, view
        page.get_by_role("button", name="New key").click()
        assert barriers_in_both_themes(page) == []


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("models_fresh", "Triton does not say which models it has."),
        ("changes_taken", "Redis takes no changes"),
        ("limits", "Quotas are not shared"),
    ],
    ids=["the models cannot be listed", "Redis is full", "Redis is slow"],
)
def test_it_says_what_is_worse_than_usual(stage: RunningStack, page: Page, part: str, told: str) -> None:
    page.route("**/readyz", lambda request: request.fulfill(json={"parts": {"triton": True, part: False}}))
    sign_in(page, stage)
    expect(page.locator("#banner")).to_contain_text(told)
    expect(page.locator("#banner .notice")).to_have_count(1)


def test_a_long_name_makes_no_view_wider(stage: RunningStack, browser: Browser) -> None:
    long = "very_long_model_name_" * 5

    def rename(request: Route) -> None:
        request.fulfill(body=request.fetch().text().replace(DETECTOR, long))

    with watched(browser, viewport={"width": 360, "height": 740}) as found:
        page = sign_in(found.page, stage, "#/models")
        page.route("**/admin/v1/models", rename)
        page.get_by_role("button", name=f"Unload {long}").click()
        assert overflow(page) == 0
        dialog = page.get_by_role("dialog")
        assert dialog.evaluate("dialog => dialog.scrollWidth - dialog.clientWidth") == 0


def test_it_says_when_triton_is_away_and_rolls_back_all_the_same_and_when_redis_is(
    stage: RunningStack, watched_page: Watched, route: Callable[..., None]
) -> None:
    """The last one here: neither comes back."""
    watched_page.expected += ["503", "502"]
    page = sign_in(watched_page.page, stage)
    route(canary="2", weight=1000)
    expect(page.get_by_role("img", name="Version 1 90 %, version 2 10 %")).to_be_visible()
    stage.triton.stop()
    expect(page.get_by_role("alert").first).to_contain_text("Triton does not answer", timeout=PATIENCE)
    page.get_by_label("Weight of the canary").fill("80")
    page.get_by_label("Weight of the canary").dispatch_event("change")
    expect(page.get_by_role("alert").nth(1)).to_be_visible()
    expect(page.get_by_role("button", name="Send 80 % to version 2")).to_be_disabled()
    page.get_by_role("group", name="Actions").get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("All callers are on version 1 again.")).to_be_visible()
    stage.redis.stop()
    expect(page.locator("#banner")).to_contain_text("Redis does not answer", timeout=PATIENCE)


def until_answered(stage: RunningStack, path: str, headers: dict[str, str], status: int) -> None:
    """Every worker hears of a key, or of an end, within two seconds."""
    end = time.monotonic() + PATIENCE / 1000
    while httpx.get(stage.url + path, headers=headers, trust_env=False).status_code != status:
        assert time.monotonic() < end
        time.sleep(0.1)


@contextmanager
def evil_page() -> Iterator[str]:
    """A page of another origin on this host."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class's name
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>a sister site</title>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
