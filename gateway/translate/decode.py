"""Untrusted bytes to an upright RGB picture, under limits that are checked before a pixel is decoded."""

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gateway.errors import ImageTooLarge, ImageTruncated, ImageUndecodable, InputError
from gateway.translate.inspection import Anatomy, Format, check_all_rows, inspect

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
_BACKGROUND = (255, 255, 255)  # transparent pixels show white, as they would on a page
_MAX_SCANS = 64  # an encoder writes 1 to about 14
_SCANS_OF_LARGEST = 16  # a picture may cost as many passes as the largest one from an honest encoder
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
    """The largest picture that is decoded at all, in pixels; up to 20 bytes of memory each, for WebP with alpha."""

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
    data: bytes
    kind: Format
    width: int
    height: int
    orientation: int


def open_image(data: bytes, limits: Limits) -> Header:
    """Reads the header only. Raises InputError of the kind that fits."""
    anatomy = inspect(data)
    _check_cost(anatomy, limits)
    try:
        file = Image.open(io.BytesIO(anatomy.data), formats=(anatomy.kind,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(limits) from None
    except _DECODER_ERRORS as error:
        raise _undecodable(error) from None
    width, height = file.size
    if (width, height) != (anatomy.width, anatomy.height):
        raise ImageUndecodable("The image has two different sizes.")
    if anatomy.orientation in _SWAPS_SIDES:
        width, height = height, width
    return Header(file, anatomy.data, anatomy.kind, width, height, anatomy.orientation)


def load(header: Header, enough: tuple[int, int] | None = None) -> Picture:
    """Decodes the pixels. `enough` (width, height) is a size that may be decoded instead of the full one.

    JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the work; the result is never smaller than `enough`.
    Raises ImageTruncated or ImageUndecodable.
    """
    file = header.file
    full_width, reduction = file.width, 1
    try:
        if enough is not None and header.kind == "JPEG":
            drafted = file.draft(None, enough[::-1] if header.orientation in _SWAPS_SIDES else enough)
            if drafted is not None:
                # From the exact box: the reduced size itself is rounded up, which for narrow pictures is a lot.
                reduction = round(full_width / drafted[1][2])
        image = _rgb(file)
        if header.kind == "PNG" and (file.info.get("interlace") or _ends_black(file)):
            check_all_rows(header.data)
    except MemoryError:
        raise ImageTooLarge("The image needs more memory than there is.") from None
    except _DECODER_ERRORS as error:
        raise _undecodable(error) from None
    if header.orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[header.orientation])
    return Picture(image, header.width, header.height, reduction)


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raises ImageTooLarge or ImageUndecodable."""
    if width * height == 0:
        raise ImageUndecodable("The image has no pixels.")
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise _too_large(limits)


def _check_cost(anatomy: Anatomy, limits: Limits) -> None:
    """Raises ImageTooLarge or ImageUndecodable before the decoder sets memory aside or takes its first pass."""
    check_size(anatomy.width, anatomy.height, limits)
    pixels = anatomy.width * anatomy.height
    if anatomy.scans > _MAX_SCANS or anatomy.scans * pixels > _SCANS_OF_LARGEST * limits.pixels:
        raise ImageUndecodable("The JPEG has too many scans for its size.")


def _rgb(file: Image.Image) -> Image.Image:
    if file.mode.startswith("I;16"):
        # Pillow clips 16-bit gray at 255 when it converts; 65535 has to become 255.
        gray = np.rint(np.asarray(file, dtype=np.float32) / 257).astype(np.uint8)
        return Image.fromarray(gray).convert("RGB")
    if file.mode in ("RGBA", "LA", "PA") or "transparency" in file.info:
        pixels = file if file.mode == "RGBA" else file.convert("RGBA")
        canvas = Image.new("RGB", file.size, _BACKGROUND)
        canvas.paste(pixels, mask=pixels)
        return canvas
    file.load()
    return file if file.mode == "RGB" else file.convert("RGB")


def _ends_black(file: Image.Image) -> bool:
    """Whether the last row is zero in every channel, as a row is that was never written."""
    last = file.crop((0, file.height - 1, file.width, file.height))
    return last.getbbox(alpha_only=False) is None


def _undecodable(error: Exception) -> InputError:
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return ImageTruncated("The image ends before all of its pixels.", internal=str(error))
    return ImageUndecodable("The image cannot be decoded.", internal=str(error))


def _too_large(limits: Limits) -> ImageTooLarge:
    return ImageTooLarge(f"At most {limits.pixels} pixels and {limits.side} pixels a side are accepted.")
