"""Answers that come one by one: Triton's generate extension in front of a real Triton and a model that streams."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from exposition import Exposition
from processes import RunningStack

STREAM = "/v2/models/words_stream/generate_stream"
ONCE = "/v2/models/words_stream/generate"


def events(client: httpx.Client, path: str = STREAM, **document: object) -> list[dict[str, Any]]:
    """Everything that a stream tells."""
    with client.stream("POST", path, json=document) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]


def in_flight(client: httpx.Client, stack: RunningStack) -> float:
    text = client.get("/metrics", headers={"x-api-key": stack.admin_key}).text
    return Exposition(text).total("gateway_calls_in_flight", model="words_stream")


def until(true: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def test_each_answer_is_an_event(client: httpx.Client) -> None:
    told = events(client, TEXT="one by one", id="mine")
    assert [each["WORD"] for each in told] == ["one", "by", "one"]
    assert [each["INDEX"] for each in told] == [0, 1, 2]
    assert {(each["model_name"], each["model_version"], each["id"]) for each in told} == {
        ("words_stream", "1", "mine")
    }


def test_answers_come_as_they_are_made(client: httpx.Client) -> None:
    arrived = []
    with client.stream("POST", STREAM, json={"TEXT": "a b c", "parameters": {"delay_ms": 700}}) as answer:
        assert answer.headers["x-model-version"] == "1"
        arrived = [time.monotonic() for line in answer.iter_lines() if line]
    assert len(arrived) == 3
    assert arrived[1] - arrived[0] > 0.3
    assert arrived[2] - arrived[1] > 0.3


def test_a_stream_without_answers_is_empty(client: httpx.Client) -> None:
    assert events(client, TEXT="  ") == []


def test_one_answer_may_come_as_json(client: httpx.Client) -> None:
    answer = client.post(ONCE, json={"TEXT": "word"})
    assert answer.status_code == 200
    assert answer.json() == {"model_name": "words_stream", "model_version": "1", "WORD": "word", "INDEX": 0}
    several = client.post(ONCE, json={"TEXT": "two words"})
    assert (several.status_code, "2 answers" in several.json()["error"]) == (400, True)


def test_a_model_that_answers_once_generates_too(client: httpx.Client) -> None:
    values = {"images": [0] * 1024}
    answer = client.post("/v2/models/digits_classifier/generate", json=values)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["logits"]) == 10
    assert answer.headers["x-model-variant"] == "stable"
    (only,) = events(client, "/v2/models/digits_classifier/versions/2/generate_stream", **values)
    assert only["model_version"] == "2"


def test_a_failure_at_the_beginning_is_an_answer_with_its_status(client: httpx.Client) -> None:
    answer = client.post(STREAM, json={"TEXT": "a b", "fail_at": 0})
    assert answer.status_code == 502
    assert list(answer.json()) == ["error"]
    assert "told to fail" not in answer.text


def test_a_delay_that_is_none_is_a_failure_and_not_an_empty_stream(client: httpx.Client) -> None:
    answer = client.post(STREAM, json={"TEXT": "a b", "parameters": {"delay_ms": "x"}})
    assert answer.status_code == 502
    assert list(answer.json()) == ["error"]


def test_a_failure_on_the_way_is_the_last_event(client: httpx.Client) -> None:
    told = events(client, TEXT="a b c", fail_at=2)
    assert [each.get("WORD") for each in told] == ["a", "b", None]
    assert "Model failed" in told[-1]["error"]
    assert "told to fail" not in told[-1]["error"]


def test_a_deadline_on_the_way_is_the_last_event(client: httpx.Client) -> None:
    headers = {"x-request-timeout": "1500"}
    document = {"TEXT": "a b c d e f", "parameters": {"delay_ms": 500}}
    with client.stream("POST", STREAM, json=document, headers=headers) as answer:
        told = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    assert 1 <= len(told) <= 5
    assert told[0]["WORD"] == "a"
    assert "Deadline exceeded" in told[-1]["error"]


def test_who_leaves_does_not_end_the_call_and_nothing_stays(
    client: httpx.Client, stack: RunningStack
) -> None:
    document = {"TEXT": " ".join("word" for _ in range(60)), "parameters": {"delay_ms": 30}}
    for _ in range(5):
        with client.stream("POST", STREAM, json=document) as answer:
            next(answer.iter_lines())
    until(lambda: in_flight(client, stack) == 0)
    assert stack.triton.popen.poll() is None
    assert [each["WORD"] for each in events(client, TEXT="still here")] == ["still", "here"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        pytest.param(b"[]", "JSON object", id="no object"),
        pytest.param(b"{", "not valid JSON", id="no JSON"),
        pytest.param(b"{}", "inputs", id="no input"),
        pytest.param(b'{"TEXT": 5}', "TEXT", id="a number for a text"),
        pytest.param(b'{"TEXT": ["a", "b"]}', "TEXT", id="too many elements"),
        pytest.param(b'{"TEXT": "a", "parameters": 1}', "parameters", id="parameters that are none"),
        pytest.param(b'{"TEXT": "a", "parameters": {"x": [1]}}', "parameters", id="a list as a parameter"),
        pytest.param(b'{"TEXT": "a", "triton_x": 1}', "parameters", id="a parameter of Triton's own"),
    ],
)
def test_what_does_not_fit_is_refused_in_the_protocols_words(
    client: httpx.Client, body: bytes, named: str
) -> None:
    answer = client.post(STREAM, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["error"]


def test_a_streaming_model_refuses_plain_inference(client: httpx.Client) -> None:
    tensor = {"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    answer = client.post("/v2/models/words_stream/infer", json={"inputs": [tensor]})
    assert answer.status_code == 400
    assert "generate_stream" in answer.json()["error"]


def test_unknown_models_and_callers_are_refused_as_elsewhere(client: httpx.Client) -> None:
    assert client.post("/v2/models/nothing/generate_stream", json={"TEXT": "a"}).status_code == 404
    assert client.post(STREAM, json={"TEXT": "a"}, headers={"x-api-key": "nobody"}).status_code == 401
