"""What a caller names in `classes` to class ids."""

import pytest

from gateway.errors import ValidationFailed
from gateway.translate.labels import class_ids

ANIMALS = ("cat", "dog", "crane", "fox", "crane")
DIGITS = tuple("9876543210")


def test_no_classes_narrow_nothing() -> None:
    assert class_ids(None, ANIMALS) is None


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        pytest.param(["cat"], {0}, id="a label"),
        pytest.param([1], {1}, id="an id"),
        pytest.param(["3"], {3}, id="an id as text, as a query carries it"),
        pytest.param(["cat", 3, "1"], {0, 1, 3}, id="all of them together"),
        pytest.param(["cat", 0, "0", "cat"], {0}, id="the same class several times"),
        pytest.param(["crane"], {2, 4}, id="a label that two classes carry"),
        pytest.param([2], {2}, id="one of them by its id"),
    ],
)
def test_classes_are_found(classes: list[int | str], expected: set[int]) -> None:
    assert class_ids(classes, ANIMALS) == expected


def test_a_label_that_is_a_number_goes_before_the_id() -> None:
    assert class_ids(["9"], DIGITS) == {0}
    assert class_ids([9], DIGITS) == {9}


@pytest.mark.parametrize(
    "item",
    [
        pytest.param("bird", id="a label that the model does not have"),
        pytest.param("Cat", id="a label in other letters"),
        pytest.param("", id="nothing"),
        pytest.param(5, id="an id one too high"),
        pytest.param(-1, id="an id below nothing"),
        pytest.param("5", id="an id one too high, as text"),
        pytest.param("-1", id="an id below nothing, as text"),
        pytest.param("1.0", id="a fraction"),
        pytest.param("²", id="a digit that is no number"),
        pytest.param("٣", id="a number of another script"),
        pytest.param("1" * 5000, id="more digits than Python reads"),
        pytest.param(10**30, id="a huge id"),
    ],
)
def test_a_class_that_is_not_there_is_named_by_its_place(item: int | str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        class_ids(["cat", item], ANIMALS)
    assert [error.pointer for error in caught.value.errors] == ["/classes/1"]
