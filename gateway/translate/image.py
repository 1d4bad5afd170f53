"""A picture to the network's input tensor, as the network was trained to see it.

`crop` follows torchvision's Resize and CenterCrop, `letterbox` Ultralytics' LetterBox, `antialias` tells Pillow's
filters (whose support grows with the scale, torchvision's default) from OpenCV's INTER_LINEAR (which samples four
neighbours at any scale). A gray network sees the picture turned gray before it is resized.
"""

import io
import math
import random
from dataclasses import dataclass

import numpy as np
from cykooz_resizer import Algorithm, FilterType
from cykooz_resizer.rust_lib import PilImageWrapper, RustResizeOptions, RustResizer
from PIL import Image

from gateway.catalog import Preprocessing
from gateway.domain import Array, Buffer
from gateway.errors import InputError
from gateway.translate import elements
from gateway.translate.decode import Limits, Picture, check_size, load, open_image
from gateway.translate.inspection import sniff, stored_size

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}
# A reduced JPEG keeps this many pixels per output pixel or more, so that the filter hides how it was reduced.
_REDUCED_MARGIN = 3
_REDUCED_SIDE = 64  # pixels at least: the last of few may stand for one column and weigh like eight
# Of a picture with sides further apart a crop resizes only what it keeps: the whole could take gigabytes.
_ELONGATED = 16
# EXIF orientations that put the stored picture's last column (x) or row (y) first.
_MIRRORS_X = (2, 3, 6, 7)
_MIRRORS_Y = (3, 4, 7, 8)
# Left, top, right and bottom in pixels; an edge may lie inside a pixel.
_Region = tuple[float, float, float, float]


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
class File:
    """One picture for a network that takes the file itself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class _Plan:
    """The size to resize to, and where the canvas lies on it (negative offsets crop, positive ones pad)."""

    width: int
    height: int
    left: int
    top: int


def sample(width: int, height: int) -> bytes:
    """A picture of noise as PNG: always the same, and an input that any model can take."""
    noise = random.Random(0).randbytes(height * width * 3)  # noqa: S311  # numpy's own would stay loaded: 2 MB
    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), noise).save(file, "PNG")
    return file.getvalue()


def checked(data: bytes, limits: Limits) -> File:
    """A JPEG, PNG or WebP that is passed on as it is: its header is sound, and its size within limits.

    Raises InputError. What only its decoder would find is the model's to refuse.
    """
    open_image(data, limits)
    return File(data)


def megapixels(files: Buffer, limits: Limits) -> float:
    """How large the strings of BYTES are, for a network that takes files: pictures as their headers say.

    What is no JPEG, PNG or WebP is the model's to judge, and counts as any string: three bytes are a pixel. Raises
    InputError for a picture beyond the limits, or one that does not tell its size.
    """
    return sum(_megapixels(bytes(file), limits) for file in elements.strings(files))


def encode(data: bytes, preprocessing: Preprocessing, limits: Limits) -> Encoded:
    """Bytes of a JPEG, PNG or WebP to the input tensor. Raises InputError."""
    header = open_image(data, limits)
    plan = _plan(header.width, header.height, preprocessing)
    picture = load(header, _enough(plan, preprocessing))
    image = picture.image.convert("L") if preprocessing.channels == "GRAY" else picture.image
    canvas = _canvas(image, _extent(picture, header.orientation), plan, preprocessing)
    placement = Placement(
        width=picture.width,
        height=picture.height,
        scale_x=plan.width / picture.width,
        scale_y=plan.height / picture.height,
        left=plan.left,
        top=plan.top,
    )
    return Encoded(_tensor(canvas, preprocessing), placement)


def _megapixels(data: bytes, limits: Limits) -> float:
    try:
        sniff(data)
    except InputError:
        return len(data) / 3_000_000
    width, height = stored_size(data)
    check_size(width, height, limits)
    return width * height / 1e6


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


def _enough(plan: _Plan, to: Preprocessing) -> tuple[int, int] | None:
    """The size that a JPEG may be reduced to; None where the filter samples single pixels."""
    if not to.antialias or to.interpolation == "nearest":
        return None
    return max(plan.width * _REDUCED_MARGIN, _REDUCED_SIDE), max(plan.height * _REDUCED_MARGIN, _REDUCED_SIDE)


def _extent(picture: Picture, orientation: int) -> _Region:
    """Where the original lies on the decoded image.

    A reduced JPEG has its sides rounded up, so the original's last column and row may end inside a pixel;
    once turned upright these can be the first ones.
    """
    width, height = picture.width / picture.reduction, picture.height / picture.reduction
    left = picture.image.width - width if orientation in _MIRRORS_X else 0.0
    top = picture.image.height - height if orientation in _MIRRORS_Y else 0.0
    return left, top, left + width, top + height


def _canvas(image: Image.Image, extent: _Region, plan: _Plan, to: Preprocessing) -> Image.Image:
    """The resized picture, cropped or padded to the network's input."""
    if to.resize == "crop" and max(plan.width, plan.height) > _ELONGATED * min(plan.width, plan.height):
        return _resize(image, (to.width, to.height), _kept(extent, plan, to), to)
    resized = _resize(image, (plan.width, plan.height), extent, to)
    if resized.size == (to.width, to.height):
        return resized
    if to.resize == "crop":
        return resized.crop((-plan.left, -plan.top, to.width - plan.left, to.height - plan.top))
    canvas = Image.new(resized.mode, (to.width, to.height), (to.pad,) * len(resized.getbands()))
    canvas.paste(resized, (plan.left, plan.top))
    return canvas


def _kept(extent: _Region, plan: _Plan, to: Preprocessing) -> _Region:
    """The part of the image that the crop keeps."""
    left, top, right, bottom = extent
    step_x, step_y = (right - left) / plan.width, (bottom - top) / plan.height
    left, top = left - plan.left * step_x, top - plan.top * step_y
    return left, top, min(left + to.width * step_x, right), min(top + to.height * step_y, bottom)


def _resize(image: Image.Image, size: tuple[int, int], region: _Region, to: Preprocessing) -> Image.Image:
    if image.size == size and region == (0, 0, *size):
        return image
    if to.interpolation != "bilinear":
        return image.resize(size, _RESAMPLING[to.interpolation], box=region)
    if not to.antialias and region == (0, 0, *image.size):
        # The four neighbours are one and the same pixel at an odd scale, and all there are at a scale of 2.
        step_x, step_y = image.width / size[0], image.height / size[1]
        if step_x % 2 == step_y % 2 == 1:
            return image.resize(size, Image.Resampling.NEAREST)
        if step_x == step_y == 2:
            return image.reduce(2)
    return _bilinear(image, size, region, antialias=to.antialias)


def _bilinear(image: Image.Image, size: tuple[int, int], region: _Region, *, antialias: bool) -> Image.Image:
    """What Pillow (`antialias`) or OpenCV makes of it, at most a level of 255 beside, in an eighth of the time."""
    left, top, right, bottom = region
    algorithm = Algorithm.convolution if antialias else Algorithm.interpolation
    resized = Image.new(image.mode, size, None)  # written whole
    RustResizer().resize_pil(
        PilImageWrapper(image),
        PilImageWrapper(resized),
        RustResizeOptions()
        .set_resize_alg(algorithm.value, FilterType.bilinear.value, 2)
        .set_crop_box(
            left, top, _length(left, min(right, image.width)), _length(top, min(bottom, image.height))
        ),
    )
    return resized


def _length(start: float, end: float) -> float:
    """From one to the other, so that their sum is not rounded to beyond the end, which is refused."""
    length = end - start
    return length if start + length <= end else math.nextafter(length, 0)


def _tensor(image: Image.Image, to: Preprocessing) -> Array:
    """Channels, datatype and layout: [C, H, W] or [H, W, C]."""
    pixels: Array = np.asarray(image)
    if to.channels == "GRAY":
        pixels = pixels[..., None]
    elif to.channels == "BGR":
        pixels = pixels[..., ::-1]
    if to.layout == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    pixels = np.ascontiguousarray(pixels)
    return pixels if to.datatype == "UINT8" else _normalise(pixels, to)


def _normalise(pixels: Array, to: Preprocessing) -> Array:
    """(pixels / divisor - mean) / std in float32, step by step as torchvision does."""
    per_channel = (-1, 1, 1) if to.layout == "NCHW" else (-1,)
    values = pixels.astype(np.float32)
    values /= np.float32(to.divisor)
    if to.mean is not None:
        values -= np.array(to.mean, dtype=np.float32).reshape(per_channel)
    if to.std is not None:
        values /= np.array(to.std, dtype=np.float32).reshape(per_channel)
    return values.astype(np.float16) if to.datatype == "FP16" else values
