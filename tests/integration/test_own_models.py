"""docs/models.md, done: a folder with a network and its parameters is served, whatever kind of head it has."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from processes import RunningStack, running_stack
from support.networks import always, config, mean_of_channels
from support.pictures import encoded

SIDE = 16
PLAIN = {"resize": "stretch", "value_range": "0..255"}

END2END = np.array([[4, 4, 12, 12, 0.9, 1], [0, 0, 8, 8, 0.4, 0], [0, 0, 0, 0, 0, 0]], np.float32)
LOGITS = np.array([[0, 6, 0], [0, 0, 6]], np.float32)  # a dog, and nothing
PRED_BOXES = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1, 1]], np.float32)


def folder(
    repository: Path, name: str, outputs: Mapping[str, NDArray[np.float32]], parameters: Mapping[str, str]
) -> None:
    always(repository / name / "1" / "model.onnx", SIDE, outputs)
    dims = {output: array.shape for output, array in outputs.items()}
    (repository / name / "config.pbtxt").write_text(config(name, dims, SIDE, {**PLAIN, **parameters}))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    repository = tmp_path_factory.mktemp("models")
    mean_of_channels(repository / "colours" / "1" / "model.onnx", SIDE)
    parameters = {"task": "image-classification", "labels": "blue\ngreen\nred", "channels": "BGR", **PLAIN}
    (repository / "colours" / "config.pbtxt").write_text(
        config("colours", {"scores": (3, 1, 1)}, SIDE, parameters)
    )
    pets = {"task": "object-detection", "labels": "cat\ndog"}
    folder(repository, "suppressed", {"found": END2END}, {**pets, "boxes": "end2end"})
    folder(
        repository,
        "queries",
        {"logits": LOGITS, "pred_boxes": PRED_BOXES},
        {**pets, "boxes": "detr", "min_score": "0.5"},
    )
    with running_stack(repository) as stack:
        yield stack


@pytest.fixture
def client(parts: RunningStack) -> Iterator[httpx.Client]:
    with parts.client() as http:
        yield http


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (64, 32)) -> bytes:
    return encoded(Image.new("RGB", size, colour))


def ask(client: httpx.Client, path: str, data: bytes) -> httpx.Response:
    return client.post(path, content=data, headers={"content-type": "image/png"})


@pytest.mark.parametrize(
    ("colour", "label"), [((200, 10, 10), "red"), ((10, 200, 10), "green"), ((10, 10, 200), "blue")]
)
def test_a_classifier_whose_channels_are_the_other_way_round_says_the_right_colour(
    client: httpx.Client, colour: tuple[int, int, int], label: str
) -> None:
    answer = ask(client, "/v1/classify?model=colours", picture(colour))
    assert answer.status_code == 200, answer.text
    best = answer.json()["results"][0]["predictions"][0]
    assert best["label"] == label
    assert best["score"] > 0.99


def test_a_detector_with_suppression_inside_has_its_boxes_in_the_original_image(client: httpx.Client) -> None:
    answer = ask(client, "/v1/detect?model=suppressed", picture((0, 0, 0)))
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["results"][0]["detections"]
    assert (first["label"], first["score"]) == ("dog", 0.9)
    assert first["box"] == {"x_min": 16, "y_min": 8, "x_max": 48, "y_max": 24}
    assert (second["label"], second["box"]["x_max"]) == ("cat", 32)


def test_a_detector_of_queries_needs_no_suppression(client: httpx.Client) -> None:
    answer = ask(client, "/v1/detect?model=queries", picture((0, 0, 0)))
    assert answer.status_code == 200, answer.text
    (only,) = answer.json()["results"][0]["detections"]
    assert only["label"] == "dog"
    assert only["box"] == {"x_min": 16, "y_min": 8, "x_max": 48, "y_max": 24}


def test_several_images_are_one_batch(client: httpx.Client) -> None:
    files = [("image", ("a.png", picture((9, 9, 9)), "image/png")) for _ in range(3)]
    answer = client.post("/v1/detect?model=queries", files=files)
    assert [len(result["detections"]) for result in answer.json()["results"]] == [1, 1, 1]
