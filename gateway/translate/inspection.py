"""A look at the raw bytes before any decoder runs: what format it is, and what Pillow would let through.

Pillow reads pixels past a wrong checksum, and libjpeg spends a full pass over the picture on every scan of a
progressive file; both are cheap to see in the bytes and expensive to notice later.
"""

import zlib
from typing import Literal

from gateway.errors import ImageEmpty, ImageTruncated, ImageUndecodable, UnsupportedImageFormat

Format = Literal["JPEG", "PNG", "WEBP"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SHORTEST_HEADER = 12  # bytes; what is shorter is the stump of a picture rather than some other format
_PNG_MAX_CHUNKS = 50_000
_JPEG_SCAN_START = b"\xff\xda"
_JPEG_MAX_SCANS = 64  # an encoder writes 1 to about 14


def sniff(data: bytes) -> Format:
    """The format by its first bytes, whatever a header or a file name claims.

    Raises ImageEmpty, UnsupportedImageFormat, or ImageUndecodable for a stump too short to tell.
    """
    if not data:
        raise ImageEmpty("The image is empty.")
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data.startswith(_PNG_SIGNATURE):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if len(data) < _SHORTEST_HEADER:
        raise ImageUndecodable("The image is too short to be one.")
    raise UnsupportedImageFormat("Only JPEG, PNG and WebP images are accepted.")


def check_integrity(data: bytes, kind: Format) -> None:
    """Raises ImageTruncated or ImageUndecodable for damage that the decoder would miss or pay dearly for."""
    if kind == "PNG":
        _check_png_chunks(memoryview(data))
    elif kind == "JPEG" and data.count(_JPEG_SCAN_START) > _JPEG_MAX_SCANS:
        raise ImageUndecodable("The JPEG has too many scans.")


def _check_png_chunks(data: memoryview) -> None:
    """Walks the chunks and compares their CRC. A missing IEND is let through: all pixels may be there."""
    offset = len(_PNG_SIGNATURE)
    for _ in range(_PNG_MAX_CHUNKS):
        if offset == len(data):
            return
        body_end = offset + 8 + int.from_bytes(data[offset : offset + 4])
        if body_end + 4 > len(data):
            raise ImageTruncated("The PNG ends in the middle of a chunk.")
        if zlib.crc32(data[offset + 4 : body_end]) != int.from_bytes(data[body_end : body_end + 4]):
            raise ImageUndecodable("A chunk of the PNG has a wrong checksum.")
        if bytes(data[offset + 4 : offset + 8]) == b"IEND":
            return
        offset = body_end + 4
    raise ImageUndecodable("The PNG has too many chunks.")
