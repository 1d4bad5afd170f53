"""Heads that leave no overlaps: suppression inside the network, and DETR's queries."""

import numpy as np
import pytest

from gateway.errors import UpstreamInvalidResponse
from gateway.translate.heads import decode_detr, decode_end2end


def rows(*found: tuple[float, ...]) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.array(found, np.float32)


def test_rows_of_a_network_with_suppression_come_best_first_and_without_padding() -> None:
    output = rows((1, 2, 3, 4, 0.6, 1), (5, 6, 7, 8, 0.9, 0), (0, 0, 0, 0, 0, 0), (0, 0, 9, 9, 0.1, 2))
    found = decode_end2end(output, 3, 0.25, None)
    assert found.classes.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])
    assert found.boxes.tolist() == [[5, 6, 7, 8], [1, 2, 3, 4]]
    assert decode_end2end(output, 3, 0.0, frozenset({2})).classes.tolist() == [2]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param((0, 0, 1, 1, 1.5, 0), id="a score above 1"),
        pytest.param((0, 0, 1, 1, -0.5, 0), id="a score below 0"),
        pytest.param((0, 0, 1, 1, 0.5, 3), id="a class without a label"),
        pytest.param((0, 0, 1, 1, 0.5, 0.5), id="half a class"),
        pytest.param((0, 0, 1, 1, 0.5, -1), id="a class below 0"),
    ],
)
def test_rows_that_cannot_be_are_no_answer(row: tuple[float, ...]) -> None:
    with pytest.raises(UpstreamInvalidResponse):
        decode_end2end(rows(row), 3, 0.25, None)


def test_a_query_speaks_for_its_best_class_or_for_nothing() -> None:
    logits = rows((4, 0, 0), (0, 0, 6), (0, 5, 0))  # two classes, and nothing
    boxes = rows((0.5, 0.5, 0.5, 0.25), (0.1, 0.1, 0.1, 0.1), (0.25, 0.75, 0.5, 0.5))
    found = decode_detr(logits, boxes, (200, 100), 2, 0.5, None)
    assert found.classes.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([np.exp(5) / (np.exp(5) + 2), np.exp(4) / (np.exp(4) + 2)])
    assert found.boxes.tolist() == [[0, 50, 100, 100], [50, 37.5, 150, 62.5]]


def test_without_a_class_for_nothing_each_score_stands_for_itself() -> None:
    found = decode_detr(
        rows((2, -2), (-1, 0)), rows((0.5, 0.5, 1, 1), (0.5, 0.5, 1, 1)), (8, 8), 2, 0.5, None
    )
    assert found.classes.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([1 / (1 + np.exp(-2)), 0.5])


def test_another_number_of_classes_or_boxes_is_no_answer() -> None:
    boxes = rows((0.5, 0.5, 1, 1))
    for logits in (rows((1, 2, 3, 4)), rows((1,))):
        with pytest.raises(UpstreamInvalidResponse):
            decode_detr(logits, boxes, (8, 8), 2, 0.5, None)
    with pytest.raises(UpstreamInvalidResponse):
        decode_detr(rows((1, 2), (1, 2)), boxes, (8, 8), 2, 0.5, None)
