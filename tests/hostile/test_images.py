"""Image files that are broken, lie or are too much, posted as they are."""

import io
import json
import random
import struct
import time
import zipfile
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from processes import RunningStack
from support.hostile import (
    BOUNDARY,
    JPEG_END,
    JPEG_START,
    MIB,
    PNG_SIGNATURE,
    Classify,
    assert_answer_or_problem,
    assert_problem,
    chunk,
    colour_profile,
    cost_of,
    frame_header,
    header,
    png,
    png_chunks,
    post_all,
    segment,
    tiff_block,
    with_chunk,
    with_scans,
    with_segments,
)
from support.pictures import digit_picture, encoded

Results = list[dict[str, Any]]

IEND = chunk(b"IEND")
PROMPT = 1  # second; a refusal has 100 ms and takes 30 at most, the rest is room for a busy machine


def scores(results: Results) -> dict[str, float]:
    return {prediction["label"]: prediction["score"] for prediction in results[0]["predictions"]}


def assert_same(response: httpx.Response, results: Results) -> None:
    assert response.status_code == 200, response.text[:500]
    assert response.json()["results"] == results


def assert_alike(response: httpx.Response, results: Results) -> None:
    """The same digit with nearly the same score, after a lossy detour."""
    assert response.status_code == 200, response.text[:500]
    answer = scores(response.json()["results"])
    label, score = max(scores(results).items(), key=lambda item: item[1])
    assert max(answer, key=lambda name: answer[name]) == label
    assert answer[label] == pytest.approx(score, abs=0.05)


def deflated(size: int) -> bytes:
    """A zlib stream of this many zeros, without holding them all."""
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join([*pieces, packer.flush()])


def gray_png(width: int, height: int) -> bytes:
    """A small, complete black PNG."""
    return png(header(width, height), chunk(b"IDAT", zlib.compress(bytes((width + 1) * height))), IEND)


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("readme.txt", "hello")
    return buffer.getvalue()


# What is no JPEG, PNG or WebP


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "JPEG2000"])
def test_an_image_of_another_format_is_unsupported(classify: Classify, kind: str) -> None:
    assert_problem(classify(encoded(digit_picture(), kind)), 415, "unsupported_image_format")


def test_a_webp_is_answered(classify: Classify, results: Results) -> None:
    assert_same(classify(encoded(digit_picture(), "WEBP", lossless=True)), results)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", id="EPS"),
        pytest.param(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", id="PDF"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', id="SVG"),
        pytest.param(b"<!doctype html><script>alert(1)</script>", id="HTML"),
        pytest.param(archive(), id="ZIP"),
        pytest.param(b"RIFF\x24\x00\x00\x00WAVEfmt ", id="another file in RIFF"),
    ],
)
def test_what_is_no_image_is_unsupported(classify: Classify, content: bytes) -> None:
    assert_problem(classify(content), 415, "unsupported_image_format")


def test_a_gif_header_before_a_jpeg_makes_it_a_gif(classify: Classify, digit_jpeg: bytes) -> None:
    assert_problem(classify(b"GIF89a" + digit_jpeg), 415, "unsupported_image_format")


def test_a_zip_behind_a_jpeg_is_ignored(classify: Classify, digit_jpeg: bytes) -> None:
    assert_same(classify(digit_jpeg + archive()), classify(digit_jpeg).json()["results"])


def test_a_body_of_no_bytes_is_an_empty_image(classify: Classify) -> None:
    assert_problem(classify(b""), 422, "image_empty")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xff", id="one byte"),
        pytest.param(JPEG_START, id="only a JPEG's start"),
        pytest.param(PNG_SIGNATURE, id="only a PNG's signature"),
        pytest.param(b"RIFF\x00\x00\x00\x00", id="only a RIFF's header"),
        pytest.param(JPEG_START + segment(0xFE, b"no frame") + JPEG_END, id="a JPEG without a frame"),
        pytest.param(png(chunk(b"IDAT", b"no header"), IEND), id="a PNG without a header"),
        pytest.param(b"RIFF\x10\x00\x00\x00WEBPXYZ \x04\x00\x00\x00good", id="a WebP without a picture"),
    ],
)
def test_a_stump_is_undecodable(classify: Classify, content: bytes) -> None:
    assert_problem(classify(content), 422, "image_undecodable")


# Damage


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND"])
def test_a_wrong_checksum_is_undecodable(classify: Classify, digit: bytes, kind: bytes) -> None:
    end = next(digit.index(part) + len(part) for part in png_chunks(digit) if part[4:8] == kind)
    damaged = digit[: end - 1] + bytes([digit[end - 1] ^ 1]) + digit[end:]
    assert_problem(classify(damaged), 422, "image_undecodable")


def test_a_jpeg_cut_in_half_is_truncated(classify: Classify, digit_jpeg: bytes) -> None:
    assert_problem(classify(digit_jpeg[: len(digit_jpeg) // 2]), 422, "image_truncated")


def test_a_jpeg_without_its_last_two_bytes_is_truncated(classify: Classify, digit_jpeg: bytes) -> None:
    assert_problem(classify(digit_jpeg[:-2]), 422, "image_truncated")


def test_the_end_of_an_embedded_thumbnail_is_not_the_end_of_a_jpeg(
    classify: Classify, digit_jpeg: bytes
) -> None:
    file = with_segments(digit_jpeg, segment(0xE1, b"Exif\x00\x00" + digit_jpeg))
    assert classify(file).status_code == 200
    assert_problem(classify(file[:-2]), 422, "image_truncated")


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="no pixels"),
        pytest.param(zlib.compress(bytes(97 * 96))[:-8], id="a stream that is cut"),
        pytest.param(zlib.compress(bytes(97 * 96 - 1)), id="a byte too few"),
        pytest.param(zlib.compress(bytes(97 * 95)), id="a row too few"),
        pytest.param(zlib.compress(bytes(97)), id="one row"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_png_with_too_few_pixels_is_truncated(classify: Classify, stream: bytes, pieces: int) -> None:
    size = len(stream) // pieces
    parts = [stream[i * size :][: size if i < pieces - 1 else None] for i in range(pieces)]
    short = png(header(96, 96), *(chunk(b"IDAT", part) for part in parts), IEND)
    assert_problem(classify(short), 422, "image_truncated")


def test_an_interlaced_png_needs_the_rows_of_every_pass(classify: Classify) -> None:
    rows = (
        12 + 12 + 12 + 24 + 24 + 48 + 48
    )  # of the seven passes over 96 x 96 pixels, each with its filter byte

    def interlaced(missing: int) -> bytes:
        stream = zlib.compress(bytes(96 * 96 + rows - missing))
        return png(header(96, 96, interlaced=True), chunk(b"IDAT", stream), IEND)

    assert classify(interlaced(0)).status_code == 200
    assert_problem(classify(interlaced(97)), 422, "image_truncated")


def test_a_png_cut_in_a_chunk_is_truncated(classify: Classify, digit: bytes) -> None:
    assert_problem(classify(digit[: len(digit) // 2]), 422, "image_truncated")


def test_a_webp_cut_in_half_is_truncated(classify: Classify) -> None:
    file = encoded(digit_picture(), "WEBP")
    assert_problem(classify(file[: len(file) // 2]), 422, "image_truncated")


def test_a_png_without_its_end_is_answered_when_all_pixels_are_there(
    classify: Classify, digit: bytes, results: Results
) -> None:
    assert_same(classify(digit.removesuffix(IEND)), results)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png(header(0, 0), chunk(b"IDAT", zlib.compress(b"")), IEND), id="a PNG of 0 x 0"),
        pytest.param(
            png(header(8, 8, colour=5), chunk(b"IDAT", zlib.compress(bytes(72))), IEND), id="colour type 5"
        ),
        pytest.param(
            png(header(8, 8, depth=3), chunk(b"IDAT", zlib.compress(bytes(72))), IEND), id="bit depth 3"
        ),
        pytest.param(png(header(8, 8), chunk(b"IDAT", b"not zlib"), IEND), id="pixels that are not zlib"),
        pytest.param(
            png(chunk(b"tEXt", bytes(8)), *png_chunks(gray_png(8, 8))), id="a text before the header"
        ),
    ],
)
def test_a_header_that_makes_no_picture_is_undecodable(classify: Classify, content: bytes) -> None:
    assert_problem(classify(content), 422, "image_undecodable")


def test_a_jpeg_of_no_height_is_undecodable(classify: Classify, digit_jpeg: bytes) -> None:
    at = frame_header(digit_jpeg) + 5
    assert_problem(classify(digit_jpeg[:at] + bytes(2) + digit_jpeg[at + 2 :]), 422, "image_undecodable")


def test_a_jpeg_of_two_frames_is_undecodable(classify: Classify, digit_jpeg: bytes) -> None:
    at = frame_header(digit_jpeg)
    frame = digit_jpeg[at : at + 2 + int.from_bytes(digit_jpeg[at + 2 : at + 4])]
    assert_problem(classify(digit_jpeg[:at] + frame + digit_jpeg[at:]), 422, "image_undecodable")


# Bombs: a few bytes that ask for much memory or time


def over_long_stream() -> bytes:
    return png(header(96, 96), chunk(b"IDAT", deflated(100 * MIB)), IEND)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        pytest.param(
            with_chunk(gray_png(8, 8), chunk(b"zTXt", b"note\0\0" + deflated(50 * MIB))),
            422,
            "image_undecodable",
            id="a text that inflates to 50 MB",
        ),
        pytest.param(
            with_chunk(gray_png(8, 8), chunk(b"iCCP", b"icc\0\0" + deflated(50 * MIB))),
            422,
            "image_undecodable",
            id="a colour profile that inflates to 50 MB",
        ),
        pytest.param(
            png(
                header(8, 8),
                chunk(b"iCCP", b"icc\0\0" + deflated(MIB)) * 5_000,
                *png_chunks(gray_png(8, 8))[1:],
            ),
            422,
            "image_undecodable",
            id="5,000 colour profiles of 1 MB each",
        ),
        pytest.param(
            png(header(30_000, 30_000), chunk(b"IDAT", zlib.compress(b"")), IEND),
            413,
            "image_too_large",
            id="30,000 x 30,000 pixels in 65 bytes",
        ),
        pytest.param(
            png(header(13_000, 13_000, depth=1), chunk(b"IDAT", deflated(21 * MIB)), IEND),
            413,
            "image_too_large",
            id="13,000 x 13,000 pixels of one bit in 20 kB",
        ),
        pytest.param(gray_png(1, 200_000), 413, "image_too_large", id="1 x 200,000 pixels"),
        pytest.param(
            encoded(Image.new("L", (65_500, 1)), "JPEG"), 413, "image_too_large", id="65,500 x 1 pixels"
        ),
        pytest.param(
            b"RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + b"\xff\x3f\x00" * 2,
            413,
            "image_too_large",
            id="a WebP canvas of 16,384 x 16,384 pixels in 30 bytes",
        ),
        pytest.param(
            with_segments(encoded(Image.new("L", (8, 8)), "JPEG"), segment(0xE1, b"Exif\0\0xx") * 500_000),
            422,
            "image_undecodable",
            id="500,000 EXIF segments",
        ),
    ],
)
def test_a_bomb_is_refused_at_once_and_without_memory(
    classify: Classify, stack: RunningStack, content: bytes, status: int, code: str
) -> None:
    with cost_of(stack.gateway.popen.pid) as cost:
        response = classify(content)
    assert_problem(response, status, code)
    assert cost.memory < 50 * MIB
    assert response.elapsed.total_seconds() < PROMPT


def test_pixel_data_that_never_ends_is_read_only_as_far_as_the_picture_goes(
    classify: Classify, stack: RunningStack
) -> None:
    with cost_of(stack.gateway.popen.pid) as cost:
        response = classify(over_long_stream())
    assert response.status_code == 200
    assert cost.memory < 50 * MIB
    assert response.elapsed.total_seconds() < PROMPT


@pytest.mark.parametrize(
    "tiny",
    [
        pytest.param(chunk(b"teXt") * 10_000, id="of metadata"),
        pytest.param(chunk(b"tEXt", b"k\0v") * 10_000, id="of text"),
        pytest.param(chunk(b"IDAT") * 10_000, id="of no pixels"),
    ],
)
def test_ten_thousand_tiny_chunks_take_no_time(
    classify: Classify, digit: bytes, results: Results, tiny: bytes
) -> None:
    response = classify(with_chunk(digit, tiny))
    assert_same(response, results)
    assert response.elapsed.total_seconds() < PROMPT


def test_pixels_in_chunks_of_one_byte_are_put_together(
    classify: Classify, digit: bytes, results: Results
) -> None:
    first, *middle, last = png_chunks(digit)
    pixels = b"".join(part[8:-4] for part in middle if part[4:8] == b"IDAT")
    assert_same(classify(png(first, *(chunk(b"IDAT", bytes([byte])) for byte in pixels), last)), results)


@pytest.mark.parametrize(
    ("side", "count"),
    [
        pytest.param(256, 10_000, id="10,000 scans"),
        pytest.param(6_300, 64, id="64 scans over 40 megapixels"),
    ],
)
def test_a_progressive_jpeg_of_too_many_scans_costs_no_time(
    classify: Classify, stack: RunningStack, side: int, count: int
) -> None:
    file = with_scans(encoded(Image.new("L", (side, side)), "JPEG", progressive=True), count)
    with cost_of(stack.gateway.popen.pid) as cost:
        response = classify(file)
    assert_problem(response, 422, "image_undecodable")
    assert cost.cpu < 1


# Unusual, and fine


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_of_a_pixel_or_two_is_answered(
    classify: Classify, size: tuple[int, int], kind: str
) -> None:
    assert classify(encoded(Image.new("RGB", size), kind)).status_code == httpx.codes.OK


@pytest.mark.parametrize(
    "mode", [pytest.param("L", id="gray"), pytest.param("RGB", id="RGB"), pytest.param("CMYK", id="CMYK")]
)
@pytest.mark.parametrize(
    "progressive", [pytest.param(False, id="baseline"), pytest.param(True, id="progressive")]
)
def test_a_jpeg_means_the_same_in_every_colour_space(
    classify: Classify, results: Results, mode: str, progressive: bool
) -> None:
    picture = digit_picture().convert("RGB").convert(mode)
    assert_alike(classify(encoded(picture, "JPEG", quality=95, progressive=progressive)), results)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_a_png_means_the_same_in_every_mode(classify: Classify, results: Results, mode: str) -> None:
    assert_same(classify(encoded(digit_picture().convert(mode), "PNG")), results)


def test_one_bit_a_pixel_is_black_and_white(classify: Classify) -> None:
    picture = digit_picture().point(lambda level: 255 if level > 127 else 0)
    expected = classify(encoded(picture)).json()["results"]
    assert_same(classify(encoded(picture.convert("1"))), expected)


def over_white(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    return Image.composite(picture, Image.new("L", picture.size, 255), alpha)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_pixels_show_white(classify: Classify, mode: str, kind: str) -> None:
    ink, alpha = Image.new("L", (96, 96), 0), digit_picture()
    picture = Image.merge("LA", (ink, alpha)).convert(mode)
    expected = classify(encoded(over_white(ink, alpha))).json()["results"]
    assert_alike(classify(encoded(picture, kind, lossless=True)), expected)


def test_a_transparent_palette_entry_shows_white(classify: Classify) -> None:
    picture = Image.new("P", (96, 96), 0)
    picture.putpalette([0, 0, 0, 40, 40, 40])
    picture.paste(1, (40, 10, 56, 86))
    expected = classify(
        encoded(over_white(Image.new("L", (96, 96), 40), picture.point([0, 255] * 128, "L")))
    ).json()
    assert_same(classify(encoded(picture, "PNG", transparency=0)), expected["results"])


def sixteen_bit(levels: "np.ndarray[Any, np.dtype[np.uint8]]", colour: int) -> bytes:
    """The levels 0 to 255 stretched to 0 to 65,535 in a 16-bit PNG; `levels` is [height, width, channels]."""
    height, width, _ = levels.shape
    rows = (levels.astype(">u2") * 257).astype(">u2").reshape(height, -1)
    body = b"".join(b"\x00" + row.tobytes() for row in rows)
    return png(header(width, height, depth=16, colour=colour), chunk(b"IDAT", zlib.compress(body)), IEND)


@pytest.mark.parametrize(
    ("colour", "channels"),
    [
        pytest.param(0, 1, id="gray"),
        pytest.param(2, 3, id="RGB"),
        pytest.param(4, 2, id="gray with alpha"),
        pytest.param(6, 4, id="RGBA"),
    ],
)
def test_sixteen_bits_a_channel_are_scaled_and_not_clipped(
    classify: Classify, results: Results, colour: int, channels: int
) -> None:
    levels = np.repeat(np.asarray(digit_picture())[..., None], channels, axis=2).copy()
    if channels in (2, 4):
        levels[..., -1] = 255
    assert_same(classify(sixteen_bit(levels, colour)), results)


# How to turn an upright picture so that a viewer who follows the orientation sees it upright again.
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(orientation: int) -> Image.Image:
    """The digit on a canvas that is not square, stored so that this orientation makes it upright."""
    canvas = Image.new("L", (96, 128), 0)
    canvas.paste(digit_picture(), (0, 16))
    return canvas.transpose(TURNED[orientation]) if orientation in TURNED else canvas


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_exif_orientation_is_turned_upright(classify: Classify, kind: str, orientation: int) -> None:
    upright = classify(encoded(turned(1))).json()["results"]
    exif = Image.Exif()
    exif[0x0112] = orientation
    response = classify(encoded(turned(orientation), kind, exif=exif, quality=95))
    assert_alike(response, upright)


PLANTED = b"N52 31.2 E13 24.3 somebody's garden"


@pytest.mark.parametrize(
    "exif",
    [
        pytest.param(b"Exif\x00\x00", id="nothing"),
        pytest.param(b"Exif\x00\x00garbage\xff\x00" * 40, id="garbage"),
        pytest.param(b"Exif\x00\x00II*\x00\xff\xff\xff\xff", id="a directory far outside"),
        pytest.param(b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff", id="65,535 entries that are not there"),
        pytest.param(
            tiff_block((0x0112, 3, 1, struct.pack("<I", 99))), id="an orientation that does not exist"
        ),
        pytest.param(tiff_block(*[(0x9286, 7, 60_000, bytes(4))] * 5_000), id="5,000 entries of 60 kB"),
        pytest.param(tiff_block(extra=PLANTED * 1_800), id="64 kB"),
        pytest.param(tiff_block((0x8825, 4, 1, struct.pack("<I", 26)), extra=PLANTED), id="a place"),
    ],
)
def test_odd_exif_data_is_neither_an_obstacle_nor_logged(
    classify: Classify, digit_jpeg: bytes, stack: RunningStack, exif: bytes
) -> None:
    logged = stack.gateway.log.stat().st_size
    response = classify(with_segments(digit_jpeg, segment(0xE1, exif)))
    assert_same(response, classify(digit_jpeg).json()["results"])
    lines = stack.gateway.log.read_bytes()[logged:].splitlines()
    assert all(json.loads(line)["event"] == "request" for line in lines)  # access lines, and no warning
    assert not any(PLANTED in line for line in lines)


def test_an_animated_png_is_its_first_frame(classify: Classify, results: Results) -> None:
    other = digit_picture(digit=7)
    assert_same(classify(encoded(digit_picture(), save_all=True, append_images=[other])), results)


def test_an_animated_webp_is_its_first_frame(classify: Classify, results: Results) -> None:
    other = digit_picture(digit=7)
    file = encoded(digit_picture(), "WEBP", save_all=True, append_images=[other], lossless=True)
    assert_same(classify(file), results)


def test_arithmetic_coding_is_decoded_or_undecodable(classify: Classify, digit_jpeg: bytes) -> None:
    at = frame_header(digit_jpeg) + 1
    file = digit_jpeg[:at] + b"\xc9" + digit_jpeg[at + 1 :]
    assert_answer_or_problem(classify(file), "image_undecodable", "image_truncated")


def test_twelve_bits_a_channel_are_decoded_or_undecodable(classify: Classify, digit_jpeg: bytes) -> None:
    at = frame_header(digit_jpeg) + 4
    file = digit_jpeg[:at] + b"\x0c" + digit_jpeg[at + 1 :]
    assert_answer_or_problem(classify(file), "image_undecodable")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_wide_colour_profile_is_no_obstacle(classify: Classify, results: Results, kind: str) -> None:
    wide = colour_profile((0.798, 0.288, 0.0), (0.135, 0.712, 0.0), (0.031, 0.0, 0.825))
    picture = digit_picture().convert("RGB")
    assert_alike(classify(encoded(picture, kind, icc_profile=wide, quality=95)), results)


# Many at once


def random_body(seed: int) -> tuple[bytes, str]:
    """1 kB of noise as each kind of body in turn; for images behind each signature in turn, so that it gets far."""
    noise = random.Random(seed).randbytes(1024)
    starts = (b"", JPEG_START, PNG_SIGNATURE, b"RIFF\x00\x04\x00\x00WEBPVP8 ")
    bodies = [(start + noise[len(start) :], "image/png") for start in starts]
    bodies += [(noise, "application/json"), (b"{" + noise, "application/json")]
    bodies += [(noise, f"multipart/form-data; boundary={BOUNDARY}")]
    return bodies[seed % len(bodies)]


def test_noise_is_always_refused_as_the_callers_mistake(client: httpx.Client) -> None:
    responses = post_all(client, "/v1/classify", map(random_body, range(1_000)))
    assert len(responses) == 1_000
    for response in responses:
        assert 400 <= response.status_code < 500
        assert_problem(response, response.status_code, response.json()["code"])


def small_jpeg() -> bytes:
    """About 1 kB with every kind of segment that a camera's has."""
    file = encoded(digit_picture(64).convert("RGB"), "JPEG", quality=40)
    return with_segments(file, segment(0xE1, tiff_block((0x0112, 3, 1, struct.pack("<I", 1)))))


def test_a_jpeg_with_any_byte_damaged_is_answered_or_refused(client: httpx.Client) -> None:
    file = small_jpeg()
    # The first two bytes make it a JPEG; the lowest bit, because a high one of its size would make it too large.
    damaged = [file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :] for at in range(2, len(file))]
    responses = post_all(client, "/v1/classify", ((body, "image/jpeg") for body in damaged))
    for response in responses:
        assert_answer_or_problem(response, "image_undecodable", "image_truncated")
    answered = sum(response.status_code == 200 for response in responses)
    assert 0 < answered < len(responses)


@pytest.mark.parametrize("at", [0, 1])
def test_a_jpeg_with_a_damaged_signature_is_none(classify: Classify, at: int) -> None:
    file = small_jpeg()
    response = classify(file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :])
    assert_problem(response, 415, "unsupported_image_format")


def test_the_same_picture_gets_the_same_answer_every_time(
    client: httpx.Client, digit: bytes, results: Results
) -> None:
    responses = post_all(client, "/v1/classify", [(digit, "image/png")] * 500)
    assert all(response.status_code == 200 for response in responses)
    assert all(response.json()["results"] == results for response in responses)


def test_ten_bombs_at_once_leave_good_pictures_prompt(client: httpx.Client, digit: bytes) -> None:
    bodies = [(over_long_stream(), "image/png"), (digit, "image/png")] * 10
    began = time.monotonic()
    responses = post_all(client, "/v1/classify", bodies, threads=10)
    assert all(response.status_code == 200 for response in responses)
    assert time.monotonic() - began < 10 * PROMPT
