"""A look at the raw bytes before any decoder runs: what the picture is, and which parts of it the decoder gets.

Pillow parses metadata in Python, whole lists of it, before it tells a picture's size; it reads pixels past a wrong
checksum; and libjpeg spends a pass over the picture on every scan of a JPEG. All of that is cheap to see in the
bytes and dear to notice later. So the size is read here, and only what the pixels need goes on to the decoder.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.errors import ImageEmpty, ImageTruncated, ImageUndecodable, InputError, UnsupportedImageFormat

Format = Literal["JPEG", "PNG", "WEBP"]

_MIB = 1024 * 1024
_SHORTEST_HEADER = 12  # bytes; what is shorter is the stump of a picture rather than some other format
_MAX_PARTS = (
    20_000  # JPEG segments or PNG and WebP chunks; an encoder writes at most one for each 8 KiB or so
)

_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # restarts and stuffed bytes belong to a scan's data
# Before the frame no scan has begun: a marker stands where a segment ends, but for a few odd or filling bytes.
_JPEG_MOST_ODD = 4096
_JPEG_NEXT_MARKER = re.compile(
    rb"[^\xff]{0,%d}+\xff{1,%d}+[^\x00\xd0-\xd7\xff]" % (_JPEG_MOST_ODD, _JPEG_MOST_ODD)
)
_JPEG_MOST_BEFORE_FRAME = 1000  # segments; of profiles and notes, which fill 64 KiB each, a file has dozens
_JPEG_STEP = 256 * 1024  # bytes that are searched before others get the interpreter
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {
    0xC4,
    0xC8,
    0xCC,
}  # SOF0 to SOF15, less tables of the same range
_JPEG_SCAN, _JPEG_LAST, _JPEG_EXIF = 0xDA, 0xD9, 0xE1
# Comments and applications' data, less JFIF (APP0) and Adobe (APP14), which tell the colours.
_JPEG_METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = 13  # bytes of its IHDR
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_COMPRESSED = (b"zTXt", b"iCCP")
_PNG_MAX_INFLATED = 4 * _MIB  # of all compressed texts and profiles together
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# The passes of Adam7: first column and row, step between columns and rows.
_PNG_INTERLACED = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)

_EXIF_PREFIX = b"Exif\x00\x00"
_EXIF_ORDER = {b"II*\x00": "<", b"MM\x00*": ">"}
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What the bytes say: the stored size in pixels, the EXIF orientation (1 to 8), passes over the pixels.

    `data` is the file without what the pixels do not need.
    """

    kind: Format
    width: int
    height: int
    orientation: int
    scans: int
    data: bytes


def inspect(data: bytes) -> Anatomy:
    """Raises ImageEmpty, UnsupportedImageFormat, ImageTruncated or ImageUndecodable."""
    kind = sniff(data)
    try:
        return {"JPEG": _inspect_jpeg, "PNG": _inspect_png, "WEBP": _inspect_webp}[kind](data)
    except struct.error as error:
        raise _damaged(error) from None


def sniff(data: bytes) -> Format:
    """The format by its first bytes, whatever a header or a file name claims.

    Raises ImageEmpty, UnsupportedImageFormat, or ImageUndecodable for a stump too short to be a picture.
    """
    if not data:
        raise ImageEmpty("The image is empty.")
    if len(data) < _SHORTEST_HEADER:
        raise ImageUndecodable("The image is too short to be one.")
    if data.startswith(_JPEG_START):
        return "JPEG"
    if data.startswith(_PNG_SIGNATURE):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    raise UnsupportedImageFormat("Only JPEG, PNG and WebP images are accepted.")


def megapixels(data: bytes | InputError, most: int) -> float:
    """Millions of pixels that the header says, found in some microseconds; 0 where there is no telling.

    For what a request costs: an image of more than `most` pixels costs nothing, it is refused before it is decoded.
    Whether the header is right is for `inspect` to say.
    """
    if isinstance(data, InputError):
        return 0.0
    try:
        width, height = stored_size(data)
    except InputError:
        return 0.0
    return width * height / 1e6 if width * height <= most else 0.0


def stored_size(data: bytes) -> tuple[int, int]:
    """Width and height as the header says them. Raises what `inspect` raises of a header."""
    kind = sniff(data)
    try:
        return {"JPEG": _jpeg_size, "PNG": _png_size, "WEBP": _webp_size}[kind](data)
    except struct.error as error:
        raise _damaged(error) from None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """From the frame, which is looked for in the event loop: so it stands among the first segments."""
    at = len(_JPEG_START)
    for _ in range(_JPEG_MOST_BEFORE_FRAME):
        found = _JPEG_NEXT_MARKER.match(data, at)
        if found is None and len(data) - at < _JPEG_MOST_ODD:
            raise ImageTruncated("The JPEG ends before its frame.")
        if found is None or data[found.end() - 1] in (_JPEG_SCAN, _JPEG_LAST):
            break
        if data[found.end() - 1] in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, found.end() + 3)
            return width, height
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    raise ImageUndecodable("The JPEG has no frame among its first segments.")


def _png_size(data: bytes) -> tuple[int, int]:
    """From the first chunk, which has to be the header, as the standard says."""
    length, kind, width, height = struct.unpack_from(">I4sII", data, len(_PNG_SIGNATURE))
    if kind != b"IHDR" or length != _PNG_HEADER:
        raise ImageUndecodable("The PNG does not begin with its header.")
    return width, height


def _inspect_jpeg(data: bytes) -> Anatomy:
    width, height = _jpeg_size(data)
    exif, frames, scans = b"", 0, 0
    kept: list[bytes | memoryview] = [_JPEG_START]
    for marker, segment in _jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            frames += 1
        elif marker == _JPEG_SCAN:
            scans += 1
        elif marker == _JPEG_EXIF and segment[4:10] == _EXIF_PREFIX:
            exif = exif or bytes(segment[4:])
        if marker not in _JPEG_METADATA:
            kept.append(segment)
    if frames != 1:
        raise ImageUndecodable("The JPEG has more than one frame.")
    return Anatomy("JPEG", width, height, _orientation(exif), scans, b"".join([*kept, _JPEG_END]))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """The segments up to the end-of-image marker, each with the data of the scan that it may start.

    What follows the end is left out: phones and archivers append to JPEGs.
    """
    view = memoryview(data)
    found = _jpeg_marker(data, len(_JPEG_START))
    for _ in range(_MAX_PARTS):
        if found is None:
            raise ImageTruncated("The JPEG has no end.")
        start, marker = found.start(), data[found.start() + 1]
        if marker == _JPEG_LAST:
            return
        end = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
        found = _jpeg_marker(data, end)
        if marker == _JPEG_SCAN and found is not None:
            end = found.start()
        yield marker, view[start:end]
    raise ImageUndecodable("The JPEG has too many segments.")


def _jpeg_marker(data: bytes, at: int) -> re.Match[bytes] | None:
    """The next one from `at` on."""
    for start in range(at, len(data), _JPEG_STEP):
        if found := _JPEG_MARKER.search(data, start, start + _JPEG_STEP + 1):
            return found
    return None


def _inspect_png(data: bytes) -> Anatomy:
    exif, room = b"", _PNG_MAX_INFLATED
    kept: list[bytes | memoryview] = [_PNG_SIGNATURE]
    for kind, chunk in _png_chunks(data):
        if kind == b"eXIf":
            exif = exif or bytes(chunk[8:-4])
        elif kind in _PNG_COMPRESSED:
            room -= _inflated_size(bytes(chunk[8:-4]), room)
        if kind in _PNG_PIXELS:
            kept.append(chunk)
    width, height = _png_size(data)
    return Anatomy("PNG", width, height, _orientation(exif), 1, b"".join(kept))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Whole chunks whose checksum is right. A missing IEND is let through: all pixels may be there."""
    view = memoryview(data)
    start = len(_PNG_SIGNATURE)
    for _ in range(_MAX_PARTS):
        if start == len(data):
            return
        kind, end = data[start + 4 : start + 8], start + 12 + int.from_bytes(data[start : start + 4])
        if end > len(data):
            raise ImageTruncated("The PNG ends in the middle of a chunk.")
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise ImageUndecodable("A chunk of the PNG has a wrong checksum.")
        yield kind, view[start:end]
        if kind == b"IEND":
            return
        start = end
    raise ImageUndecodable("The PNG has too many chunks.")


def check_all_rows(data: bytes) -> None:
    """Raises ImageTruncated where a PNG that Pillow has decoded lacks rows at its end.

    Pillow takes the end of the zlib stream for the end of the picture and leaves the rest black. This inflates
    all pixels once more, so it is for pictures that end black, or that are interlaced and would show it elsewhere.
    """
    chunks = list(_png_chunks(data))
    header = next(chunk for kind, chunk in chunks if kind == b"IHDR")
    width, height, depth, colour, interlaced = struct.unpack_from(">IIBBxxB", header, 8)
    bits = depth * _PNG_CHANNELS[colour]
    passes = _PNG_INTERLACED if interlaced else ((0, 0, 1, 1),)
    sizes = [(len(range(x, width, dx)), len(range(y, height, dy))) for x, y, dx, dy in passes]
    missing = sum((1 + (columns * bits + 7) // 8) * rows for columns, rows in sizes if columns)
    stream = b"".join(chunk[8:-4] for kind, chunk in chunks if kind == b"IDAT")
    inflater = zlib.decompressobj()
    while missing:
        rows = inflater.decompress(stream, min(missing, 8 * _MIB))
        if not rows:
            raise ImageTruncated("The PNG has fewer rows than its header says.")
        missing -= len(rows)
        stream = inflater.unconsumed_tail


def _inflated_size(body: bytes, room: int) -> int:
    """Bytes that a compressed text or profile inflates to; a damaged one counts as nothing.

    Raises ImageUndecodable where it needs more than `room`.
    """
    stream = body[body.find(b"\x00") + 2 :]  # behind the name, its end and the compression method
    try:
        size = len(zlib.decompressobj().decompress(stream, room + 1))
    except zlib.error:
        return 0
    if size > room:
        raise ImageUndecodable("A text or colour profile in the PNG is too large.")
    return size


def _inspect_webp(data: bytes) -> Anatomy:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise ImageTruncated("The WebP is shorter than its header says.")
    width, height = _webp_size(data)
    exif = next((body for kind, body in _riff_chunks(data, end) if kind == b"EXIF"), b"")
    return Anatomy("WEBP", width, height, _orientation(bytes(exif)), 1, data[:end])


def _webp_size(data: bytes) -> tuple[int, int]:
    """From the first chunk: a lossy frame, a lossless frame, or the canvas of the extended format."""
    if data[12:16] == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if data[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    raise ImageUndecodable("The WebP does not begin with a picture.")


def _riff_chunks(data: bytes, end: int) -> Iterator[tuple[bytes, bytes | memoryview]]:
    """Name and body of the chunks up to `end`; libwebp judges whether they make a picture."""
    view = memoryview(data)
    start = 12
    for _ in range(_MAX_PARTS):
        if start >= end:
            return
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        yield data[start : start + 4], view[start + 8 : start + 8 + size]
        start += 8 + size + size % 2
    raise ImageUndecodable("The WebP has too many chunks.")


def _damaged(error: struct.error) -> ImageUndecodable:
    return ImageUndecodable("The image's header is damaged.", internal=str(error))


def _orientation(exif: bytes) -> int:
    """1 to 8, from the first directory of an EXIF block; a damaged one counts as upright, the picture may be fine.

    Read by hand: Pillow would parse every entry and print a warning for each odd one.
    """
    block = exif.removeprefix(_EXIF_PREFIX)
    order = _EXIF_ORDER.get(block[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, directory)
        table = block[directory + 2 : directory + 2 + 12 * entries]
        for tag, value in struct.iter_unpack(f"{order}H6xH2x", table):
            if tag == _EXIF_ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
