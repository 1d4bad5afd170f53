"""What agrees and what does not, answer by answer, and what holds whatever the answers are."""

from dataclasses import astuple

import pytest
from hypothesis import given
from support.references import STEADY
from unit.canary.answers import BOXES, PAIRS, boxes, classes, square

from gateway.canary.compare import MOST, Result, compare
from gateway.canary.comparison import ClassTally, Drift
from gateway.schemas import Box, Detection, DetectResult

NOTHING = classes()
FIVE = [(kind, square(100.0 * kind)) for kind in range(5)]


def total(stable: Result, canary: Result) -> ClassTally:
    return sum(compare(stable, canary).classes.values(), ClassTally())


def test_classes_agree_by_the_best_prediction() -> None:
    found = compare(classes((3, 0.9), (5, 0.1)), classes((3, 0.7), (1, 0.2)))
    assert found.agrees
    assert found.overlap == 0.5
    assert found.drift is not None
    assert found.drift.signed == pytest.approx(-0.2)
    assert found.classes == {"class 3": ClassTally(agreed=1)}


def test_another_best_prediction_disagrees_although_the_same_classes_are_listed() -> None:
    found = compare(classes((3, 0.6), (5, 0.4)), classes((5, 0.6), (3, 0.4)))
    assert not found.agrees
    assert found.overlap == 1.0
    assert found.drift is not None
    assert astuple(found.drift) == pytest.approx((0.0, 0.2))
    assert found.classes == {"class 3": ClassTally(changed_from=1), "class 5": ClassTally(changed_to=1)}


@pytest.mark.parametrize(
    ("stable", "canary", "agrees", "tally"),
    [
        (NOTHING, NOTHING, True, ClassTally()),
        (classes((3, 0.6)), NOTHING, False, ClassTally(missed=1)),
        (NOTHING, classes((3, 0.6)), False, ClassTally(extra=1)),
        (boxes(), boxes(), True, ClassTally()),
        (boxes((3, square(0))), boxes(), False, ClassTally(missed=1)),
        (boxes(), boxes((3, square(0))), False, ClassTally(extra=1)),
    ],
    ids=[
        "neither predicts a class",
        "only the stable one does",
        "only the canary does",
        "neither finds a box",
        "only the stable one does so",
        "only the canary does so",
    ],
)
def test_saying_nothing_is_an_answer(stable: Result, canary: Result, agrees: bool, tally: ClassTally) -> None:
    found = compare(stable, canary)
    assert (found.agrees, found.overlap, found.drift) == (agrees, float(agrees), None)
    assert total(stable, canary) == tally


def test_classes_that_share_a_label_are_not_the_same_class() -> None:
    two_cranes = [classes((0, 0.9)), classes((1, 0.9))]
    for answer in two_cranes:
        answer.predictions[0] = answer.predictions[0].model_copy(update={"label": "crane"})
    found = compare(*two_cranes)
    assert not found.agrees
    assert found.classes == {"crane": ClassTally(changed_from=1, changed_to=1)}


def test_boxes_are_partners_from_half_of_their_union_on() -> None:
    wide = (0.0, 0.0, 20.0, 10.0)
    half, less = (0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 9.9, 10.0)
    assert total(boxes((1, wide)), boxes((1, half))) == ClassTally(agreed=1)
    assert total(boxes((1, wide)), boxes((1, less))) == ClassTally(missed=1, extra=1)


def test_a_box_in_its_place_with_another_class_is_a_change_and_neither_missed_nor_extra() -> None:
    found = compare(boxes((1, square(0))), boxes((2, square(1))))
    assert not found.agrees
    assert found.classes == {"class 1": ClassTally(changed_from=1), "class 2": ClassTally(changed_to=1)}


def test_a_partner_of_the_same_class_goes_before_a_closer_one_of_another() -> None:
    stable = boxes((1, square(0)), (2, square(2)))
    canary = boxes((1, square(2)), (2, square(0)))
    assert total(stable, canary) == ClassTally(agreed=2)


def test_the_closest_partners_find_each_other_whatever_their_rank() -> None:
    stable = boxes((1, square(3), 0.9), (1, square(0), 0.8))
    canary = boxes((1, square(0), 0.9), (1, square(-3), 0.8))
    found = compare(stable, canary)
    assert total(stable, canary) == ClassTally(agreed=1, missed=1, extra=1)
    assert found.drift is not None
    assert found.drift.signed == pytest.approx(0.1)  # 0.9 in the place of 0.8


@pytest.mark.parametrize(
    ("boxes_each", "lost", "agrees"),
    [(1, 1, False), (5, 1, False), (10, 1, True), (10, 2, False), (40, 7, True), (40, 8, False)],
)
def test_images_with_many_boxes_agree_when_nine_in_ten_have_a_partner(
    boxes_each: int, lost: int, agrees: bool
) -> None:
    stable = [(0, square(20.0 * place)) for place in range(boxes_each)]
    canary = stable[lost:]
    assert compare(boxes(*stable), boxes(*canary)).agrees is agrees


def test_one_changed_class_among_five_boxes_disagrees() -> None:
    changed = [(9, FIVE[0][1]), *FIVE[1:]]
    found = compare(boxes(*FIVE), boxes(*changed))
    assert not found.agrees
    assert found.overlap == pytest.approx(0.8)


def test_of_very_many_boxes_the_best_are_compared() -> None:
    many = [(0, square(20.0 * place), 1 - place / 1000) for place in range(MOST + 5)]
    assert total(boxes(*many), boxes(*many[: MOST + 2])) == ClassTally(agreed=MOST)


def test_boxes_without_area_are_partners_where_they_are_equal() -> None:
    point = (5.0, 5.0, 5.0, 5.0)
    assert compare(boxes((1, point)), boxes((1, point))).agrees
    assert not compare(boxes((1, point)), boxes((1, square(0)))).agrees


def test_answers_to_different_tasks_are_refused() -> None:
    with pytest.raises(TypeError):
        compare(classes((1, 0.5)), boxes((1, square(0))))


@STEADY
@given(PAIRS)
def test_an_answer_agrees_with_itself_in_everything(pair: tuple[Result, Result]) -> None:
    for answer in pair:
        found = compare(answer, answer)
        assert found.agrees
        assert found.overlap == 1.0
        assert found.drift in {None, Drift(0.0, 0.0)}
        assert all(tally == ClassTally(agreed=tally.stable) for tally in found.classes.values())


@STEADY
@given(PAIRS)
def test_seen_from_the_other_side_the_counts_are_mirrored(pair: tuple[Result, Result]) -> None:
    there, back = compare(*pair), compare(*reversed(pair))
    assert (there.agrees, there.overlap) == (back.agrees, back.overlap)
    assert there.classes == {
        label: ClassTally(each.agreed, each.changed_to, each.changed_from, each.extra, each.missed)
        for label, each in back.classes.items()
    }
    assert (there.drift is None) == (back.drift is None)
    if there.drift and back.drift:
        assert there.drift.signed == pytest.approx(-back.drift.signed)
        assert there.drift.absolute == pytest.approx(back.drift.absolute)


@STEADY
@given(BOXES, BOXES)
def test_every_box_is_counted_once_under_its_label(stable: DetectResult, canary: DetectResult) -> None:
    classes = compare(stable, canary).classes
    for answer, said in ((stable, "stable"), (canary, "canary")):
        labels = [one.label for one in answer.detections]
        assert {label: getattr(each, said) for label, each in classes.items() if getattr(each, said)} == {
            label: labels.count(label) for label in labels
        }


@STEADY
@given(BOXES, BOXES)
def test_no_way_to_pair_the_boxes_finds_more_than_twice_as_many(
    stable: DetectResult, canary: DetectResult
) -> None:
    most = largest_matching(stable.detections, canary.detections)
    assert most / 2 <= total(stable, canary).agreed <= most


@STEADY
@given(BOXES, BOXES)
def test_boxes_that_stand_apart_are_paired_as_well_as_can_be(
    stable: DetectResult, canary: DetectResult
) -> None:
    one, other = spread(stable), spread(canary)
    assert total(one, other).agreed == largest_matching(one.detections, other.detections)


def spread(answer: DetectResult) -> DetectResult:
    """Those boxes that touch no better one of their class."""
    kept: list[Detection] = []
    for one in answer.detections:
        if all(other.class_id != one.class_id or iou(other.box, one.box) == 0 for other in kept):
            kept.append(one)
    return answer.model_copy(update={"detections": kept})


def largest_matching(stable: list[Detection], canary: list[Detection]) -> int:
    """By augmenting paths, over boxes of one class that overlap by half."""
    holder: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j, other in enumerate(canary):
            fits = stable[i].class_id == other.class_id and iou(stable[i].box, other.box) >= 0.5
            if fits and j not in seen:
                seen.add(j)
                if j not in holder or place(holder[j], seen):
                    holder[j] = i
                    return True
        return False

    return sum(place(i, set()) for i in range(len(stable)))


def iou(one: Box, other: Box) -> float:
    if one == other:
        return 1.0
    width = min(one.x_max, other.x_max) - max(one.x_min, other.x_min)
    height = min(one.y_max, other.y_max) - max(one.y_min, other.y_min)
    shared = max(width, 0) * max(height, 0)
    union = sum((box.x_max - box.x_min) * (box.y_max - box.y_min) for box in (one, other)) - shared
    return shared / union if union else 0.0
