"""What the comparison of two answers comes to, whatever they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

AGREED = 0.9  # of all boxes, or elements


@dataclass(frozen=True, slots=True)
class ClassTally:
    """How a class fared: as the best prediction of an image, or as a box; of tensors, as an output.

    `agreed`: both answers say it. `changed_from`: the stable one does, and the canary another class in its place;
    `changed_to`: the other way round. `missed` and `extra`: the canary has nothing in its place, or alone has it.
    """

    agreed: int = 0
    changed_from: int = 0
    changed_to: int = 0
    missed: int = 0
    extra: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.agreed + other.agreed,
            self.changed_from + other.changed_from,
            self.changed_to + other.changed_to,
            self.missed + other.missed,
            self.extra + other.extra,
        )

    @property
    def stable(self) -> int:
        """How often the stable version says it."""
        return self.agreed + self.changed_from + self.missed

    @property
    def canary(self) -> int:
        """How often the canary says it."""
        return self.agreed + self.changed_to + self.extra


@dataclass(frozen=True, slots=True)
class Drift:
    """The canary's scores (of tensors: floats) less the stable one's, on average over what both have: with the sign,
    and without it.
    """

    signed: float
    absolute: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One image, text or request for tensors. `classes` are by label.

    `overlap` is the share of both answers that is in both, 0 to 1 (Dice): predicted classes, or boxes with a partner
    of their class, or elements that are alike (of each output of elements or of what they hold, whichever is less).
    `drift` is None where nothing is in both that has scores.
    """

    agrees: bool
    overlap: float
    drift: Drift | None
    classes: Mapping[str, ClassTally]
