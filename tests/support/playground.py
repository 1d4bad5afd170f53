"""Hands for the playground: sign in, drop a file on it."""

import base64
from pathlib import Path

from playwright.sync_api import Page, expect
from stack import ROOT

DIGIT = ROOT / "clients" / "samples" / "digit.png"
SCENE = ROOT / "clients" / "samples" / "scene.jpg"
REFUSED = "the server responded with a status of"

DROP = """([name, type, data, kind]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type }));
  const events = kind === "paste"
    ? [new ClipboardEvent("paste", { bubbles: true, clipboardData: carried })]
    : ["dragenter", "dragover", "drop"].map((name) => new DragEvent(name, { bubbles: true, dataTransfer: carried }));
  for (const event of events) document.body.dispatchEvent(event);
}"""


def sign_in(page: Page, url: str, key: str) -> None:
    page.goto(f"{url}/playground")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_label("Model", exact=True)).to_be_visible()


def drop(page: Page, path: Path, kind: str = "drop") -> None:
    media_type = {".png": "image/png", ".jpg": "image/jpeg"}.get(path.suffix, "text/plain")
    page.evaluate(DROP, [path.name, media_type, base64.b64encode(path.read_bytes()).decode(), kind])
