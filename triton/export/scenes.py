"""Synthetic scenes of digits with their true boxes, made from a seed (numpy and Pillow only)."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from digits import Floats, Glyph, Pixels, Samples, draw_glyph, random_pose
from PIL import Image, ImageDraw, ImageFilter

#: Sides in pixels of the canvas that digit sizes refer to, and of the smallest and largest digit on it.
CANVAS = 320
SMALLEST, LARGEST = 20.0, 110.0
MOST_DIGITS = 10

#: Drawing meets an asked size within so many pixels, so sizes are drawn this far inside the range.
SLACK = 2.0

#: Free pixels kept between the boxes of two digits, and tries at finding such a place for one.
GAP = 2
TRIES = 30

Rng = np.random.Generator


@dataclass(frozen=True)
class Scene:
    """A picture with its digits.

    `image` is RGB [height, width, 3]. `boxes` [n, 4] are x_min, y_min, x_max, y_max in pixels, where the maxima
    are exclusive edges: the tightest box around all pixels that the digit's ink covers by half or more.
    `classes` [n] are the digits.
    """

    image: Pixels
    boxes: Floats
    classes: npt.NDArray[np.int64]


def make_scene(samples: Samples, seed: list[int], width: int = CANVAS, height: int = CANVAS) -> Scene:
    """A scene of 1 to 10 digits of `samples`; sizes grow with the longer side, so that a letterbox undoes it."""
    rng = np.random.default_rng(seed)
    canvas = _background(height, width, rng)
    unit = max(width, height) / CANVAS
    boxes: list[tuple[int, int, int, int]] = []
    classes: list[int] = []
    for size in _sizes(rng):
        glyph = draw_glyph(samples, int(rng.integers(len(samples))), size * unit, random_pose(rng))
        box = _free_place(glyph, boxes, height, width, rng)
        if box is None:
            continue
        _paint(canvas, glyph, box, rng)
        boxes.append(box)
        classes.append(glyph.label)
    image = _finish(canvas, rng)
    return Scene(image, np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64))


def _sizes(rng: Rng) -> list[float]:
    """Sizes of 1 to 10 digits, in pixels of the 320 canvas, largest first so that they find room."""
    count = int(rng.integers(1, MOST_DIGITS + 1))
    sizes = np.exp(rng.uniform(np.log(SMALLEST + SLACK), np.log(LARGEST - SLACK), count))
    return sorted(sizes.tolist(), reverse=True)


def _free_place(
    glyph: Glyph, taken: list[tuple[int, int, int, int]], height: int, width: int, rng: Rng
) -> tuple[int, int, int, int] | None:
    """A box for `glyph` inside the canvas and clear of the `taken` ones, or None if no try found one."""
    tall, wide = glyph.ink.shape
    if tall > height or wide > width:
        return None
    for _ in range(TRIES):
        left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - tall + 1))
        box = (left, top, left + wide, top + tall)
        if not any(_touch(box, other) for other in taken):
            return box
    return None


def _touch(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return (
        box[0] < other[2] + GAP
        and other[0] < box[2] + GAP
        and box[1] < other[3] + GAP
        and other[1] < box[3] + GAP
    )


def _paint(canvas: Floats, glyph: Glyph, box: tuple[int, int, int, int], rng: Rng) -> None:
    """Ink of one colour, clearly lighter or darker than what lies under it."""
    left, top, right, bottom = box
    under = canvas[top:bottom, left:right]
    colour = _ink_colour(under, rng)
    under += glyph.ink[:, :, None] * (colour - under)


def _ink_colour(under: Floats, rng: Rng) -> Floats:
    """An RGB colour at least 70 gray levels, and two deviations, away from `under` [height, width, 3]."""
    gray = under.mean(axis=2)
    mean, distance = float(gray.mean()), 70 + 2 * float(gray.std())
    lighter, darker = mean + distance, mean - distance
    go_lighter = lighter < 255 and (darker < 0 or rng.random() < 0.5)
    if not go_lighter and darker < 0:
        go_lighter = mean < 128
    level = rng.uniform(min(lighter, 255), 255) if go_lighter else rng.uniform(0, max(darker, 0))
    tint = rng.uniform(-40, 40, 3) * (rng.random() < 0.6)
    colour: Floats = np.clip(level + tint - tint.mean(), 0, 255).astype(np.float32)
    return colour


def _background(height: int, width: int, rng: Rng) -> Floats:
    """A plain or textured ground [height, width, 3], 0..255."""
    kinds: list[Callable[[int, int, Rng], Floats]] = [_plain, _shaded, _cloudy, _striped, _shapes]
    return kinds[int(rng.choice(len(kinds), p=[0.25, 0.15, 0.25, 0.15, 0.2]))](height, width, rng)


def _colour(rng: Rng) -> Floats:
    gray, tint = rng.uniform(0, 255), rng.uniform(-60, 60, 3) * (rng.random() < 0.7)
    return np.clip(gray + tint, 0, 255).astype(np.float32)


def _near(colour: Floats, spread: float, rng: Rng) -> Floats:
    """A colour up to `spread` gray levels lighter or darker than `colour`."""
    step = rng.uniform(-spread, spread) + rng.uniform(-15, 15, 3)
    return np.clip(colour + step, 0, 255).astype(np.float32)


def _plain(height: int, width: int, rng: Rng) -> Floats:
    return np.broadcast_to(_colour(rng), (height, width, 3)).astype(np.float32)


def _shaded(height: int, width: int, rng: Rng) -> Floats:
    colour = _colour(rng)
    corners = np.stack([_near(colour, 60, rng) for _ in range(4)]).reshape(2, 2, 3)
    return _enlarge(corners, height, width)


def _cloudy(height: int, width: int, rng: Rng) -> Floats:
    """Soft blotches of two or three sizes, as on paper, walls and cloth."""
    clouds = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(2, 4))):
        grain = rng.standard_normal((int(rng.integers(3, 48)),) * 2).astype(np.float32)
        clouds += _enlarge(grain, height, width)
    strength = rng.uniform(5, 16)
    return np.clip(_colour(rng) + strength * clouds[:, :, None], 0, 255).astype(np.float32)


def _striped(height: int, width: int, rng: Rng) -> Floats:
    """Waves in one direction, or in two as on woven cloth, between two near colours."""
    first = _colour(rng)
    second = _near(first, 50, rng)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = np.ones((height, width), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        turn, length = rng.uniform(0, np.pi), rng.uniform(6, 60)
        waves *= np.sin((x * np.cos(turn) + y * np.sin(turn)) * (2 * np.pi / length)).astype(np.float32)
    if rng.random() < 0.5:
        waves = np.sign(waves)
    share = (waves[:, :, None] + 1) / 2
    return (first + share * (second - first)).astype(np.float32)


def _shapes(height: int, width: int, rng: Rng) -> Floats:
    """Overlapping filled rectangles, ellipses and long lines in near colours."""
    colour = _colour(rng)
    image = Image.new("RGB", (width, height), _as_tuple(colour))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 16))):
        fill = _as_tuple(_near(colour, 50, rng))
        x, y = rng.uniform(0, width, 2), rng.uniform(0, height, 2)
        kind = rng.integers(3)
        corners = (float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        if kind == 0:
            draw.rectangle(corners, fill=fill)
        elif kind == 1:
            draw.ellipse(corners, fill=fill)
        else:
            draw.line((0.0, float(y[0]), float(width), float(y[1])), fill=fill, width=int(rng.integers(1, 6)))
    return np.asarray(image, np.float32).copy()


def _as_tuple(colour: Floats) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


def _enlarge(values: Floats, height: int, width: int) -> Floats:
    """`values` [rows, columns] or [rows, columns, 3] smoothly enlarged to the canvas."""
    planes = values[:, :, None] if values.ndim == 2 else values
    large = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
        for plane in np.moveaxis(planes, 2, 0).copy()
    ]
    return large[0] if values.ndim == 2 else np.stack(large, axis=2)


def _finish(canvas: Floats, rng: Rng) -> Pixels:
    """What a camera adds: some grain, now and then a little blur and JPEG compression."""
    grain = rng.standard_normal(canvas.shape[:2], dtype=np.float32) * np.float32(rng.uniform(0, 8))
    pixels = np.clip(canvas + grain[:, :, None] + 0.5, 0, 255).astype(np.uint8)
    blur, compress = rng.random() < 0.25, rng.random() < 0.3
    if not (blur or compress):
        return pixels
    image = Image.fromarray(pixels)
    if blur:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.0))))
    if compress:
        packed = io.BytesIO()
        image.save(packed, "JPEG", quality=int(rng.integers(55, 95)))
        image = Image.open(packed)
    return np.asarray(image)
