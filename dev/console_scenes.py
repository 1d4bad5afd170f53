"""What the console is photographed with: callers, a plan that runs, a canary that is compared, each of the views."""

import io
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page
from processes import RunningStack
from stack import ROOT
from traffic import END_USER, calling

# Programs of a folder of their own, which runs in the exporters' environment too and is no package.
sys.path.append(str(ROOT / "triton" / "export"))
from evaluate import pictures, wide_scenes  # type: ignore[import-not-found]

CLASSIFIER, DETECTOR = "digits_classifier", "digits_detector"
_STEPS = [(500, 20), (2500, 600), (5000, 600), (10_000, 600)]  # basis points, seconds


@contextmanager
def rollouts(stack: RunningStack) -> Iterator[None]:
    """Digits and scenes from many end users; returns when the classifier's plan has reached its second step."""
    digits = [_file(picture.pixels, "PNG") for picture in pictures()[:400]]
    scenes = [_file(case.pixels, "JPEG") for case in wide_scenes()[:60]]
    with ExitStack() as callers, _operator(stack) as operator:
        _administer(operator)
        callers.enter_context(calling(stack, f"/v1/classify?model={CLASSIFIER}", digits, rate=20))
        callers.enter_context(
            calling(stack, f"/v1/detect?model={DETECTOR}", scenes, rate=2, media_type="image/jpeg")
        )
        time.sleep(20)  # what was before the rollout is part of the picture
        steps = [{"weight": weight, "seconds": seconds, "min_requests": 20} for weight, seconds in _STEPS]
        guard = {"min_requests": 20, "latency_factor": 5, "min_agreement": 0.8}
        _amend(operator, CLASSIFIER, canary="2", weight=None, steps=steps, mirror=5000, guard=guard)
        _amend(operator, DETECTOR, canary="2", weight=0, mirror=10_000)
        while operator.get(f"/admin/v1/canaries/{CLASSIFIER}").json()["step"] < 1:
            time.sleep(0.5)
        time.sleep(30)
        yield


@contextmanager
def _operator(stack: RunningStack) -> Iterator[httpx.Client]:
    headers = {"x-api-key": stack.admin_key}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=30, trust_env=False) as client:
        yield client


def _administer(operator: httpx.Client) -> None:
    """Some keys, one of them gone again, and a model that was loaded anew."""
    made = [
        operator.post(
            "/admin/v1/keys", json={"tenant": tenant, "scopes": ["infer"], "models": [model]}
        ).json()
        for tenant, model in (("shop", CLASSIFIER), ("warehouse", DETECTOR), ("trial", CLASSIFIER))
    ]
    operator.post(f"/admin/v1/keys/{made[0]['id']}/rotate", json={"overlap": 86_400}).raise_for_status()
    operator.delete(f"/admin/v1/keys/{made[2]['id']}").raise_for_status()
    operator.post("/admin/v1/models/languages_bert/load").raise_for_status()


def _amend(operator: httpx.Client, model: str, **wanted: Any) -> None:
    path = f"/admin/v1/canaries/{model}"
    tag = {"if-match": operator.get(path).headers["etag"]}
    document = {"sticky": f"header:{END_USER}", **wanted}
    operator.patch(path, json=document, headers=tag).raise_for_status()


def _file(pixels: Any, kind: str) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, kind)
    return held.getvalue()


def sign_in(page: Page, stack: RunningStack) -> None:
    page.goto(f"{stack.url}/console")
    page.get_by_label("API key").wait_for()


def rollout(page: Page, stack: RunningStack) -> None:
    _open(page, stack, f"rollouts/{CLASSIFIER}")
    page.get_by_text("compared").first.wait_for()


def preflight(page: Page, stack: RunningStack) -> None:
    """A weight that is about to be applied, with the answer to it unfolded."""
    _open(page, stack, f"rollouts/{DETECTOR}")
    page.get_by_label("Weight of the canary").fill("20")
    page.get_by_text("checks").click()


def disagreements(page: Page, stack: RunningStack) -> None:
    _open(page, stack, f"rollouts/{DETECTOR}")
    page.locator(".disagreements img").first.wait_for()
    page.get_by_role("heading", name="Disagreements").evaluate("heading => heading.scrollIntoView()")
    page.mouse.wheel(0, -90)


def workers(page: Page, stack: RunningStack) -> None:
    _open(page, stack, "workers")


def models(page: Page, stack: RunningStack) -> None:
    _open(page, stack, "models")
    page.get_by_role("button", name="Unload").first.wait_for()


def keys(page: Page, stack: RunningStack) -> None:
    _open(page, stack, "keys")
    page.get_by_role("button", name="Revoke").first.wait_for()


def audit(page: Page, stack: RunningStack) -> None:
    _open(page, stack, "audit")
    page.locator(".log time").first.wait_for()


SCENES: Mapping[str, Any] = {
    "console-sign-in": sign_in,
    "console-rollout": rollout,
    "console-preflight": preflight,
    "console-disagreements": disagreements,
    "console-workers": workers,
    "console-models": models,
    "console-keys": keys,
    "console-audit": audit,
    "console-phone": rollout,
}


def _open(page: Page, stack: RunningStack, view: str) -> None:
    page.goto(f"{stack.url}/console#/{view}")
    page.get_by_label("API key").fill(stack.admin_key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    page.wait_for_timeout(3000)  # two words of the live stream
