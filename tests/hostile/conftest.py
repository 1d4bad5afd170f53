"""A good picture and its answer, and after every test the proof that the gateway still gives it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.hostile import Classify
from support.pictures import digit_picture, encoded


@pytest.fixture(scope="session")
def digit() -> bytes:
    """A sound PNG of a handwritten 3."""
    return encoded(digit_picture())


@pytest.fixture(scope="session")
def digit_jpeg() -> bytes:
    """The same digit as a JPEG, its answer is close to the PNG's."""
    return encoded(digit_picture(), "JPEG", quality=95)


@pytest.fixture(scope="session")
def classify(client: httpx.Client) -> Classify:
    """Posts bytes as a raw image."""

    def post(content: bytes) -> httpx.Response:
        return client.post("/v1/classify", content=content, headers={"Content-Type": "image/png"})

    return post


@pytest.fixture(scope="session")
def results(classify: Classify, digit: bytes) -> list[dict[str, Any]]:
    """What the gateway answers for the digit while nothing is wrong."""
    answer: list[dict[str, Any]] = classify(digit).json()["results"]
    assert answer[0]["predictions"][0]["label"] == "3"
    return answer


@pytest.fixture(autouse=True)
def still_answers(classify: Classify, digit: bytes, results: list[dict[str, Any]]) -> Iterator[None]:
    """After whatever the test has sent, the good picture gets the answer that it always had."""
    yield
    assert classify(digit).json()["results"] == results
