"""What leaves the gateway about a request: its trace, over two workers and into Triton; its line; and no secret."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from one_trace import complete
from processes import RunningStack, running_stack
from receiver import Received, Receiver, receiving
from support.pictures import digit_picture, encoded
from support.planted import IMAGE_HOST, everywhere, on_the_wire, secret
from support.wire import exchange

CALL = "inference.GRPCInferenceService/ModelInfer"
STAGES = ["auth", "limit", "body", "decode", "queue", CALL, "post"]
CALLER = f"{0xCA11:016x}"
DIGIT = encoded(digit_picture(), "JPEG", quality=95)
SECONDS = 20.0


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture(scope="module")
def traced(receiver: Receiver) -> Iterator[RunningStack]:
    """Two workers that trace all that nobody decided otherwise; Triton traces everything, and has JSON logs."""
    settings = {"trace_endpoint": receiver.url, "trace_ratio": 1, "trace_slow": 60, "log_level": "debug"}
    settings |= {"image_hosts": IMAGE_HOST}
    with running_stack(None, receiver.url, workers=2, **settings) as parts:
        yield parts


def classify(client: httpx.Client, trace_id: str, flags: str = "01") -> httpx.Response:
    headers = {"content-type": "image/jpeg", "traceparent": f"00-{trace_id}-{CALLER}-{flags}"}
    return client.post("/v1/classify", content=DIGIT, headers=headers)


def ours(spans: list[Received]) -> list[Received]:
    return [span for span in spans if span.service == "triton-gateway"]


def access_line(stack: RunningStack, request_id: str) -> dict[str, Any]:
    """What the gateway's log says of a request at its end; libraries' lines with the same id may come before it."""
    end = time.monotonic() + SECONDS
    while True:
        for line in stack.gateway.log.read_text().splitlines(keepends=True):
            whole = request_id in line and line.endswith("\n")
            if whole and (found := json.loads(line))["event"] == "request":
                return dict(found)
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_request_is_one_trace_from_the_caller_to_tritons_own_spans(
    traced: RunningStack, receiver: Receiver
) -> None:
    trace_id = f"{0xA1:032x}"
    with traced.client() as client:
        answer = classify(client, trace_id)
    assert answer.status_code == 200
    spans = receiver.wait_for(trace_id, complete)
    whole, *stages = ours(spans)
    assert (whole.name, whole.kind, whole.parent_id) == ("POST /v1/classify", "server", CALLER)
    assert answer.headers["traceparent"] == f"00-{trace_id}-{whole.span_id}-01"
    assert [stage.name for stage in stages] == STAGES
    assert {stage.parent_id for stage in stages} == {whole.span_id}
    assert all(whole.start <= stage.start <= stage.end <= whole.end for stage in stages)
    call = next(stage for stage in stages if stage.kind == "client")
    request, model, compute = [span for span in spans if span.service == "triton-inference-server"]
    assert request.parent_id == call.span_id
    assert model.parent_id == request.span_id
    assert compute.parent_id == model.span_id
    assert whole.attributes["gateway.request_id"] == answer.headers["x-request-id"]
    assert model.attributes["triton.request_id"] == answer.headers["x-request-id"]


def test_the_log_line_has_the_trace_the_version_and_the_stages(traced: RunningStack) -> None:
    trace_id = f"{0xA2:032x}"
    with traced.client() as client:
        answer = classify(client, trace_id)
    line = access_line(traced, answer.headers["x-request-id"])
    assert line["trace_id"] == trace_id
    assert list(line["stages"]) == ["auth", "limit", "body", "decode", "queue", "triton", "post"]
    assert (line["model"], line["version"], line["variant"]) == ("digits_classifier", "1", "stable")
    assert (line["route"], line["status"], line["tenant"]) == ("/v1/classify", 200, "tests")


def test_a_caller_that_does_not_trace_is_followed_by_triton_alone_which_is_told_so(
    traced: RunningStack, receiver: Receiver
) -> None:
    trace_id, found = f"{0xA3:032x}", list[Received]()
    for _ in range(3):  # Triton gives up a batch that a busy machine takes too long to receive
        with traced.client() as client:
            answer = classify(client, trace_id, flags="00")
        assert "traceparent" not in answer.headers
        # This Triton does not heed the flag. Its spans come after ours would have.
        with contextlib.suppress(TimeoutError):
            found = receiver.wait_for(trace_id, lambda spans: len(spans) >= 3, seconds=20)
            break
    assert found
    assert ours(found) == []


def test_each_of_two_workers_sends_its_spans(traced: RunningStack, receiver: Receiver) -> None:
    answers = []
    for _ in range(24):  # each on a connection of its own
        with traced.client() as client:
            answers.append(client.get("/v1/models"))
    wanted = {answer.headers["traceparent"].split("-")[1] for answer in answers}
    assert len(wanted) == 24
    for trace_id in wanted:
        receiver.wait_for(trace_id, lambda spans: any(span.kind == "server" for span in spans))
    senders = {span.instance for span in receiver.spans if span.trace_id in wanted}
    assert len(senders) == 2


def test_a_secret_in_any_field_of_a_request_is_in_nothing_that_leaves_the_gateway(
    traced: RunningStack, receiver: Receiver
) -> None:
    requests = list(everywhere(DIGIT))
    answers: dict[str, list[str]] = {}
    trace_id = ""
    for request in requests:
        with traced.client() as client:
            if not request.key:
                del client.headers["x-api-key"]
            answer = client.request(
                request.method, request.path, content=request.body, headers=dict(request.headers)
            )
        trace_id = answer.headers.get("traceparent", f"-{trace_id}").split("-")[1]
        answers.setdefault(request.place, []).append(answer.text)
        assert answer.status_code < 500, request
    for place, request_bytes in on_the_wire().items():
        (refused,) = exchange(traced.at, request_bytes)
        assert 400 <= refused.status < 500, (place, refused)
        answers[place] = [refused.body.decode()]
    receiver.wait_for(trace_id, lambda spans: any(span.kind == "server" for span in spans))
    with traced.client() as client:
        access_line(traced, classify(client, f"{0xA4:032x}").headers["x-request-id"])
        output = {
            "log": traced.gateway.log.read_bytes(),
            "triton's log": traced.triton.log.read_bytes(),
            "metrics": client.get("/metrics").content,
            "traces": b"".join(receiver.bodies),
        }
    places = answers.keys()
    leaks = [
        (place, name) for place in places for name, text in output.items() if secret(place).encode() in text
    ]
    assert leaks == []
    # An answer goes to the caller alone, who wrote it; but it may be kept or shown where a credential must not be.
    credentials = ("authorization", "x-api-key", "cookie", "jwt", "query", "tracestate", "image", "exif")
    credentials += ("url", "wire-query", "wire-key", "wire-host", "wire-hosts", "wire-long-header")
    assert [place for place in credentials if secret(place) in "".join(answers.get(place, []))] == []
