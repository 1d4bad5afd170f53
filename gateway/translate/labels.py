"""Class names and numbers in a request to class ids."""

from collections.abc import Mapping, Sequence

from gateway.errors import ValidationFailed

_MAX_DIGITS = 9  # of an id as text


def class_ids(classes: Sequence[int | str] | None, labels: Sequence[str]) -> frozenset[int] | None:
    """The ids that the caller asked for, by id or by label; None where nothing narrows the answer.

    A label that several classes carry (ImageNet has two cranes) asks for all of them; a label that is a number
    goes before the id of that number.
    Raises ValidationFailed for a class that the model does not have.
    """
    if classes is None:
        return None
    asked = {item for item in classes if isinstance(item, str)}
    named: dict[str, set[int]] = {}
    for index, label in enumerate(labels):
        if label in asked:
            named.setdefault(label, set()).add(index)
    return frozenset(
        index
        for position, item in enumerate(classes)
        for index in _ids(item, f"/classes/{position}", named, len(labels))
    )


def _ids(item: int | str, pointer: str, named: Mapping[str, set[int]], count: int) -> set[int]:
    if isinstance(item, str):
        if item in named:
            return named[item]
        item = int(item) if item.isascii() and item.isdigit() and len(item) <= _MAX_DIGITS else -1
    if 0 <= item < count:
        return {item}
    raise ValidationFailed.of(pointer, "The model has no such class.")
