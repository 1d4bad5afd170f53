"""What the field's tools do with a picture, written down from their conventions and not from the gateway's code."""

import struct
import zlib
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image
from support.pictures import encoded, photo

from gateway.catalog import Preprocessing
from gateway.translate.decode import Limits
from gateway.translate.image import Encoded, encode

Pixels = NDArray[np.uint8]

GENEROUS = Limits(pixels=200_000_000, side=65_535)
STEADY = settings(derandomize=True, deadline=None, database=None, max_examples=60)  # always the same cases
cached_photo = cache(photo)  # large ones take a while to make; do not paint on them


def network(width: int, height: int, resize: str = "stretch", **options: object) -> Preprocessing:
    """A network that takes RGB as UINT8 [3, height, width], unless `options` say something else."""
    fields: dict[str, object] = {
        "datatype": "UINT8",
        "channels": "RGB",
        "layout": "NCHW",
        "resize_shorter": None,
        "interpolation": "bilinear",
        "antialias": True,
        "pad": 114,
        "divisor": 255.0,
        "mean": None,
        "std": None,
    }
    return Preprocessing(width=width, height=height, resize=resize, **(fields | options))  # type: ignore[arg-type]


def seen(data: bytes | Image.Image, to: Preprocessing) -> Encoded:
    """What the network is given; a picture goes in as a PNG, so without loss."""
    if isinstance(data, Image.Image):
        data = encoded(data, compress_level=1)
    return encode(data, to, GENEROUS)


def shown(data: bytes | Image.Image, to: Preprocessing) -> Pixels:
    """The same as a picture again, [height, width, channels], for networks that take UINT8 as NCHW."""
    return seen(data, to).array.transpose(1, 2, 0).astype(np.uint8)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Every pixel another colour: the hardest picture for a filter."""
    rng = np.random.default_rng((seed, width, height))
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def torchvision_crop(
    image: Image.Image, shorter: int, width: int, height: int, filter_: Image.Resampling
) -> Pixels:
    """`Compose([Resize(shorter), CenterCrop((height, width))])` on a PIL image."""
    short, long = sorted(image.size)
    new_long = int(shorter * long / short)
    new_width, new_height = (shorter, new_long) if image.width <= image.height else (new_long, shorter)
    resized = np.asarray(image.resize((new_width, new_height), filter_))
    top = round((new_height - height) / 2.0)
    left = round((new_width - width) / 2.0)
    return resized[top : top + height, left : left + width]


def letterbox_geometry(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int, int, int]:
    """Ultralytics' LetterBox(auto=False, scaleup=True, center=True): new width and height, left and top padding.

    A side that would vanish stays 1 pixel wide; Ultralytics fails on such a picture.
    """
    (width, height), (canvas_width, canvas_height) = size, canvas
    ratio = min(canvas_height / height, canvas_width / width)
    new_width, new_height = max(1, round(width * ratio)), max(1, round(height * ratio))
    left = round((canvas_width - new_width) / 2 - 0.1)
    top = round((canvas_height - new_height) / 2 - 0.1)
    return new_width, new_height, left, top


def ultralytics_letterbox(
    image: Image.Image, width: int, height: int, pad: Sequence[int] = (114, 114, 114)
) -> Pixels:
    """LetterBox as Ultralytics runs it: OpenCV's INTER_LINEAR, which does not antialias."""
    new_width, new_height, left, top = letterbox_geometry(image.size, (width, height))
    resized = cv2.resize(np.asarray(image), (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    bottom = round((height - new_height) / 2 + 0.1)
    right = round((width - new_width) / 2 + 0.1)
    padded = cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_CONSTANT, value=tuple(pad))
    return np.asarray(padded, dtype=np.uint8)


def gap(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.float64]:
    """How far two pictures or tensors of one shape lie apart, element by element."""
    assert one.shape == other.shape
    return np.abs(one.astype(np.float64) - other.astype(np.float64))


def interlaced_png(pixels: Pixels) -> bytes:
    """An RGB PNG in Adam7's seven passes, without filters; neither Pillow nor OpenCV writes one."""
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = [
        b"\0" + row.tobytes()
        for top, left, down, across in passes
        for row in pixels[top::down, left::across]
        if row.size
    ]
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
