"""Class names and numbers in a request to class ids."""

from collections.abc import Sequence

from gateway.errors import ValidationFailed


def class_ids(classes: Sequence[int | str] | None, labels: Sequence[str]) -> frozenset[int] | None:
    """The ids that the caller asked for, by id or by label; None where nothing narrows the answer.

    Raises ValidationFailed for one that the model does not have.
    """
    if classes is None:
        return None
    return frozenset(_class_id(item, position, labels) for position, item in enumerate(classes))


def _class_id(item: int | str, position: int, labels: Sequence[str]) -> int:
    if isinstance(item, str) and item in labels:
        return labels.index(item)
    if isinstance(item, int) and 0 <= item < len(labels):
        return item
    if isinstance(item, str) and item.isascii() and item.isdigit() and int(item) < len(labels):
        return int(item)
    raise ValidationFailed.of(f"/classes/{position}", "The model has no such class.")
