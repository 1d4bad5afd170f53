"""Class and deadline of a request reach Triton: a model with a queue of Triton's own, levels and timeouts set, obeys.

The model runs one call at a time and answers with the number of the call, so every answer tells when its turn was.
"""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image
from processes import RunningStack, running_stack
from support.pictures import encoded
from support.repositories import add_model

BATCH, INTERACTIVE = {"priority": "u=6"}, {"priority": "u=1"}
MOMENT = 0.01  # seconds that a short call takes


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for each test, as the gateway expects of a model what it measured before."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("overtaking", "expiring"):
        add_model(folder, "levels", ["1"], name=name)
    return folder


@pytest.fixture(scope="module")
def levels(repository: Path) -> Iterator[RunningStack]:
    with running_stack(repository) as parts:
        yield parts


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


def test_an_interactive_request_overtakes_the_batch_requests_that_wait_in_triton(
    levels: RunningStack, repository: Path, callers: ThreadPoolExecutor
) -> None:
    with levels.client() as http:
        send = sender(http, callers, "overtaking")
        running = send(BATCH, seconds=2)
        until(lambda: begun(repository / "overtaking") == 1)
        waiting = [send(BATCH) for _ in range(6)]
        until(lambda: pending(levels, "overtaking") == 6)
        interactive = send(INTERACTIVE)
        until(lambda: pending(levels, "overtaking") == 7)
        last = send(BATCH)
        until(lambda: pending(levels, "overtaking") == 8)

        assert not running.done()
        assert turn(running) == 1
        assert turn(interactive) == 2
        assert sorted(map(turn, waiting)) == [3, 4, 5, 6, 7, 8]
        assert turn(last) == 9


def test_a_request_that_waited_in_triton_for_longer_than_it_may_is_refused_and_never_run(
    levels: RunningStack, repository: Path, callers: ThreadPoolExecutor
) -> None:
    """Triton counts what it refuses for its queue timeout as rejected; what only the call's own deadline ended, it
    counts as cancelled. It looks at the time when a request's turn comes, so the timeouts lie close together.
    """
    with levels.client() as http:
        send = sender(http, callers, "expiring")
        running = send(BATCH, seconds=1.5)
        until(lambda: begun(repository / "expiring") == 1)
        impatient = [send(INTERACTIVE | {"x-request-timeout": str(ms)}) for ms in range(400, 2400, 125)]
        answers = [future.result() for future in impatient]
        late = [answer for answer in answers if answer.status_code == 504]

        assert turn(running) == 1
        assert {answer.json()["code"] for answer in late} == {"deadline_exceeded"}
        until(lambda: sum(failures(levels, "expiring").values()) == len(late))
        assert failures(levels, "expiring")["REJECTED"] >= 1
        assert begun(repository / "expiring") == 1 + len(answers) - len(late)


Sender = Callable[..., "Future[httpx.Response]"]


def sender(http: httpx.Client, callers: ThreadPoolExecutor, model: str) -> Sender:
    """Sends a picture that takes the model so long, with these headers, on a thread of its own."""

    def send(headers: dict[str, str], seconds: float = MOMENT) -> "Future[httpx.Response]":
        content = encoded(Image.new("L", (4, 4), round(100 * seconds)))
        url = f"/v1/classify?model={model}&top_k=1"
        return callers.submit(
            http.post, url, content=content, headers={"content-type": "image/png", **headers}
        )

    return send


def turn(answer: "Future[httpx.Response]") -> int:
    """The number that the model gave to this call."""
    response = answer.result()
    assert response.status_code == 200, response.text
    return int(response.json()["results"][0]["predictions"][0]["label"])


def begun(model: Path) -> int:
    """How many calls the model has begun."""
    text = (model / "begun").read_text() if (model / "begun").exists() else ""
    return int(text or 0)


def pending(parts: RunningStack, model: str) -> int:
    """Requests that wait in Triton's queue for the model; the one that runs is not among them."""
    return metrics(parts, "nv_inference_pending_request_count", model)[""]


def failures(parts: RunningStack, model: str) -> dict[str, int]:
    """Requests that Triton ended without an answer, by reason."""
    return metrics(parts, "nv_inference_request_failure", model)


def metrics(parts: RunningStack, name: str, model: str) -> dict[str, int]:
    """The metric's values for the model, by reason where it has reasons."""
    url = f"http://{parts.at.triton_address}:{parts.at.triton_metrics_port}/metrics"
    text = httpx.get(url, trust_env=False).text
    found = re.findall(
        rf'^{name}\{{model="{model}",(?:reason="(\w+)",)?version="1"\}} (\d+)$', text, re.MULTILINE
    )
    return {reason: int(value) for reason, value in found}


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.01)
