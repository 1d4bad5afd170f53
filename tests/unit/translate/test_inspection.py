"""The size by which a picture is priced is the one by which it is decoded, or it is no picture."""

import struct

import pytest
from support.hostile import chunk, png, png_chunks
from support.pictures import encoded, photo

from gateway.errors import ImageUndecodable
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
