"""Class names and numbers in a request to class ids."""

from collections.abc import Mapping, Sequence

from gateway.errors import ValidationFailed


def class_ids(classes: Sequence[int | str] | None, labels: Sequence[str]) -> frozenset[int] | None:
    """The ids that the caller asked for, by id or by label; None where nothing narrows the answer.

    A label that stands for several classes (ImageNet has two kinds of "crane") asks for all of them, and a
    label that is a number goes before the id of that number.
    Raises ValidationFailed for a class that the model does not have.
    """
    if classes is None:
        return None
    known: dict[int | str, set[int]] = {}
    for index, label in enumerate(labels):
        known.setdefault(label, set()).add(index)
        known[index] = {index}
    return frozenset[int]().union(*(_ids(item, position, known) for position, item in enumerate(classes)))


def _ids(item: int | str, position: int, known: Mapping[int | str, set[int]]) -> set[int]:
    ...
