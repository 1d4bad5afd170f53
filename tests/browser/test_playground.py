"""The playground in a real Chromium, on a real Triton: from a key to an answer, and to the code that does the same."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, WebSocketRoute, expect
from processes import RunningStack
from stack import create_key
from support.pages import PHONE, Watched, barriers_in_both_themes, overflow, watched
from support.playground import DIGIT, REFUSED, SCENE, drop, sign_in


def choose(page: Page, model: str) -> None:
    page.get_by_label("Model", exact=True).select_option(model)


def labels(card: Locator | Page) -> list[str]:
    return card.locator(".bars .name").all_inner_texts()


@pytest.fixture
def bench(page: Page, stack: RunningStack) -> Page:
    sign_in(page, stack.url, stack.key)
    return page


def over_http(client: httpx.Client, path: str, picture: Path = SCENE) -> Any:
    answer = client.post(path, content=picture.read_bytes(), headers={"content-type": "image/jpeg"})
    return answer.json()["results"][0]


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_that_is_dropped_or_pasted_gets_its_labels(bench: Page, kind: str) -> None:
    drop(bench, DIGIT, kind)
    expect(bench.locator(".bars .name").first).to_have_text("7")
    expect(bench.locator(".result h2")).to_have_text("digits_classifier")
    stages = bench.locator(".times li").evaluate_all("(items) => items.map((item) => item.dataset.stage)")
    assert stages == ["auth", "limit", "body", "decode", "queue", "triton", "post", "rest", "way"]
    bench.get_by_text("Headers of the answer").click()
    expect(bench.get_by_role("row", name="x-model-version 1")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 375])
def test_boxes_lie_where_the_answer_says_at_every_size(bench: Page, client: httpx.Client, width: int) -> None:
    bench.set_viewport_size({"width": width, "height": 860})
    choose(bench, "digits_detector")
    drop(bench, SCENE)
    expect(bench.locator(".boxes li")).not_to_have_count(0)
    found = over_http(client, "/v1/detect")
    frame = bench.locator(".result .frame").bounding_box()
    assert frame is not None
    scale = frame["width"] / found["image"]["width"]
    assert frame["height"] == pytest.approx(found["image"]["height"] * scale, abs=1.5)
    assert bench.locator(".boxes li").count() == len(found["detections"]) > 0
    for item, detection in zip(bench.locator(".boxes li").all(), found["detections"], strict=True):
        drawn, box = item.bounding_box(), detection["box"]
        assert drawn is not None
        assert drawn["x"] - frame["x"] == pytest.approx(box["x_min"] * scale, abs=1.5)
        assert drawn["y"] - frame["y"] == pytest.approx(box["y_min"] * scale, abs=1.5)
        assert drawn["width"] == pytest.approx((box["x_max"] - box["x_min"]) * scale, abs=1.5)
        assert drawn["height"] == pytest.approx((box["y_max"] - box["y_min"]) * scale, abs=1.5)
        assert item.inner_text().split()[0] == detection["label"]
    assert overflow(bench) == 0


def test_a_text_gets_its_language(bench: Page) -> None:
    choose(bench, "languages_bert")
    bench.get_by_label("Text", exact=True).fill("Estados Unidos, Suíça e Áustria")
    bench.get_by_role("button", name="Classify").click()
    expect(bench.locator(".bars .name").first).to_have_text("pt")
    expect(bench.locator(".quote")).to_have_text("Estados Unidos, Suíça e Áustria")


def test_every_model_can_be_chosen_and_asked(bench: Page, client: httpx.Client) -> None:
    for model in client.get("/v1/models").json()["models"]:
        choose(bench, model["name"])
        expect(bench.locator("#compare option")).to_have_text(["nothing", *model["versions"]])
        for said in (model["input"] or {"": "as it comes"}).values():
            expect(bench.locator("#model-hint")).to_contain_text(str(said))
        if model["task"] == "text-classification":
            bench.get_by_label("Text", exact=True).fill("Suomi")
            bench.get_by_role("button", name="Classify").click()
        else:
            drop(bench, DIGIT)
        expect(bench.locator("#results:not([aria-busy]) .result h2")).to_have_text(model["name"])
        expect(bench.locator("#snippet-text")).to_contain_text(model["name"])


def test_two_versions_are_compared_side_by_side(bench: Page, client: httpx.Client) -> None:
    choose(bench, "digits_detector")
    bench.get_by_label("Compare with").select_option("2")
    bench.get_by_role("button", name="A scene of digits").click()
    expect(bench.locator(".verdict")).to_be_visible()
    for version in ("1", "2"):
        card = bench.get_by_role("article", name=f"Answer of version {version}")
        expect(card.get_by_text(f"version {version}", exact=True)).to_be_visible()
        expected = over_http(client, f"/v1/detect?version={version}")["detections"]
        assert labels(card) == [detection["label"] for detection in expected]


def test_options_change_the_answer_and_the_code(bench: Page) -> None:
    bench.get_by_role("button", name="One digit, large").click()
    expect(bench.locator(".bars li")).not_to_have_count(0)
    bench.get_by_label("At most").fill("1")
    bench.get_by_label("At most").press("Enter")
    expect(bench.locator(".bars li")).to_have_count(1)
    expect(bench.locator("#snippet-text")).to_contain_text("top_k=1")


def test_a_refused_option_is_asked_anew_when_it_is_mended(watched_page: Watched, stack: RunningStack) -> None:
    watched_page.expected.append(REFUSED)
    page = watched_page.page
    sign_in(page, stack.url, stack.key)
    page.get_by_role("button", name="One digit, large").click()
    for wrong in ("2000", "0", "-3"):
        page.get_by_label("At most").fill(wrong)
        page.get_by_label("At most").press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("?top_k")
        expect(page.locator("#snippet-text")).to_contain_text(f"top_k={wrong}")
        page.get_by_label("At most").fill("2")
        page.get_by_label("At most").press("Enter")
        expect(page.locator(".bars li")).to_have_count(2)
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_key_that_may_not_pin_is_offered_no_versions(watched_page: Watched, stack: RunningStack) -> None:
    watched_page.expected.append(REFUSED)
    page = watched_page.page
    sign_in(page, stack.url, create_key(stack.at, "modest", "infer"))
    expect(page.get_by_text("This key may not choose versions")).to_be_visible()
    expect(page.get_by_label("Version", exact=True)).to_be_hidden()
    drop(page, DIGIT)
    expect(page.locator(".bars .name").first).to_have_text("7")


@pytest.mark.parametrize(
    ("model", "picture"), [("digits_detector", SCENE), ("languages_bert", None)], ids=["an image", "a text"]
)
def test_the_code_that_is_shown_works(
    bench: Page, client: httpx.Client, stack: RunningStack, tmp_path: Path, model: str, picture: Path | None
) -> None:
    choose(bench, model)
    if picture is None:
        bench.get_by_label("Text", exact=True).fill("It's \"fine\" — n'est-ce pas?\n")
        bench.get_by_role("button", name="Classify").click()
    else:
        named = tmp_path / "it's a scene.jpg"
        named.write_bytes(picture.read_bytes())
        drop(bench, named)
    shown_labels = bench.locator(".bars .name")
    expect(shown_labels.first).to_be_visible()
    expected = shown_labels.all_inner_texts()
    environment = {**os.environ, "GATEWAY_KEY": stack.key}

    def code(language: str) -> str:
        bench.get_by_role("tab", name=language).click()
        text = bench.locator("#snippet-text").inner_text()
        assert stack.key not in text
        return text

    def run(*command: str) -> str:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def named_in(result: Any) -> list[str]:
        return [each["label"] for each in result.get("detections") or result["predictions"]]

    assert named_in(json.loads(run("bash", "-c", code("curl")))["results"][0]) == expected
    printed = run(
        sys.executable,
        "-c",
        code("Python").replace("print(", "import json; print(json.dumps(").rstrip() + ")",
    )
    assert named_in(json.loads(printed)) == expected
    token = client.post("/v1/tokens", json={"origins": [stack.url]}).json()["token"]
    script = code("JavaScript").replace("console.log(results[0])", "return results[0]")
    data = "" if picture is None else base64.b64encode(picture.read_bytes()).decode()
    result = bench.evaluate(
        "async ([token, data]) => { const file = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));"
        f"{script} }}",
        [token, data],
    )
    assert named_in(result) == expected


def test_the_code_is_copied(bench: Page) -> None:
    bench.context.grant_permissions(["clipboard-read", "clipboard-write"])
    bench.get_by_role("button", name="One digit, large").click()
    bench.get_by_role("button", name="Copy").click()
    expect(bench.get_by_role("button", name="Copied")).to_be_visible()
    assert bench.evaluate("navigator.clipboard.readText()") == bench.locator("#snippet-text").inner_text()


def test_neither_key_nor_token_is_left_behind(bench: Page, stack: RunningStack) -> None:
    assert (
        bench.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        == '[{},{},""]'
    )
    assert bench.get_by_label("API key").input_value() == ""
    assert stack.key not in bench.content()
    bench.reload()
    expect(bench.get_by_role("button", name="Start", exact=True)).to_be_visible()


def test_when_the_token_runs_out_the_key_is_asked_for_and_the_picture_kept(
    page: Page, stack: RunningStack
) -> None:
    page.clock.install()
    sign_in(page, stack.url, stack.key)
    drop(page, DIGIT)
    expect(page.locator(".bars .name").first).to_have_text("7")
    page.clock.fast_forward("15:01")
    expect(page.get_by_role("alert")).to_contain_text("has run out")
    page.get_by_label("API key").fill(stack.key)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".bars .name").first).to_have_text("7")
    expect(page.get_by_label("API key")).to_be_hidden()


def test_a_wrong_key_is_refused_in_plain_words(watched_page: Watched, stack: RunningStack) -> None:
    watched_page.expected.append(REFUSED)
    page = watched_page.page
    page.goto(f"{stack.url}/playground")
    page.get_by_label("API key").fill("gw_dev_wrong")
    page.get_by_role("button", name="Start", exact=True).click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("not accepted")
    alert.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Invalid key")).to_be_visible()


def test_what_is_no_key_and_no_file_is_told_so(
    watched_page: Watched, stack: RunningStack, tmp_path: Path
) -> None:
    """The browser sends neither, and says of both what it says of a gateway that is away."""
    watched_page.expected.append("net::ERR")
    page = watched_page.page
    page.goto(f"{stack.url}/playground")
    page.get_by_label("API key").fill(f"“{stack.key}”")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("characters that no key has")
    sign_in(page, stack.url, stack.key)
    browser = page.context.new_cdp_session(page)
    carried = {"items": [], "files": [str(tmp_path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, "x": 700, "y": 400, "data": carried})
    expect(page.get_by_role("alert")).to_contain_text("may be a folder")


def test_a_picture_needs_no_extension(bench: Page, tmp_path: Path) -> None:
    named = tmp_path / "digit"
    named.write_bytes(DIGIT.read_bytes())
    drop(bench, named)
    expect(bench.locator(".bars .name").first).to_have_text("7")
    expect(bench.locator("#snippet-text")).to_contain_text("Content-Type: image/png")


DROP_BOTH = """(chooser) => {
  for (const file of chooser.files) {
    const carried = new DataTransfer();
    carried.items.add(file);
    document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: carried }));
  }
}"""


READ = """async (chooser) => {
  for (let each = 0; each < 3; each++) {
    const image = new Image();
    image.src = URL.createObjectURL(chooser.files[0]);
    await image.decode();
  }
}"""


def test_the_newest_of_two_pictures_is_what_is_shown(bench: Page, tmp_path: Path) -> None:
    """The first takes the browser longer to read than the second takes to be answered."""
    slow = tmp_path / "slow.jpg"
    with Image.open(SCENE) as scene:
        scene.resize((7200, 5400)).save(slow)
    choose(bench, "digits_detector")
    chooser = bench.evaluate_handle(
        "Object.assign(document.createElement('input'), {type: 'file', multiple: true})"
    )
    chooser.as_element().set_input_files([slow, DIGIT])
    bench.evaluate(DROP_BOTH, chooser)
    shown = bench.locator("#results:not([aria-busy]) img")
    expect(shown).to_have_attribute("alt", "digit.png")
    bench.evaluate(READ, chooser)  # by now it is read
    expect(shown).to_have_attribute("alt", "digit.png")
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_what_is_no_image_is_told_so(watched_page: Watched, stack: RunningStack, tmp_path: Path) -> None:
    watched_page.expected.append(REFUSED)
    page = watched_page.page
    sign_in(page, stack.url, stack.key)
    broken = tmp_path / "broken.png"
    broken.write_bytes(DIGIT.read_bytes()[:2000])
    drop(page, broken)
    expect(page.get_by_role("alert").get_by_role("link", name="What image_truncated means")).to_be_visible()


def test_an_answer_that_cannot_be_read_is_told_so_in_place_of_the_one_before(bench: Page) -> None:
    drop(bench, DIGIT)
    expect(bench.locator(".bars .name").first).to_have_text("7")
    bench.route("**/v1/classify?*", lambda route: route.fulfill(body='{"id": "x", "mod'), times=1)
    drop(bench, DIGIT)
    alert = bench.get_by_role("alert")
    expect(alert).to_contain_text("The answer cannot be read")
    expect(bench.locator("#results")).to_be_hidden()
    alert.get_by_role("button", name="Try again").click()
    expect(bench.locator(".bars .name").first).to_have_text("7")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(lambda route: route.abort(), "The gateway does not answer", id="nobody answers"),
        pytest.param(lambda route: route.fulfill(status=500), "HTTP 500", id="the gateway fails"),
    ],
)
def test_a_sample_that_cannot_be_fetched_is_told_so(
    watched_page: Watched, stack: RunningStack, answer: Callable[[Route], None], told: str
) -> None:
    watched_page.expected += [REFUSED, "net::ERR"]
    page = watched_page.page
    sign_in(page, stack.url, stack.key)
    page.route("**/assets/samples/digit.png", answer, times=1)
    page.get_by_role("button", name="One digit, large").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(told)
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator(".bars .name").first).to_have_text("7")
    expect(alert).to_have_count(0)


def test_a_spent_quota_counts_down(watched_page: Watched, stack: RunningStack) -> None:
    watched_page.expected.append(REFUSED)
    page = watched_page.page
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, stack.url, create_key(stack.at, "poor", "infer", "pin-version", rate="4/40:4"))
    drop(page, DIGIT)
    expect(page.locator(".bars .name").first).to_have_text("7")
    drop(page, DIGIT)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Your quota is spent")
    expect(alert).to_contain_text("You can go on in")
    again = alert.get_by_role("button", name="Try again")
    expect(again).to_be_disabled()
    assert barriers_in_both_themes(page) == []
    expect(alert).to_contain_text("You can go on now", timeout=30_000)
    again.click()
    expect(page.locator(".bars .name").first).to_have_text("7")


def test_the_camera_is_detected_live_over_the_stream(bench: Page, client: httpx.Client) -> None:
    choose(bench, "digits_detector")
    bench.get_by_role("button", name="Camera", exact=True).click()
    bench.get_by_role("button", name="Start live detection").click()
    seen = bench.locator("#live-boxes li")
    expect(seen).not_to_have_count(0)
    expect(bench.locator("#live-figures dd").first).to_have_text(
        re.compile(r"^\d{2,}$")
    )  # ten pictures and more
    expected = {detection["label"] for detection in over_http(client, "/v1/detect")["detections"]}
    assert {text.split()[0] for text in seen.all_inner_texts()} & expected
    assert barriers_in_both_themes(bench) == []
    bench.get_by_role("button", name="Stop").click()
    bench.get_by_role("button", name="Take this picture").click()
    expect(bench.locator(".result .boxes li")).not_to_have_count(0)
    expect(bench.locator("#snippet-text")).to_contain_text("@camera.jpg")


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        pytest.param(1, "The gateway restarts.", id="about a frame, and over"),
        pytest.param(None, "Your quota is spent", id="about the stream"),
    ],
)
def test_why_a_stream_ended_is_what_was_said_of_it(bench: Page, frame: int | None, told: str) -> None:
    problem = {"status": 429, "code": "rate_limited", "title": "Rate limited", "detail": "Slower."}

    def end(socket: WebSocketRoute, _: str | bytes) -> None:
        socket.send(json.dumps({"type": "problem", "frame": frame, "dropped": 0, "problem": problem}))
        socket.close(code=1012)

    bench.route_web_socket(
        "**/v1/detect/stream", lambda socket: socket.on_message(lambda sent: end(socket, sent))
    )
    choose(bench, "digits_detector")
    bench.get_by_role("button", name="Camera", exact=True).click()
    bench.get_by_role("button", name="Start live detection").click()
    expect(bench.locator("#live-state")).to_have_text("off")
    expect(bench.get_by_role("alert")).to_contain_text(told)


def test_no_barrier_in_either_theme_and_it_fits_a_phone(browser: Browser, stack: RunningStack) -> None:
    with watched(browser, viewport=PHONE) as found:
        page = found.page
        sign_in(page, stack.url, stack.key)
        choose(page, "digits_detector")
        page.get_by_label("Compare with").select_option("2")
        page.get_by_role("button", name="A scene of digits").click()
        expect(page.locator(".verdict")).to_be_visible()
        for summary in page.locator("summary").all():
            summary.click()
        assert barriers_in_both_themes(page) == []
        assert overflow(page) == 0
