"""A detector's raw output to labelled boxes: options, limits and what is refused."""

import numpy as np
import pytest
from numpy.typing import NDArray
from support.cards import detector_card

from gateway.errors import UpstreamInvalidResponse
from gateway.schemas import DetectOptions
from gateway.translate import detect
from gateway.translate.image import Placement

CARD = detector_card(3, min_score="0.25", iou_threshold="0.5", max_detections="4")
SAME = Placement(width=64, height=64, scale_x=1, scale_y=1, left=0, top=0)
WIDE = Placement(width=200, height=100, scale_x=0.32, scale_y=0.32, left=0, top=16)


def anchor(x: float, y: float, score: float, kind: int = 0, size: float = 4) -> list[float]:
    return [x, y, size, size, *(score if index == kind else 0.01 for index in range(3))]


def batch(*images: list[list[float]]) -> NDArray[np.float32]:
    """[images, rows, anchors]; every image has as many anchors."""
    return np.array(images, np.float32).transpose(0, 2, 1)


def scores(output: NDArray[np.float32], **options: object) -> list[float]:
    (result,) = detect.decode([output], [SAME], CARD, DetectOptions(**options), None)
    return [one.score for one in result.detections]


SPREAD = batch([anchor(8 * i + 4, 8, score) for i, score in enumerate((0.3, 0.9, 0.2, 0.5, 0.7, 0.6))])


def test_detections_carry_class_label_score_and_box_in_the_original_picture() -> None:
    output = batch([anchor(32, 32, 0.876543, kind=2, size=16)])
    (result,) = detect.decode([output], [WIDE], CARD, DetectOptions(), None)
    (found,) = result.detections
    assert (found.class_id, found.label, found.score) == (2, "class 2", 0.876543)
    assert found.box.model_dump() == {"x_min": 75.0, "y_min": 25.0, "x_max": 125.0, "y_max": 75.0}
    assert (result.image.width, result.image.height) == (200, 100)


def test_the_best_come_first_and_the_card_sets_least_score_and_number() -> None:
    assert scores(SPREAD) == [0.9, 0.7, 0.6, 0.5]


def test_the_caller_may_ask_for_more_certain_ones() -> None:
    assert scores(SPREAD, min_score=0.65) == [0.9, 0.7]


@pytest.mark.parametrize("score", [0.12345678, 0.99999952, 0.3, 1 / 3])
def test_a_detection_counts_at_the_very_score_that_was_told(score: float) -> None:
    output = batch([anchor(8, 8, score)])
    (told,) = scores(output, min_score=0.1)
    assert scores(output, min_score=told) == [told]
    assert scores(output, min_score=told + 1e-6 if told < 1 else told) == ([] if told < 1 else [told])


def test_the_caller_may_ask_for_every_score() -> None:
    output = batch([anchor(8, 8, 0.3), anchor(24, 8, 0.2)])
    assert scores(output) == [0.3]
    assert scores(output, min_score=0) == [0.3, 0.2]


@pytest.mark.parametrize(
    ("top_k", "expected"), [(1, [0.9]), (3, [0.9, 0.7, 0.6]), (3000, [0.9, 0.7, 0.6, 0.5])]
)
def test_the_caller_may_ask_for_fewer_and_not_for_more_than_the_card_allows(
    top_k: int, expected: list[float]
) -> None:
    assert scores(SPREAD, top_k=top_k) == expected


def test_the_caller_may_set_the_overlap() -> None:
    pair = batch([anchor(10, 10, 0.9, size=8), anchor(12, 10, 0.8, size=8)])  # 48 of 80 shared: 0.6
    assert scores(pair) == [0.9]
    assert scores(pair, iou_threshold=0.7) == [0.9, 0.8]
    assert scores(pair, iou_threshold=0.0) == [0.9]


def test_only_the_wanted_classes_are_answered() -> None:
    output = batch([anchor(8, 8, 0.9, 0), anchor(24, 8, 0.8, 1), anchor(40, 8, 0.7, 2)])
    (result,) = detect.decode([output], [SAME], CARD, DetectOptions(), frozenset({0, 2}))
    assert [one.label for one in result.detections] == ["class 0", "class 2"]


def test_a_box_in_the_padding_does_not_use_up_the_limit() -> None:
    output = batch([anchor(32, 4, 0.9), anchor(32, 32, 0.5)])
    (result,) = detect.decode([output], [WIDE], CARD, DetectOptions(top_k=1), None)
    assert [one.score for one in result.detections] == [0.5]


def test_every_image_has_its_own_answer_and_placement() -> None:
    output = batch([anchor(32, 32, 0.9)], [anchor(32, 32, 0.1)], [anchor(32, 32, 0.8)])
    results = detect.decode([output], [SAME, WIDE, WIDE], CARD, DetectOptions(), None)
    assert [[one.box.x_min for one in result.detections] for result in results] == [[30.0], [], [93.75]]
    assert [result.image.width for result in results] == [64, 200, 200]


def test_half_precision_is_read_too() -> None:
    assert scores(SPREAD.astype(np.float16)) == pytest.approx([0.9, 0.7, 0.6, 0.5], abs=1e-3)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((1, 8, 20), id="a row too many"),
        pytest.param((1, 6, 20), id="a class too few"),
        pytest.param((1, 20, 7), id="anchors before rows"),
        pytest.param((2, 7, 20), id="more images than were sent"),
        pytest.param((0, 7, 20), id="no image"),
        pytest.param((7, 20), id="no batch dimension"),
        pytest.param((1, 1, 7, 20), id="a dimension too many"),
    ],
)
def test_an_output_of_another_shape_is_not_an_answer(shape: tuple[int, ...]) -> None:
    with pytest.raises(UpstreamInvalidResponse) as caught:
        detect.decode([np.zeros(shape, np.float32)], [SAME], CARD, DetectOptions(), None)
    assert str(shape) in caught.value.internal


def test_logits_in_one_image_spoil_the_answer() -> None:
    output = batch([anchor(8, 8, 0.9)], [anchor(8, 8, 7.3)])
    with pytest.raises(UpstreamInvalidResponse):
        detect.decode([output], [SAME, SAME], CARD, DetectOptions(), None)


def test_no_anchors_are_no_detections() -> None:
    assert scores(np.zeros((1, 7, 0), np.float32)) == []
