"""Untrusted bytes to an upright RGB picture, under limits that are checked before a pixel is decoded."""

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gateway.errors import ImageTooLarge, ImageTruncated, ImageUndecodable, InputError
from gateway.translate.inspection import Format, check_integrity, sniff

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = (5, 6, 7, 8)
_BACKGROUND = (255, 255, 255, 255)  # transparent pixels show white, as they would on a page
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    OverflowError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest picture that is decoded at all, in pixels; about three bytes of memory each."""

    pixels: int
    side: int


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright RGB image. `width` and `height` are those of the original, in pixels.

    `image` may be smaller when a JPEG was decoded at reduced scale: then one of its pixels stands for
    `reduction` x `reduction` original ones.
    """

    image: Image.Image
    width: int
    height: int
    reduction: int


@dataclass(frozen=True, slots=True)
class Header:
    """What is known before decoding: the original, upright size and how to get there."""

    file: Image.Image
    kind: Format
    width: int
    height: int
    orientation: int


def open_image(data: bytes, limits: Limits) -> Header:
    """Reads the header only. Raises InputError of the kind that fits."""
    kind = sniff(data)
    check_integrity(data, kind)
    try:
        file = Image.open(io.BytesIO(data), formats=(kind,))
        orientation = _orientation(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(limits) from None
    except _DECODER_ERRORS as error:
        raise _undecodable(error) from None
    width, height = file.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise _too_large(limits)
    if orientation in _SWAPS_SIDES:
        width, height = height, width
    return Header(file, kind, width, height, orientation)


def load(header: Header, enough: tuple[int, int] | None = None) -> Picture:
    """Decodes the pixels. `enough` (width, height) is a size that may be decoded instead of the full one.

    JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the work; the result is never smaller than `enough`.
    Raises ImageTruncated or ImageUndecodable.
    """
    file = header.file
    full_width = file.width
    try:
        if enough is not None and header.kind == "JPEG":
            file.draft(None, enough[::-1] if header.orientation in _SWAPS_SIDES else enough)
        reduction = round(full_width / file.width)
        image = _rgb(file)
    except MemoryError:
        raise ImageTooLarge("The image needs more memory than there is.") from None
    except _DECODER_ERRORS as error:
        raise _undecodable(error) from None
    if header.orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[header.orientation])
    return Picture(image, header.width, header.height, reduction)


def _orientation(file: Image.Image) -> int:
    """1 to 8; damaged EXIF data counts as upright, the picture itself may be fine."""
    try:
        value = file.getexif().get(_ORIENTATION, 1)
    except (*_DECODER_ERRORS, ArithmeticError, AttributeError):
        return 1
    return value if value in _UPRIGHT else 1


def _rgb(file: Image.Image) -> Image.Image:
    if file.mode.startswith("I;16"):
        # Pillow clips 16-bit gray at 255 when it converts; 65535 has to become 255.
        gray = np.rint(np.asarray(file, dtype=np.float32) / 257).astype(np.uint8)
        return Image.fromarray(gray).convert("RGB")
    if file.mode in ("RGBA", "LA", "PA") or "transparency" in file.info:
        pixels = file.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, _BACKGROUND), pixels).convert("RGB")
    return file.convert("RGB")


def _undecodable(error: Exception) -> InputError:
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return ImageTruncated("The image ends before all of its pixels.", internal=str(error))
    return ImageUndecodable("The image cannot be decoded.", internal=str(error))


def _too_large(limits: Limits) -> ImageTooLarge:
    return ImageTooLarge(f"At most {limits.pixels} pixels and {limits.side} pixels a side are accepted.")
