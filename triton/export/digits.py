"""Handwritten digits from scikit-learn, split once and drawn as smooth ink at any size (numpy and Pillow only)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits

LABELS = [str(digit) for digit in range(10)]

#: A pixel belongs to the visible ink when the ink covers at least half of it.
INK_THRESHOLD = 0.5

#: Empty cells added around the 8 x 8 bitmap, so that a turned or sheared digit is not cut off.
PADDING = 3

Split = Literal["train", "validation", "held_out"]
Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Samples:
    """Digits of one split: `bitmaps` [n, 8, 8] with values 0..1, `labels` [n] with values 0..9."""

    bitmaps: Floats
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Pose:
    """How one digit is bent: radians of turn, shear and relative width, then where and how softly ink ends."""

    turn: float
    shear: float
    width: float
    level: float
    softness: float


@dataclass(frozen=True)
class Glyph:
    """One drawn digit: `ink` [height, width] with coverage 0..1, cut to the box of its visible ink."""

    ink: Floats
    label: int


def split_of(index: int) -> Split:
    """The split of sample `index`: every fifth is held out, every tenth chooses between trainings."""
    if index % 5 == 0:
        return "held_out"
    return "validation" if index % 10 == 1 else "train"


@cache
def load_split(split: Split) -> Samples:
    """The samples of `split`, in the order of the data set."""
    digits = load_digits()
    chosen = np.array([i for i in range(len(digits.target)) if split_of(i) == split])
    bitmaps = (digits.images[chosen] / 16.0).astype(np.float32)
    return Samples(bitmaps, digits.target[chosen].astype(np.int64))


def random_pose(rng: np.random.Generator) -> Pose:
    """A slight, plausible change of handwriting and pen."""
    return Pose(
        turn=float(np.radians(rng.uniform(-12, 12))),
        shear=float(rng.uniform(-0.15, 0.15)),
        width=float(rng.uniform(0.85, 1.15)),
        level=float(rng.uniform(0.4, 0.52)),
        softness=float(rng.uniform(0.15, 0.6)),
    )


def draw_glyph(samples: Samples, index: int, size: float, pose: Pose) -> Glyph:
    """Sample `index` as ink whose longer side is about `size` pixels."""
    padded = Image.fromarray(np.pad(samples.bitmaps[index], PADDING))
    cells = 8 + 2 * PADDING
    draft_scale = 8.0
    draft = _ink(padded, int(cells * draft_scale), draft_scale, (cells / 2, cells / 2), pose)
    top, bottom, left, right = ink_box(draft)
    scale = size * draft_scale / max(bottom - top, right - left)
    # The draft's box is centred around this offset, in draft pixels, from the middle of the cells.
    offset = ((left + right) / 2 / draft_scale - cells / 2, (top + bottom) / 2 / draft_scale - cells / 2)
    middle = _unbend(offset, pose)
    side = int(np.ceil(size * 1.25)) + 4
    ink = _ink(padded, side, scale, (cells / 2 + middle[0], cells / 2 + middle[1]), pose)
    top, bottom, left, right = ink_box(ink)
    return Glyph(ink[top:bottom, left:right], int(samples.labels[index]))


def ink_box(ink: Floats) -> tuple[int, int, int, int]:
    """Top, bottom, left and right (bottom and right exclusive) of the visible part of `ink` [height, width]."""
    visible = ink >= INK_THRESHOLD
    rows = np.flatnonzero(visible.any(axis=1))
    columns = np.flatnonzero(visible.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def draw_picture(
    samples: Samples, index: int, height: int, width: int, dark: bool, seed: list[int]
) -> Pixels:
    """A gray picture [height, width] of one digit; `dark` puts dark ink on a light ground, else the reverse."""
    rng = np.random.default_rng(seed)
    size = max(16.0, min(height, width) * rng.uniform(0.55, 0.92))
    glyph = draw_glyph(samples, index, size, random_pose(rng))
    ground = _ground(height, width, rng)
    ink = _place(glyph.ink, height, width, rng)
    contrast = rng.uniform(90, 235)
    darkest = rng.uniform(0, 255 - contrast)
    picture = darkest + contrast * (ink + ground * (1 - ink))
    if dark:
        picture = 255 - picture
    picture += rng.normal(0, rng.uniform(0, 6), picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _ink(bitmap: Image.Image, side: int, scale: float, middle: tuple[float, float], pose: Pose) -> Floats:
    """Coverage [side, side] of the bent bitmap at `scale` pixels a cell, with cell `middle` at the centre."""
    matrix = _bend(pose) / scale
    shift = np.array(middle) - matrix @ np.array([side / 2, side / 2])
    coefficients = (*matrix[0], shift[0], *matrix[1], shift[1])
    height = np.asarray(
        bitmap.transform((side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    )
    return np.clip((height - pose.level) / pose.softness + 0.5, 0, 1).astype(np.float32)


def _bend(pose: Pose) -> npt.NDArray[np.float64]:
    """The 2 x 2 matrix from picture directions to bitmap directions."""
    cos, sin = np.cos(pose.turn), np.sin(pose.turn)
    widened, turned = np.array([[1 / pose.width, pose.shear], [0, 1]]), np.array([[cos, -sin], [sin, cos]])
    bend: npt.NDArray[np.float64] = widened @ turned
    return bend


def _unbend(offset: tuple[float, float], pose: Pose) -> npt.NDArray[np.float64]:
    """A step seen in the picture, in cells, as the step it is in the bitmap."""
    step: npt.NDArray[np.float64] = _bend(pose) @ np.array(offset)
    return step


def _ground(height: int, width: int, rng: np.random.Generator) -> Floats:
    """A ground [height, width] that is even or shaded, 0..0.25 of the contrast."""
    strength = rng.uniform(0, 0.25) * (rng.random() < 0.5)
    corners = Image.fromarray(rng.random((2, 2), dtype=np.float32))
    shade = np.asarray(corners.resize((width, height), Image.Resampling.BILINEAR))
    return (strength * shade).astype(np.float32)


def _place(ink: Floats, height: int, width: int, rng: np.random.Generator) -> Floats:
    """`ink` somewhere inside an empty [height, width] field, near the middle."""
    field = np.zeros((height, width), np.float32)
    ink = ink[:height, :width]
    free_y, free_x = height - ink.shape[0], width - ink.shape[1]
    top, left = int(free_y * rng.uniform(0.25, 0.75)), int(free_x * rng.uniform(0.25, 0.75))
    field[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return field
