"""YOLOv8's output to boxes, suppression and the way back, each against a straightforward reference."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from support.references import STEADY, letterbox_geometry, network, seen, shown

from gateway.errors import UpstreamInvalidResponse
from gateway.translate.boxes import (
    Candidates,
    decode_yolov8,
    intersection_over_union,
    restore,
    suppress,
    visible,
)
from gateway.translate.image import Placement

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """One box of the reference."""

    box: tuple[float, ...]
    score: float
    kind: int


def reference(
    output: Floats, min_score: float, classes: set[int] | None, iou_threshold: float, limit: int
) -> list[Found]:
    """Decoding and greedy suppression, one anchor and one pair of boxes at a time."""
    found = []
    for anchor in output.T.tolist():
        x, y, width, height, *scores = anchor
        score = max(scores)
        kind = scores.index(score)
        if score >= min_score and (classes is None or kind in classes):
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            found.append(Found(box, score, kind))
    kept: list[Found] = []
    for one in sorted(found, key=lambda one: -one.score):  # sorting keeps the order of equal scores
        if all(other.kind != one.kind or iou(other.box, one.box) <= iou_threshold for other in kept):
            kept.append(one)
    return kept[:limit]


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def random_output(seed: int, *, classes: int, anchors: int, levels: int) -> Floats:
    """Crowded boxes; the scores have only so many levels, so that many are equal, between and within classes."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 64, (2, anchors))
    sizes = rng.uniform(2, 40, (2, anchors))
    scores = rng.integers(0, levels + 1, (classes, anchors)) / levels
    return np.concatenate([places, sizes, scores]).astype(np.float32)


def ours(
    output: Floats, min_score: float, classes: set[int] | None, iou_threshold: float, limit: int
) -> list[Found]:
    wanted = None if classes is None else frozenset(classes)
    found = suppress(decode_yolov8(output, min_score, wanted), iou_threshold, limit)
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    return [Found(tuple(box), score, kind) for box, score, kind in rows]


@STEADY
@given(
    output=st.builds(
        random_output,
        st.integers(0, 10_000),
        classes=st.integers(1, 6),
        anchors=st.integers(0, 60),
        levels=st.sampled_from([4, 10, 1000]),
    ),
    min_score=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
    wanted=st.none() | st.sets(st.integers(0, 5), min_size=1),
    iou_threshold=st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
    limit=st.sampled_from([1, 3, 10, 300]),
)
def test_decoding_and_suppression_agree_with_the_reference(
    output: Floats,
    min_score: float,
    wanted: set[int] | None,
    iou_threshold: float,
    limit: int,
) -> None:
    arguments = (output, min_score, wanted, iou_threshold, limit)
    assert ours(*arguments) == reference(*arguments)


def output_of(*rows: tuple[float, ...]) -> Floats:
    """One row an anchor: centre, width and height, scores."""
    return np.array(rows, np.float32).T


def test_a_score_equal_to_the_least_one_stays() -> None:
    found = decode_yolov8(output_of((5, 5, 2, 2, 0.25), (5, 5, 2, 2, 0.2499)), 0.25, None)
    assert found.scores.tolist() == [0.25]


def test_an_overlap_equal_to_the_threshold_stays() -> None:
    pair = output_of((1, 1, 2, 2, 0.9), (1, 2, 2, 4, 0.8))  # the first is half of the second
    assert len(ours(pair, 0, None, 0.5, 9)) == 2
    assert len(ours(pair, 0, None, 0.499, 9)) == 1


def test_boxes_of_different_classes_do_not_suppress_each_other() -> None:
    pair = output_of((5, 5, 4, 4, 0.9, 0.1), (5, 5, 4, 4, 0.1, 0.8))
    assert [one.kind for one in ours(pair, 0.5, None, 0.1, 9)] == [0, 1]


def test_a_suppressed_box_suppresses_nothing() -> None:
    """Of three in a row the middle one goes, and the last one overlaps only that."""
    chain = output_of((10, 5, 10, 10, 0.9), (14, 5, 10, 10, 0.8), (19, 5, 10, 10, 0.7))
    assert [one.score for one in ours(chain, 0, None, 0.3, 9)] == pytest.approx([0.9, 0.7])


def test_an_anchor_whose_best_class_is_not_wanted_goes() -> None:
    assert ours(output_of((5, 5, 4, 4, 0.9, 0.8)), 0.5, {1}, 0.5, 9) == []


def test_of_equal_scores_the_first_anchor_and_the_first_class_win() -> None:
    found = ours(output_of((1, 1, 2, 2, 0.5, 0.5), (9, 9, 2, 2, 0.5, 0.5)), 0, None, 0.5, 9)
    assert [(one.kind, one.box[0]) for one in found] == [(0, 0), (0, 8)]


def test_no_anchors_give_no_boxes() -> None:
    assert ours(np.zeros((6, 0), np.float32), 0.25, None, 0.5, 9) == []


@pytest.mark.parametrize("score", [-0.01, 1.01, 20.0, -3.0])
def test_a_score_outside_0_to_1_is_not_an_answer(score: float) -> None:
    """Logits, for example: the sigmoid is missing."""
    with pytest.raises(UpstreamInvalidResponse) as caught:
        decode_yolov8(output_of((5, 5, 4, 4, 0.9, score), (5, 5, 4, 4, 0.5, 0.5)), 0.25, None)
    assert "0..1" in caught.value.internal


@pytest.mark.parametrize(("score", "expected"), [(1.0005, 1.0), (-0.0005, 0.0)])
def test_a_score_that_rounding_carried_outside_is_brought_back(score: float, expected: float) -> None:
    assert decode_yolov8(output_of((5, 5, 4, 4, score)), 0, None).scores.tolist() == [expected]


def test_suppression_is_bounded_to_the_best_candidates() -> None:
    rng = np.random.default_rng(0)
    scores = rng.permutation(8400).astype(np.float32) / 8400
    output = np.concatenate([rng.uniform(0, 640, (4, 8400)).astype(np.float32), scores[None]])
    found = decode_yolov8(output, 0, None)
    assert found.scores.tolist() == sorted(scores.tolist(), reverse=True)[:3000]


def test_the_largest_finite_numbers_do_no_harm() -> None:
    limit = float(np.finfo(np.float32).max)
    found = ours(output_of((0, 0, limit, limit, 0.9), (limit, 0, limit, 1, 0.8)), 0, None, 0.5, 9)
    assert len(found) == 2


@STEADY
@given(st.integers(0, 10_000), st.integers(0, 8), st.integers(0, 8))
def test_overlaps_of_all_pairs_agree_with_the_reference(seed: int, ones: int, others: int) -> None:
    low, size = np.random.default_rng(seed).integers(0, (20, 10), (ones + others, 2, 2)).swapaxes(0, 2)
    corners = np.concatenate([low, low + size + 1]).T.astype(np.float64)
    one, other = corners[:ones], corners[ones:]
    expected = [[iou(tuple(a), tuple(b)) for b in other.tolist()] for a in one.tolist()]
    assert intersection_over_union(one, other) == pytest.approx(np.array(expected).reshape(ones, others))


def test_boxes_without_area_overlap_where_they_are_equal() -> None:
    points = np.array([[1.0, 1, 1, 1], [2, 2, 2, 2]])
    assert intersection_over_union(points, points).tolist() == [[1, 0], [0, 1]]


def placed(width: int, height: int, canvas_width: int, canvas_height: int) -> Placement:
    """A letterbox by Ultralytics' formula."""
    inner_width, inner_height, left, top = letterbox_geometry((width, height), (canvas_width, canvas_height))
    return Placement(width, height, inner_width / width, inner_height / height, left, top)


def candidates(*boxes: tuple[float, ...]) -> Candidates:
    count = len(boxes)
    return Candidates(
        np.array(boxes, np.float64).reshape(count, 4), np.ones(count, np.float32), np.arange(count)
    )


@STEADY
@given(
    st.integers(1, 8192),
    st.integers(1, 8192),
    st.sampled_from([(320, 320), (640, 640), (640, 384), (33, 47)]),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_a_box_mapped_into_the_network_comes_back_to_a_thousandth_of_a_pixel(
    width: int, height: int, canvas: tuple[int, int], shares: list[float]
) -> None:
    x_min, x_max = sorted((shares[0] * width, shares[1] * width))
    y_min, y_max = sorted((shares[2] * height, shares[3] * height))
    inner_width, inner_height, left, top = letterbox_geometry((width, height), canvas)
    mapped = (
        x_min * inner_width / width + left,
        y_min * inner_height / height + top,
        x_max * inner_width / width + left,
        y_max * inner_height / height + top,
    )
    back = restore(candidates(mapped), placed(width, height, *canvas)).boxes[0]
    np.testing.assert_allclose(back, (x_min, y_min, x_max, y_max), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (1281, 721), (64, 64), (37, 53)], ids=str)
@pytest.mark.parametrize("antialias", [True, False], ids=["antialiased", "sampled"])
def test_the_way_back_fits_what_the_network_saw(size: tuple[int, int], antialias: bool) -> None:
    """A white rectangle, found again in the tensor by its mass, lies where it was drawn."""
    width, height = size
    box = (width // 5, height // 4, width * 3 // 5, height * 2 // 3)
    picture = Image.new("RGB", size)
    picture.paste((255, 255, 255), box)
    to = network(320, 320, "letterbox", antialias=antialias, pad=0)
    placement = seen(picture, to).placement
    white = shown(picture, to)[..., 0] / 255
    across, down = white.max(axis=0), white.max(axis=1)
    x, y = (np.average(np.arange(320) + 0.5, weights=line) for line in (across, down))
    half_width, half_height = across.sum() / 2, down.sum() / 2
    found = candidates((x - half_width, y - half_height, x + half_width, y + half_height))
    pixel = max(1.0, 1 / placement.scale_x)  # of the network, in pixels of the original
    np.testing.assert_allclose(restore(found, placement).boxes[0], box, atol=0.35 * pixel)


def test_boxes_are_clipped_to_the_picture() -> None:
    placement = placed(200, 100, 64, 64)  # 64 x 32 with 16 rows of padding above and below
    back = restore(candidates((-10, 0, 80, 64), (10, 20, 30, 90)), placement)
    np.testing.assert_allclose(back.boxes, [[0, 0, 200, 100], [31.25, 12.5, 93.75, 100]])


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((10, 0, 30, 16), id="in the padding above"),
        pytest.param((10, 48, 30, 64), id="in the padding below"),
        pytest.param((-9, 20, 0, 40), id="left of the canvas"),
        pytest.param((64, 20, 90, 40), id="right of the canvas"),
        pytest.param((10, 20, 10, 40), id="without a width"),
        pytest.param((30, 20, 10, 40), id="turned inside out"),
    ],
)
def test_a_box_that_shows_nothing_of_the_picture_goes(box: tuple[float, ...]) -> None:
    found = visible(candidates(box, (10, 20, 30, 40)), placed(200, 100, 64, 64))
    assert found.classes.tolist() == [1]
