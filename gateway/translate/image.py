"""A picture to the network's input tensor, as the network was trained to see it.

`crop` follows torchvision's Resize and CenterCrop, `letterbox` Ultralytics' LetterBox, `antialias` tells Pillow's
filters (whose support grows with the scale, torchvision's default) from OpenCV's INTER_LINEAR (which samples four
neighbours at any scale).
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from gateway.catalog import Preprocessing
from gateway.domain import Array
from gateway.translate.decode import Limits, Picture, load, open_image

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
_REDUCED_MARGIN = (
    2  # a reduced JPEG keeps at least this many pixels per output pixel for the antialiasing filter
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the original lies in the network's input, in pixels: `x_input = x * scale_x + left`."""

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """One picture as the network's input, without a batch dimension, and the way back."""

    array: Array
    placement: Placement


@dataclass(frozen=True, slots=True)
class _Plan:
    """The size to resize to, and where the canvas lies on it (negative offsets crop, positive ones pad)."""

    width: int
    height: int
    left: int
    top: int


def encode(data: bytes, preprocessing: Preprocessing, limits: Limits) -> Encoded:
    """Bytes of a JPEG, PNG or WebP to the input tensor. Raises InputError."""
    header = open_image(data, limits)
    plan = _plan(header.width, header.height, preprocessing)
    enough = (
        (plan.width * _REDUCED_MARGIN, plan.height * _REDUCED_MARGIN) if preprocessing.antialias else None
    )
    picture = load(header, enough)
    canvas = _canvas(_resize(picture, plan, preprocessing), plan, preprocessing)
    placement = Placement(
        width=picture.width,
        height=picture.height,
        scale_x=plan.width / picture.width,
        scale_y=plan.height / picture.height,
        left=plan.left,
        top=plan.top,
    )
    return Encoded(_tensor(canvas, preprocessing), placement)


def _plan(width: int, height: int, to: Preprocessing) -> _Plan:
    if to.resize == "stretch":
        return _Plan(to.width, to.height, 0, 0)
    if to.resize == "crop":
        return _crop_plan(width, height, to)
    ratio = min(to.width / width, to.height / height)
    inner_width = max(1, round(width * ratio))
    inner_height = max(1, round(height * ratio))
    # The odd pixel goes to the right and the bottom: Ultralytics rounds half the padding less 0.1.
    left = round((to.width - inner_width) / 2 - 0.1)
    top = round((to.height - inner_height) / 2 - 0.1)
    return _Plan(inner_width, inner_height, left, top)


def _crop_plan(width: int, height: int, to: Preprocessing) -> _Plan:
    shorter = to.resize_shorter or min(to.width, to.height)
    if width <= height:
        inner_width, inner_height = shorter, int(shorter * height / width)
    else:
        inner_width, inner_height = int(shorter * width / height), shorter
    left = round((inner_width - to.width) / 2)
    top = round((inner_height - to.height) / 2)
    return _Plan(inner_width, inner_height, -left, -top)


def _resize(picture: Picture, plan: _Plan, to: Preprocessing) -> Image.Image:
    size = (plan.width, plan.height)
    # In pixels of a reduced image the original's edge may fall inside its last column or row.
    box = (0.0, 0.0, picture.width / picture.reduction, picture.height / picture.reduction)
    if picture.image.size == size and picture.reduction == 1:
        return picture.image
    if to.antialias or to.interpolation == "nearest":
        return picture.image.resize(size, _RESAMPLING[to.interpolation], box=box)
    step_x, step_y = picture.width / plan.width, picture.height / plan.height
    return picture.image.transform(
        size, Image.Transform.AFFINE, (step_x, 0, 0, 0, step_y, 0), resample=_RESAMPLING[to.interpolation]
    )


def _canvas(image: Image.Image, plan: _Plan, to: Preprocessing) -> Image.Image:
    if image.size == (to.width, to.height):
        return image
    if to.resize == "crop":
        return image.crop((-plan.left, -plan.top, to.width - plan.left, to.height - plan.top))
    canvas = Image.new("RGB", (to.width, to.height), (to.pad, to.pad, to.pad))
    canvas.paste(image, (plan.left, plan.top))
    return canvas


def _tensor(image: Image.Image, to: Preprocessing) -> Array:
    """Channels, datatype and layout: [C, H, W] or [H, W, C]."""
    pixels: Array = np.asarray(image.convert("L") if to.channels == "GRAY" else image)
    if to.channels == "GRAY":
        pixels = pixels[..., None]
    elif to.channels == "BGR":
        pixels = pixels[..., ::-1]
    if to.datatype != "UINT8":
        pixels = _normalise(pixels, to)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if to.layout == "NCHW" else pixels)


def _normalise(pixels: Array, to: Preprocessing) -> Array:
    mean = np.array(to.mean or (0.0,), dtype=np.float32)
    std = np.array(to.std or (1.0,), dtype=np.float32)
    scaled = (pixels.astype(np.float32) / np.float32(to.divisor) - mean) / std
    return scaled.astype(np.float16) if to.datatype == "FP16" else scaled
