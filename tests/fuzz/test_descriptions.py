"""schemathesis on a real gateway: what its description and the Open Inference Protocol's promise is what it does."""

import re
from subprocess import CompletedProcess

import httpx
from fuzz import own_description, protocol_description
from processes import RunningStack
from stack import ROOT

SEED = 7  # the same cases each time; `make fuzz` draws others
DIGIT = (ROOT / "clients" / "samples" / "digit.png").read_bytes()


def found_nothing(done: "CompletedProcess[str]", stack: RunningStack, *, least: int) -> None:
    """Passes where so many cases were tried, none of them failed, and the gateway is as it was."""
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    tried = re.search(r"(\d+) generated", done.stdout)
    assert tried is not None, done.stdout
    assert int(tried[1]) >= least
    with stack.client() as http:
        answer = http.post("/v1/classify", content=DIGIT, headers={"Content-Type": "image/png"})
        assert answer.json()["results"][0]["predictions"][0]["label"] == "7"
        assert http.get("/readyz").status_code == httpx.codes.OK


def test_the_gateway_does_what_its_own_description_says(stack: RunningStack) -> None:
    found_nothing(own_description(stack, 12, seed=SEED, quiet=True), stack, least=100)


def test_the_gateway_does_what_the_protocol_says(stack: RunningStack) -> None:
    found_nothing(protocol_description(stack, 6, seed=SEED, quiet=True), stack, least=50)
