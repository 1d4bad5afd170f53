"""The API's description as people read it: offline, in both themes; and the code for pages that the guides show."""

import re

import httpx
from playwright.sync_api import Page, expect
from processes import RunningStack
from stack import ROOT


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


def test_descriptions_of_groups_have_room_on_a_phone(page: Page, stack: RunningStack) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{stack.url}/docs")
    described = page.locator(".opblock-tag small")
    expect(described.first).to_be_visible()
    widths = [text.bounding_box() for text in described.all() if text.inner_text()]
    assert min(box["width"] for box in widths if box) > 200


def test_a_reader_authorizes_with_a_key_and_tries_a_call(page: Page, stack: RunningStack) -> None:
    page.goto(f"{stack.url}/docs")
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    known = dialog.locator(".auth-container", has_text="X-API-Key").last
    expect(known.locator("input")).to_be_focused()
    known.locator("input").fill(stack.key)
    known.get_by_role("button", name="Apply credentials").click()
    known.get_by_role("button", name="Close").click()
    page.locator("#operations-models-models button").first.click()
    operation = page.locator("#operations-models-models")
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response")
    expect(answer.locator(".response-col_status")).to_have_text("200")
    expect(answer.get_by_text("digits_classifier").first).to_be_visible()


STREAM = """async ([token, picture]) => {
  const image = new Image();
  image.src = picture;
  await image.decode();
  const camera = document.createElement("canvas");
  [camera.width, camera.height] = [image.naturalWidth, image.naturalHeight];
  camera.getContext("2d").drawImage(image, 0, 0);
  return new Promise((done) => {
    const answers = [];
    const draw = (detections) => {
      answers.push(detections.map(({ label }) => label));
      if (answers.length === 3) done(answers);
    };
    CODE
  });
}"""


def test_the_guides_code_for_a_stream_works_on_a_page(
    page: Page, stack: RunningStack, client: httpx.Client
) -> None:
    guide = (ROOT / "docs" / "streams.md").read_text()
    (code,) = re.findall(r"^```js\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    code = code.replace("wss://gateway.example", stack.url.replace("http", "ws"))
    token = client.post("/v1/tokens", json={"origins": [stack.url]}).json()["token"]
    page.goto(stack.url)
    answers = page.evaluate(STREAM.replace("CODE", code), [token, "/assets/samples/scene.jpg"])
    assert answers[0] == answers[1] == answers[2] != []
