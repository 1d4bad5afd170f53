"""Ids of entries in a Redis stream, as callers give them back to turn a page."""

import re

from gateway.errors import ValidationFailed

_ENTRY_ID = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?")
_NONE = (0, 0)  # the id that no entry has


def exclusive(pointer: str, entry_id: str | None, otherwise: str) -> str:
    """The bound of a range that leaves this entry out. Raises ValidationFailed for an id that is none."""
    if entry_id is None:
        return otherwise
    if not _ENTRY_ID.fullmatch(entry_id):
        raise ValidationFailed.of(pointer, "Not an event's id.")
    if order(entry_id) == _NONE:
        return "0-0"  # there is nothing to leave out, and Redis cannot count down from it
    return f"({entry_id}"


def moment(entry_id: str) -> float:
    """Redis's clock at the entry, in seconds since the epoch."""
    return int(entry_id.partition("-")[0]) / 1000


def order(entry_id: str) -> tuple[int, int]:
    """Sorts as Redis does; entries of two streams can have the same id."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)
