"""A classifier's raw output to predictions."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.cards import classifier_card
from support.references import STEADY

from gateway.errors import UpstreamInvalidResponse
from gateway.schemas import ClassifyOptions, Prediction
from gateway.translate import classify

LARGEST = float(np.finfo(np.float32).max)

logits = st.lists(st.floats(-80, 80, width=32), min_size=2, max_size=12)


def predictions(
    row: list[float], activation: str = "softmax", wanted: frozenset[int] | None = None, **options: object
) -> list[Prediction]:
    """All classes of one image, unless `options` say otherwise."""
    card = classifier_card(len(row), activation=activation, top_k=str(len(row)))
    (result,) = classify.decode(np.array([row], np.float32), card, ClassifyOptions(**options), wanted)
    return result.predictions


def by_class(row: list[float], activation: str = "softmax") -> list[float]:
    """The scores in class order."""
    return [one.score for one in sorted(predictions(row, activation), key=lambda one: one.class_id)]


def exact_softmax(row: list[float]) -> list[float]:
    """With exact sums of correctly rounded powers."""
    powers = [Fraction(math.exp(value - max(row))) for value in row]
    return [float(power / sum(powers)) for power in powers]


@STEADY
@given(logits)
def test_a_prediction_counts_at_the_very_score_that_was_told(row: list[float]) -> None:
    every = predictions(row)
    assert predictions(row, min_score=every[-1].score) == every


@STEADY
@given(logits)
def test_softmax_agrees_with_exact_arithmetic(row: list[float]) -> None:
    assert by_class(row) == pytest.approx(exact_softmax(row), abs=5.1e-7)  # scores have six decimals


@STEADY
@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(1, 12), st.booleans())
def test_the_best_few_are_the_first_of_all_where_many_are_equal(
    row: list[int], top_k: int, narrowed: bool
) -> None:
    scores = [float(value) for value in row]
    wanted = frozenset(range(0, len(row), 2)) if narrowed else None
    assert predictions(scores, wanted=wanted, top_k=top_k) == predictions(scores, wanted=wanted)[:top_k]


@STEADY
@given(logits)
def test_sigmoid_agrees_with_its_definition(row: list[float]) -> None:
    expected = [1 / (1 + math.exp(-value)) for value in row]
    assert by_class(row, "sigmoid") == pytest.approx(expected, abs=5.1e-7)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param([1e4, 1e4, -1e4], [0.5, 0.5, 0], id="powers that overflow"),
        pytest.param([LARGEST, -LARGEST, 0], [1, 0, 0], id="differences that overflow single precision"),
        pytest.param([-LARGEST, -LARGEST], [0.5, 0.5], id="powers that vanish"),
        pytest.param([1000, 1000 + math.log(3)], [0.25, 0.75], id="a large offset"),
    ],
)
def test_softmax_is_stable(row: list[float], expected: list[float]) -> None:
    assert by_class(row) == pytest.approx(expected, abs=2e-5)


def test_sigmoid_is_stable() -> None:
    assert by_class([LARGEST, -LARGEST, 1000, -1000, 0], "sigmoid") == [1, 0, 1, 0, 0.5]


@STEADY
@given(logits)
def test_predictions_are_ordered_best_first_and_by_class_where_equal(row: list[float]) -> None:
    found = predictions(row)
    assert sorted(one.class_id for one in found) == list(range(len(row)))
    for better, worse in pairwise(found):
        assert better.score >= worse.score
        assert row[better.class_id] != row[worse.class_id] or better.class_id < worse.class_id


def test_equal_scores_keep_the_order_of_the_classes() -> None:
    assert [one.class_id for one in predictions([1, 2, 1, 2, 1, 2])] == [1, 3, 5, 0, 2, 4]


def test_predictions_carry_id_label_and_score() -> None:
    assert predictions([0, 0.5, 0.5], "none")[0] == Prediction(class_id=1, label="class 1", score=0.5)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param([0.2, 0.3], id="they add up to a half"),
        pytest.param([0.9, 0.9], id="they add up to nearly two"),
        pytest.param([-0.5, 1.5], id="one is negative"),
        pytest.param([0.0, 0.0], id="they are all nothing"),
        pytest.param([2.5, -1.5], id="they are logits that add up to one"),
    ],
)
def test_probabilities_that_are_none_are_not_an_answer(row: list[float]) -> None:
    with pytest.raises(UpstreamInvalidResponse):
        predictions(row, "none")


def test_independent_probabilities_need_not_sum_to_one() -> None:
    assert by_class([0.9, 0.8, 0.05], "independent") == pytest.approx([0.9, 0.8, 0.05])
    assert by_class([0.93], "independent") == pytest.approx([0.93])
    for row in ([1.1, 0.2], [-0.1, 0.5]):
        with pytest.raises(UpstreamInvalidResponse):
            predictions(row, "independent")


def test_one_image_of_a_batch_with_wrong_probabilities_spoils_the_answer() -> None:
    output = np.array([[0.5, 0.5], [0.5, 0.2]], np.float32)
    with pytest.raises(UpstreamInvalidResponse):
        classify.decode(output, classifier_card(2, activation="none"), ClassifyOptions(), None)


def test_probabilities_in_half_precision_add_up_to_one() -> None:
    rng = np.random.default_rng(0)
    powers = np.exp(rng.normal(0, 2, (4, 1000)))
    output = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float16)
    results = classify.decode(output, classifier_card(1000, activation="none"), ClassifyOptions(), None)
    assert [result.predictions[0].class_id for result in results] == output.argmax(axis=1).tolist()


def test_a_probability_that_rounding_carried_outside_is_brought_back() -> None:
    assert by_class([1.0005, -0.0005], "none") == [1, 0]


ROW = [math.log(share) for share in (0.1, 0.4, 0.3, 0.15, 0.05)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 3, 0, 4]),
        ({"top_k": 2}, [1, 2]),
        ({"top_k": 1000}, [1, 2, 3, 0, 4]),
        ({"min_score": 0.12}, [1, 2, 3]),
        ({"min_score": 0.12, "top_k": 2}, [1, 2]),
        ({"min_score": 0.12, "top_k": 4}, [1, 2, 3]),
        ({"min_score": 0.0}, [1, 2, 3, 0, 4]),
        ({"min_score": 1.0}, []),
    ],
    ids=str,
)
def test_options_narrow_the_answer(options: dict[str, object], expected: list[int]) -> None:
    assert [one.class_id for one in predictions(ROW, **options)] == expected


@pytest.mark.parametrize(
    ("wanted", "top_k", "expected"),
    [({0, 4}, 5, [0, 4]), ({0, 4}, 1, [0]), ({2}, 5, [2]), ({0, 1, 2, 3, 4}, 3, [1, 2, 3])],
    ids=str,
)
def test_only_the_wanted_classes_are_answered_and_top_k_counts_those(
    wanted: set[int], top_k: int, expected: list[int]
) -> None:
    found = predictions(ROW, wanted=frozenset(wanted), top_k=top_k)
    assert [one.class_id for one in found] == expected


def test_the_wanted_classes_keep_their_share_of_all() -> None:
    assert predictions(ROW, wanted=frozenset({0}))[0].score == pytest.approx(0.1)


def test_the_card_says_how_many_predictions_there_are() -> None:
    output = np.zeros((1, 10), np.float32)
    (result,) = classify.decode(output, classifier_card(10, top_k="3"), ClassifyOptions(), None)
    assert len(result.predictions) == 3


def batch(shape: tuple[int, ...], dtype: type[np.floating] = np.float32) -> NDArray[np.floating]:
    return np.random.default_rng(0).normal(0, 3, shape).astype(dtype)


@pytest.mark.parametrize("shape", [(3, 1000), (3, 1000, 1, 1), (3, 1, 1000), (3, 1, 1, 1000)], ids=str)
def test_dimensions_of_one_make_no_difference(shape: tuple[int, ...]) -> None:
    output = batch(shape)
    results = classify.decode(output, classifier_card(1000), ClassifyOptions(), None)
    assert len(results) == 3
    best = output.reshape(3, 1000).argmax(axis=1)
    assert [result.predictions[0].class_id for result in results] == best.tolist()


def test_half_precision_is_read_too() -> None:
    output = batch((2, 10), np.float16)
    results = classify.decode(output, classifier_card(10, top_k="10"), ClassifyOptions(), None)
    for row, result in zip(output.astype(np.float64), results, strict=True):
        expected = sorted(exact_softmax(row.tolist()), reverse=True)
        assert [one.score for one in result.predictions] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 9), (1, 11), (1, 10, 2), (1, 0), (1,)], ids=str)
def test_another_number_of_scores_is_not_an_answer(shape: tuple[int, ...]) -> None:
    with pytest.raises(UpstreamInvalidResponse) as caught:
        classify.decode(np.zeros(shape, np.float32), classifier_card(10), ClassifyOptions(), None)
    assert "10 labels" in caught.value.internal
