"""Building blocks of bad input, and how to see what it costs: files by hand, forms, peak memory and CPU time."""

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START, JPEG_END, JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
BOUNDARY = "frontier"
MIB = 1024 * 1024

Classify = Callable[[bytes], httpx.Response]  # posts a raw image


def chunk(kind: bytes, body: bytes = b"", checksum: int | None = None) -> bytes:
    """A PNG chunk; its checksum is right unless another is given."""
    right = zlib.crc32(kind + body)
    return (
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", right if checksum is None else checksum)
    )


def header(width: int, height: int, depth: int = 8, colour: int = 0, interlaced: bool = False) -> bytes:
    """A PNG's IHDR; colour 0 is gray, 2 RGB, 3 palette, 4 gray with alpha, 6 RGBA."""
    return chunk(b"IHDR", struct.pack(">IIBBxx?", width, height, depth, colour, interlaced))


def png(*chunks: bytes) -> bytes:
    return PNG_SIGNATURE + b"".join(chunks)


def png_chunks(file: bytes) -> list[bytes]:
    """The chunks of a sound PNG, whole."""
    chunks, start = [], len(PNG_SIGNATURE)
    while start < len(file):
        end = start + 12 + int.from_bytes(file[start : start + 4])
        chunks.append(file[start:end])
        start = end
    return chunks


def with_chunk(file: bytes, extra: bytes) -> bytes:
    """The PNG with one more chunk behind its IHDR."""
    first, *rest = png_chunks(file)
    return png(first, extra, *rest)


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment: marker, length, body."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(file: bytes, *segments: bytes) -> bytes:
    """The JPEG with more segments at its beginning."""
    return JPEG_START + b"".join(segments) + file.removeprefix(JPEG_START)


def with_scans(file: bytes, count: int) -> bytes:
    """The progressive JPEG with `count` scans: its last one is repeated."""
    last = file[file.rindex(JPEG_SCAN) : -len(JPEG_END)]
    return file.removesuffix(JPEG_END) + last * (count - file.count(JPEG_SCAN)) + JPEG_END


def frame_header(file: bytes) -> int:
    """Where the frame header of a JPEG begins: marker, length, precision, height, width, components."""
    return next(file.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in file)


def tiff_block(*entries: tuple[int, int, int, bytes], extra: bytes = b"") -> bytes:
    """The body of an EXIF segment: little-endian TIFF entries (tag, type, count, four bytes), then loose bytes."""
    table = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\x00\x00II*\x00" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + extra


def colour_profile(red: Sequence[float], green: Sequence[float], blue: Sequence[float]) -> bytes:
    """A minimal ICC display profile with these primaries (XYZ) and gamma 2.2."""
    primaries = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    tags = {
        name: struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in primary))
        for name, primary in primaries.items()
    }
    tags |= {name: struct.pack(">4s4xIHxx", b"curv", 1, 0x0233) for name in (b"rTRC", b"gTRC", b"bTRC")}
    table, bodies, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += struct.pack(">4sII", name, offset + len(bodies), len(body))
        bodies += body
    size = 128 + len(table) + len(bodies)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp").ljust(
        128, b"\0"
    )
    return head + table + bodies


@dataclass(frozen=True)
class Part:
    """One part of a form, with headers exactly as given."""

    content: bytes
    headers: bytes = (
        b'Content-Disposition: form-data; name="image"; filename="digit.png"\r\nContent-Type: image/png'
    )


def form(*parts: Part | bytes) -> bytes:
    """A multipart body; bytes stand for an ordinary `image` part with this content."""
    whole = [part if isinstance(part, Part) else Part(part) for part in parts]
    opening = f"--{BOUNDARY}\r\n".encode()
    pieces = [opening + part.headers + b"\r\n\r\n" + part.content + b"\r\n" for part in whole]
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


@dataclass
class Cost:
    """What a process spent while a block ran: memory in bytes above where it began, CPU in seconds."""

    memory: int = 0
    cpu: float = 0.0


@contextmanager
def cost_of(pid: int) -> Iterator[Cost]:
    """Measures the process `pid` over the block. The kernel keeps the peak, so nothing is missed between samples."""
    cost = Cost()
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    memory, cpu = _kilobytes(pid, "VmRSS"), _cpu_seconds(pid)
    yield cost
    cost.memory = (_kilobytes(pid, "VmHWM") - memory) * 1024
    cost.cpu = _cpu_seconds(pid) - cpu


def _kilobytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def post_all(
    client: httpx.Client, path: str, bodies: Iterable[tuple[bytes, str]], threads: int = 4
) -> list[httpx.Response]:
    """Posts each body (content, media type), a few at a time; the answers in their order."""

    def post(body: tuple[bytes, str]) -> httpx.Response:
        return client.post(path, content=body[0], headers={"Content-Type": body[1]})

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(post, bodies))


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    """The response is this RFC 9457 problem and nothing else."""
    assert (response.status_code, response.json().get("code")) == (status, code), response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert response.json()["type"] == f"/problems/{code}"
    assert response.json()["request_id"] == response.headers["x-request-id"]


def assert_answer_or_problem(response: httpx.Response, *codes: str) -> None:
    """The response is an answer, or one of these problems with status 422."""
    if response.status_code != httpx.codes.OK:
        assert response.json().get("code") in codes, response.text[:500]
        assert_problem(response, 422, response.json()["code"])
