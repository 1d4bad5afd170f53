"""Measures the demo models on held-out samples, offline from the ONNX files and, with --url, through the gateway."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import evaluate_text
import httpx
import numpy as np
import onnxruntime
from digits import Floats, Pixels, draw_picture, load_split
from measure import Detections, Truth, decode, mean_average_precision
from PIL import Image
from preprocess import classifier_tensor, letterbox
from scenes import make_scene

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
VERSIONS = (1, 2)

#: Mean average precision counts weak answers too, so they are asked for on both sides.
MIN_SCORE, IOU_THRESHOLD, MOST_DETECTIONS = 0.001, 0.5, 100

PICTURE_SEED, PICTURES_PER_POLARITY = 70, 2
SMALLEST_PICTURE, LARGEST_PICTURE = 28, 200
SCENE_SEED, SCENES = 71, 500
WIDE_SEED, WIDE_SCENES, WIDE_SIZES = 72, 100, ((640, 480), (480, 853), (213, 160))

#: How far, in points (hundredths of the figure's range), the gateway may be off the offline figure.
TOLERANCE = 0.2

#: Decimals of boxes and scores in the gateway's answers. The offline side rounds alike: a box that overlaps a true
#: one by almost exactly half may change sides by it, which is 0.26 points on 100 scenes.
BOX_DECIMALS, SCORE_DECIMALS = 2, 6


@dataclass(frozen=True)
class Picture:
    """A gray picture [height, width] of one digit."""

    pixels: Pixels
    label: int


@dataclass(frozen=True)
class SceneCase:
    """An RGB picture [height, width, 3] and what stands in it."""

    pixels: Pixels
    truth: Truth


class Answers(Protocol):
    """One side that answers: the ONNX files, or the gateway."""

    def classify(self, pixels: Pixels, version: int) -> int:
        """The best class of a gray picture [height, width]."""

    def detect(self, pixels: Pixels, version: int) -> Detections:
        """The objects in an RGB picture [height, width, 3], boxes in its pixels."""

    def read(self, texts: Sequence[str], version: int) -> Sequence[int]:
        """The best class of each of at most 16 texts."""


class Offline:
    """Answers from the ONNX files, with preprocessing and postprocessing of its own."""

    def classify(self, pixels: Pixels, version: int) -> int:
        return int(_run("digits_classifier", version, classifier_tensor(pixels)).argmax())

    def detect(self, pixels: Pixels, version: int) -> Detections:
        box = letterbox(pixels)
        answer = _run("digits_detector", version, box.tensor)
        found = decode(answer, MIN_SCORE, IOU_THRESHOLD, MOST_DETECTIONS, box)
        boxes = box.to_picture(found.boxes).round(BOX_DECIMALS)
        return Detections(boxes, found.classes, found.scores.round(SCORE_DECIMALS))

    def read(self, texts: Sequence[str], version: int) -> Sequence[int]:
        return evaluate_text.read_offline(texts, version)


class Gateway:
    """Answers from a running gateway, asked with lossless PNG pictures."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def classify(self, pixels: Pixels, version: int) -> int:
        result = self._ask("/v1/classify", pixels, {"model": "digits_classifier", "version": str(version)})
        return int(result["predictions"][0]["class_id"])

    def detect(self, pixels: Pixels, version: int) -> Detections:
        options = {
            "model": "digits_detector",
            "version": str(version),
            "min_score": str(MIN_SCORE),
            "iou_threshold": str(IOU_THRESHOLD),
        }
        found = self._ask("/v1/detect", pixels, options)["detections"]
        edges = ("x_min", "y_min", "x_max", "y_max")
        boxes = [[item["box"][edge] for edge in edges] for item in found]
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array([item["class_id"] for item in found], np.int64),
            np.array([item["score"] for item in found], np.float32),
        )

    def read(self, texts: Sequence[str], version: int) -> Sequence[int]:
        options = {"model": "languages_bert", "version": str(version)}
        body = {"inputs": [{"text": text} for text in texts], "top_k": 1, **options}
        return [
            result["predictions"][0]["class_id"] for result in self._post("/v1/classify", options, json=body)
        ]

    def _ask(self, path: str, pixels: Pixels, options: dict[str, str]) -> dict[str, Any]:
        """The one result of a request with a picture."""
        body = io.BytesIO()
        Image.fromarray(pixels).save(body, "PNG", compress_level=1)
        headers = {"Content-Type": "image/png"}
        (result,) = self._post(path, options, params=options, content=body.getvalue(), headers=headers)
        return result

    def _post(self, path: str, options: dict[str, str], **request: Any) -> list[dict[str, Any]]:
        """The results of a request; waits and repeats while the gateway says that it is too much."""
        while True:
            answer = self._client.post(path, **request)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            time.sleep(float(answer.headers.get("Retry-After", "1")))
        answer.raise_for_status()
        document = answer.json()
        served, asked = document["model"], (options["model"], options["version"])
        if (served["name"], str(served["version"])) != asked:
            raise ValueError(f"asked {asked}, but {served} answered")
        results: list[dict[str, Any]] = document["results"]
        return results


@cache
def _session(model: str, version: int) -> onnxruntime.InferenceSession:
    path = REPOSITORY / model / str(version) / "model.onnx"
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _run(model: str, version: int, tensor: Pixels) -> Floats:
    (answer,) = _session(model, version).run(None, {"images": tensor[None]})
    first: Floats = answer[0]
    return first


@cache
def pictures() -> list[Picture]:
    """Every held-out digit in both polarities, twice each, 28 to 200 pixels a side."""
    held_out = load_split("held_out")
    return [
        Picture(_held_out_picture(index, draw), int(held_out.labels[index]))
        for index in range(len(held_out))
        for draw in range(2 * PICTURES_PER_POLARITY)
    ]


def _held_out_picture(index: int, draw: int) -> Pixels:
    rng = np.random.default_rng([PICTURE_SEED, index, draw])
    height, width = (int(side) for side in rng.integers(SMALLEST_PICTURE, LARGEST_PICTURE + 1, 2))
    # Neither side more than a quarter longer than the other: a digit's picture is roughly square.
    height, width = max(height, int(width / 1.25)), max(width, int(height / 1.25))
    return draw_picture(
        load_split("held_out"), index, height, width, draw % 2 == 0, [PICTURE_SEED, index, draw, 1]
    )


@cache
def square_scenes() -> list[SceneCase]:
    """The 500 held-out scenes, 320 x 320."""
    return [_scene_case([SCENE_SEED, index]) for index in range(SCENES)]


@cache
def wide_scenes() -> list[SceneCase]:
    """100 held-out scenes of other sizes, which the letterbox has to scale and pad."""
    sizes = [WIDE_SIZES[index % len(WIDE_SIZES)] for index in range(WIDE_SCENES)]
    return [_scene_case([WIDE_SEED, index], *size) for index, size in enumerate(sizes)]


def _scene_case(seed: list[int], *size: int) -> SceneCase:
    scene = make_scene(load_split("held_out"), seed, *size)
    return SceneCase(scene.image, Truth(scene.boxes, scene.classes))


def accuracy(side: Answers, version: int) -> float:
    """Share of the held-out pictures whose best class is right."""
    return float(np.mean([side.classify(case.pixels, version) == case.label for case in pictures()]))


def precision(side: Answers, version: int, cases: list[SceneCase]) -> float:
    """mAP@0.5 on `cases`."""
    found = [side.detect(case.pixels, version) for case in cases]
    return mean_average_precision(found, [case.truth for case in cases])


def figures(side: Answers) -> Iterator[tuple[str, float]]:
    """Every figure's name and value in percent."""
    for version in VERSIONS:
        yield f"digits_classifier {version}  accuracy", 100 * accuracy(side, version)
    for version in VERSIONS:
        yield f"digits_detector {version}  mAP@0.5", 100 * precision(side, version, square_scenes())
        yield (
            f"digits_detector {version}  mAP@0.5, other sizes",
            100 * precision(side, version, wide_scenes()),
        )
    for version in VERSIONS:
        for name, value in evaluate_text.figures(side.read, version):
            yield f"languages_bert {version}  {name}", value


def compare(url: str) -> bool:
    """Print every figure offline and through the gateway at `url`; whether they agree."""
    key = os.environ.get("GATEWAY_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    agree = True
    print(f"{'':42} offline  gateway  difference")
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        for (name, offline), (_, online) in zip(figures(Offline()), figures(Gateway(client)), strict=True):
            agree &= abs(online - offline) <= TOLERANCE
            print(f"{name:42} {offline:6.2f}   {online:6.2f}   {online - offline:+.2f}", flush=True)
    return agree


def main() -> int:
    """Print the table; 1 if the gateway is off the offline figures by more than 0.2 points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a running gateway, such as http://127.0.0.1:8080")
    arguments = parser.parse_args()
    if arguments.url:
        return 0 if compare(arguments.url) else 1
    for name, value in figures(Offline()):
        print(f"{name:42} {value:6.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
