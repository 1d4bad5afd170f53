"""The size by which a picture is priced is the one by which it is decoded, or it is no picture."""

import struct
import time

import pytest
from support.hostile import chunk, png, png_chunks, segment, with_segments
from support.pictures import encoded, photo

from gateway.errors import ImageTruncated, ImageUndecodable
from gateway.translate.inspection import inspect, megapixels

MOST = 40_000_000
SMALL = struct.pack(">II", 1, 1)  # where a header has its sides
LARGE = png_chunks(encoded(photo(2000, 1500)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_price_of_a_picture_is_by_the_size_that_is_decoded(kind: str) -> None:
    data = encoded(photo(2000, 1500), kind)
    anatomy = inspect(data)
    assert (anatomy.width, anatomy.height, megapixels(data, MOST)) == (2000, 1500, 3.0)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(chunk(b"tEXt", SMALL), id="a text"),
        pytest.param(chunk(b"IHDR"), id="an empty header"),
        pytest.param(chunk(b"IHDR", SMALL), id="half a header"),
    ],
)
def test_a_png_that_does_not_begin_with_its_header_is_none(first: bytes) -> None:
    data = png(first, *LARGE)
    assert megapixels(data, MOST) == 0
    with pytest.raises(ImageUndecodable):
        inspect(data)


NOTE = segment(0xE1, bytes(0xFFFD))  # as long as one can be


def test_a_frame_behind_dozens_of_long_segments_is_found() -> None:
    data = with_segments(encoded(photo(2000, 1500), "JPEG"), *[NOTE] * 150)
    assert (megapixels(data, MOST), inspect(data).width) == (3.0, 2000)


@pytest.mark.parametrize("odd", [b"\0" * 64, b"\xff" * 64, b"\0" * 64 + b"\xff" * 64])
def test_odd_bytes_between_the_segments_of_a_jpeg_are_passed_over(odd: bytes) -> None:
    data = with_segments(encoded(photo(2000, 1500), "JPEG"), segment(0xFE, b"note"), odd)
    assert (megapixels(data, MOST), inspect(data).width) == (3.0, 2000)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(segment(0xE1, b"") * 1000, id="a thousand segments"),
        pytest.param(b"\xff" * 5000, id="5,000 filling bytes"),
        pytest.param(b"\0" * 5000, id="5,000 odd bytes"),
        pytest.param(b"\xff\0", id="what belongs to a scan"),
    ],
)
def test_a_picture_whose_frame_cannot_be_priced_is_none(before: bytes) -> None:
    """Otherwise it would be decoded at the price of the smallest."""
    data = with_segments(encoded(photo(2000, 1500), "JPEG"), before)
    assert megapixels(data, MOST) == 0
    with pytest.raises(ImageUndecodable):
        inspect(data)


@pytest.mark.parametrize("cut", [2, 12, 30, 200])
def test_a_jpeg_that_ends_before_its_frame_is_truncated(cut: int) -> None:
    data = with_segments(encoded(photo(20, 10), "JPEG"), NOTE)[:-1]
    stump = data[: max(cut, 12)]
    with pytest.raises(ImageTruncated):
        inspect(stump)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xd8" + segment(0xE1, b"") * 1_000_000, id="a million segments"),
        pytest.param(b"\xff\xd8" + b"\xff" * 5_000_000, id="filling bytes"),
        pytest.param(b"\xff\xd8" + b"\xff\x00" * 2_500_000, id="stuffed bytes"),
        pytest.param(b"\xff\xd8" + (b"\xff" * 4000 + b"\xe1\0\2") * 1200, id="filled segments"),
    ],
)
def test_the_price_of_a_file_of_megabytes_is_told_at_once(data: bytes) -> None:
    began = time.process_time()
    assert megapixels(data, MOST) == 0
    assert (
        time.process_time() - began < 0.05
    )  # some 2 ms; a walk through all of it takes a hundred times as long


def test_a_marker_is_found_wherever_the_search_pauses() -> None:
    file = encoded(photo(20, 10), "JPEG")
    for filling in range(2**18 - 8, 2**18 + 8):
        data = file[:-2] + b"\0" * (filling - len(file)) + file[-2:]
        assert inspect(data).data.endswith(b"\0" * 64 + file[-2:])
