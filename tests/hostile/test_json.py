"""JSON bodies that are broken, lie or are too much."""

import base64
import json
import time
from typing import Any

import httpx
import pytest
from processes import RunningStack
from support.hostile import MIB, assert_problem, cost_of

JSON = "application/json"


@pytest.fixture
def image(digit: bytes) -> str:
    """The digit in base64."""
    return base64.b64encode(digit).decode()


def post(client: httpx.Client, body: bytes, media_type: str | None = JSON) -> httpx.Response:
    headers = {} if media_type is None else {"Content-Type": media_type}
    return client.post("/v1/classify", content=body, headers=headers)


def post_document(client: httpx.Client, document: object) -> httpx.Response:
    return post(client, json.dumps(document).encode())


def one_image(image: str, **options: object) -> dict[str, Any]:
    return {"inputs": [{"image": image}], **options}


def test_the_document_that_the_others_are_made_from_is_answered(
    client: httpx.Client, image: str, results: list[dict[str, Any]]
) -> None:
    response = post_document(client, one_image(image))
    assert response.status_code == 200
    assert response.json()["results"] == results


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="an empty body"),
        pytest.param(b"{", id="a document that ends early"),
        pytest.param(b"[" * 9_000, id="9,000 opening brackets"),
        pytest.param(b'{"inputs":' * 9_000, id="9,000 objects inside each other"),
        pytest.param(b'{"inputs": [{"image": "\xff\xfe"}]}', id="bytes that are not UTF-8"),
        pytest.param(rb'{"inputs": [{"image": "\ud800"}]}', id="a lone surrogate"),
        pytest.param(b'\xef\xbb\xbf{"inputs": []}', id="a byte order mark"),
        pytest.param('{"inputs": []}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"inputs": [], "inputs": []}', id="the same key twice"),
        pytest.param(b'{"inputs": [{"image": "", "image": ""}]}', id="the same key twice, further in"),
        pytest.param(b'{"inputs": [{"image": ""}], "min_score": NaN}', id="NaN"),
        pytest.param(b'{"inputs": [{"image": ""}], "min_score": Infinity}', id="Infinity"),
        pytest.param(b'{"inputs": [{"image": ""}], "min_score": -Infinity}', id="minus Infinity"),
        pytest.param(b'{"inputs": [{"image": ""}], "min_score": 1e999}', id="a number beyond the largest"),
        pytest.param(b'{"inputs": [{"image": -1e999}]}', id="a number beyond the largest where none belongs"),
        pytest.param(b'{"inputs": [{"image": ""}], "top_k": 1' + b"0" * 9999 + b"}", id="10,000 digits"),
    ],
)
def test_what_is_not_strict_json_is_malformed(client: httpx.Client, body: bytes) -> None:
    assert_problem(post(client, body), 400, "malformed_json")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param([], id="an array at the top"),
        pytest.param("inputs", id="a string at the top"),
        pytest.param(None, id="null at the top"),
        pytest.param({}, id="no inputs"),
        pytest.param({"inputs": []}, id="an empty list of inputs"),
        pytest.param({"inputs": [{}] * 17}, id="more inputs than one request may have"),
        pytest.param({"inputs": [{"image": 1}]}, id="a number for an image"),
        pytest.param({"inputs": [{"image": None}]}, id="null for an image"),
        pytest.param({"inputs": [{"image": ["aGk="]}]}, id="a list for an image"),
        pytest.param({"inputs": [{"image": "aGk=", "url": "https://example.com"}]}, id="both image and URL"),
        pytest.param({"inputs": [{}]}, id="neither image nor URL"),
        pytest.param({"inputs": [{"image": "aGk=", "name": "x"}]}, id="an unknown field in an input"),
    ],
)
def test_a_document_of_the_wrong_shape_fails_validation(client: httpx.Client, document: object) -> None:
    response = post_document(client, document)
    assert_problem(response, 422, "validation_failed")
    assert response.json()["errors"]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"colour": "blue"}, id="an unknown field"),
        pytest.param({"priority": "root"}, id="a priority, which nobody may set yet"),
        pytest.param({"model": "../digits_classifier"}, id="a path for a model"),
        pytest.param({"classes": ["1" * 5000]}, id="a class of 5,000 digits"),
        pytest.param({"top_k": True}, id="true for a number"),
        pytest.param({"min_score": "0.5"}, id="text for a number"),
        pytest.param({"version": True}, id="true for a version"),
    ],
)
def test_an_option_that_is_not_one_fails_validation(
    client: httpx.Client, image: str, options: dict[str, object]
) -> None:
    response = post_document(client, one_image(image, **options))
    assert_problem(response, 422, "validation_failed")
    assert response.json()["errors"]


VERSIONS = [
    pytest.param("1/../2", id="a path"),
    pytest.param("-1", id="a negative number"),
    pytest.param("01", id="a leading zero"),
    pytest.param("0", id="zero"),
    pytest.param("", id="nothing"),
    pytest.param("1\n", id="a line break at the end"),
    pytest.param("\u0661", id="a digit of another script"),
    pytest.param(str(2**63), id="the first number that is too large"),
    pytest.param("9" * 5000, id="5,000 digits"),
]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_in_the_body_that_is_not_one_fails_validation(
    client: httpx.Client, image: str, version: str
) -> None:
    assert_problem(post_document(client, one_image(image, version=version)), 422, "validation_failed")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_in_the_query_that_is_not_one_fails_validation(
    client: httpx.Client, digit: bytes, version: str
) -> None:
    response = client.post(
        "/v1/classify", params={"version": version}, content=digit, headers={"Content-Type": "image/png"}
    )
    assert_problem(response, 422, "validation_failed")


@pytest.mark.parametrize("version", [-1, 0, 2**63, 10**4000])
def test_a_number_that_is_no_version_fails_validation(
    client: httpx.Client, digit: bytes, version: int
) -> None:
    document = json.dumps(one_image(base64.b64encode(digit).decode(), version="V"))
    # Written by hand: Python does not print numbers of this length.
    number = "1" + "0" * 4000 if version == 10**4000 else str(version)
    assert_problem(post(client, document.replace('"V"', number).encode()), 422, "validation_failed")


@pytest.mark.parametrize("model", ["digits_classifier2", "nobody", "a" * 128])
def test_an_unknown_model_is_not_found(client: httpx.Client, image: str, model: str) -> None:
    assert_problem(post_document(client, one_image(image, model=model)), 404, "model_not_found")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("!!!!", id="characters outside the alphabet"),
        pytest.param("aGk", id="missing padding"),
        pytest.param("aGk==", id="too much padding"),
        pytest.param("aGk=aGk=", id="padding in the middle"),
        pytest.param("aGkh\naGkh", id="a line break"),
        pytest.param(" aGkh", id="a space in front"),
        pytest.param("aGkhaGkh ", id="a space behind"),
        pytest.param("-_-_", id="the alphabet for URLs"),
        pytest.param("äöü=", id="letters beyond ASCII"),
        pytest.param("aGkh\u0000", id="a NUL"),
        pytest.param("data:image/png;base64,aGkh", id="a data: URI"),
    ],
)
def test_what_is_not_standard_base64_is_refused(client: httpx.Client, text: str) -> None:
    assert_problem(post_document(client, one_image(text)), 422, "invalid_base64")


def test_an_image_of_no_bytes_is_empty(client: httpx.Client) -> None:
    assert_problem(post_document(client, one_image("")), 422, "image_empty")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            b'{"inputs": [{"image": "' + base64.b64encode(bytes(11 * MIB)) + b'"}]}', id="base64 of 11 MB"
        ),
        pytest.param(b" " * 20 * MIB + b"{}", id="20 MB of spaces before a document"),
        pytest.param(b'{"inputs": [' + b"0," * 4 * MIB + b"0]}", id="four million numbers"),
        pytest.param(b'{"inputs": [' + b"[]," * 3 * MIB + b"0]}", id="three million lists"),
        pytest.param(
            b"{" + b",".join(b'"%d":0' % key for key in range(500_000)) + b"}",
            id="half a million unknown fields",
        ),
        pytest.param(
            b'{"inputs": [' + b",".join([b"[" * 190 + b"]" * 190] * 9990) + b"]}", id="lists in lists"
        ),
        pytest.param(
            b'{"inputs": [' + b",".join([b'{"":' * 190 + b"1" + b"}" * 190] * 8990) + b"]}",
            id="objects in objects",
        ),
    ],
)
def test_a_body_that_is_too_much_is_refused_before_it_costs_memory(
    client: httpx.Client, stack: RunningStack, body: bytes
) -> None:
    with cost_of(stack.gateway.popen.pid) as cost:
        response = post(client, body)
    assert_problem(response, 413, "body_too_large")
    assert cost.memory < 50 * MIB


@pytest.mark.parametrize(
    "media_type", [None, "", "text/plain", "application/jsonp", "application/x-www-form-urlencoded"]
)
def test_json_has_to_say_that_it_is_json(client: httpx.Client, image: str, media_type: str | None) -> None:
    body = json.dumps(one_image(image)).encode()
    assert_problem(post(client, body, media_type), 415, "unsupported_media_type")


@pytest.mark.parametrize("each", [b"{}", b"[]", b"0"])
def test_of_ten_thousand_inputs_none_is_looked_at(client: httpx.Client, each: bytes) -> None:
    response = post(client, b'{"inputs": [' + b",".join([each] * 9_990) + b"]}")
    assert_problem(response, 422, "validation_failed")
    assert [error["pointer"] for error in response.json()["errors"]] == ["/inputs"]


def test_ten_thousand_wrong_fields_are_told_in_few_words_and_little_time(client: httpx.Client) -> None:
    began = time.monotonic()
    response = post_document(client, {str(key): 0 for key in range(9_999)})
    assert_problem(response, 422, "validation_failed")
    assert len(response.json()["errors"]) <= 20
    assert time.monotonic() - began < 1  # about 15 ms; the rest is room for a busy machine
