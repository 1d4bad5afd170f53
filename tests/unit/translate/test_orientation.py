"""EXIF orientations: the network and the caller see the picture upright."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from support.pictures import encoded
from support.references import GENEROUS, Pixels, cached_photo, gap, network, noise, seen, shown

from gateway.translate.decode import load, open_image

BILINEAR = Image.Resampling.BILINEAR

# How a camera stores an upright picture [row, column] under each value of the tag (TIFF 6.0: "row 0 is the visual
# top, column 0 the visual left-hand side" and so on).
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.transpose(1, 0, 2),  # left, top
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],  # right, top
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],  # left, bottom
}

every_orientation = pytest.mark.parametrize("orientation", sorted(STORED))


def tag(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def stored(upright: Image.Image, orientation: int, kind: str, **options: object) -> bytes:
    turned = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(upright))))
    return encoded(turned, kind, exif=tag(orientation), **options)


@every_orientation
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_a_lossless_picture_gives_the_tensor_of_the_upright_one(
    orientation: int, kind: str, resize: str
) -> None:
    upright = noise(61, 40)
    options = {"lossless": True} if kind == "WEBP" else {}
    to = network(32, 24, resize)
    assert np.array_equal(shown(stored(upright, orientation, kind, **options), to), shown(upright, to))


@every_orientation
def test_a_jpeg_gives_the_pixels_of_the_upright_one(orientation: int) -> None:
    data = stored(cached_photo(96, 64), orientation, "JPEG")
    back = {6: 8, 8: 6}.get(orientation, orientation)  # the others undo themselves
    upright = STORED[back](np.asarray(Image.open(io.BytesIO(data))))
    assert np.array_equal(shown(data, network(96, 64)), upright)


@every_orientation
@pytest.mark.parametrize("size", [(1203, 805), (1197, 803)], ids=str)
@pytest.mark.parametrize(("canvas", "reduction"), [((32, 21), 8), ((64, 43), 4), ((150, 100), 2)], ids=str)
def test_a_reduced_jpeg_gives_the_tensor_of_the_upright_one(
    orientation: int, size: tuple[int, int], canvas: tuple[int, int], reduction: int
) -> None:
    upright = cached_photo(*size)
    data = stored(upright, orientation, "JPEG", quality=95, subsampling=0)
    assert load(open_image(data, GENEROUS), (canvas[0] * 3, canvas[1] * 3)).reduction == reduction
    difference = gap(shown(data, network(*canvas)), np.asarray(upright.resize(canvas, BILINEAR)))
    assert difference.mean() < 0.7
    assert difference.max() <= 6


@every_orientation
@pytest.mark.parametrize("size", [(1601, 1201), (1607, 1207)], ids=str)
def test_an_edge_in_a_reduced_jpeg_stays_where_it_is(orientation: int, size: tuple[int, int]) -> None:
    width, height = size
    across, down = np.zeros((2, height, width, 3), np.uint8)
    across[:, 999:] = 255
    down[703:] = 255
    for pixels, axis, expected in ((across, 1, 999 * 96 / width), (down, 0, 703 * 64 / height)):
        data = stored(Image.fromarray(pixels), orientation, "JPEG", quality=95)
        black = 1 - shown(data, network(96, 64)).mean(axis=2) / 255
        assert np.abs(black.sum(axis=axis) - expected).max() < 0.05


@every_orientation
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_size_reported_is_upright(orientation: int, kind: str) -> None:
    placement = seen(stored(cached_photo(90, 50), orientation, kind), network(30, 20)).placement
    assert (placement.width, placement.height) == (90, 50)
    assert (placement.scale_x, placement.scale_y) == (30 / 90, 20 / 50)


@every_orientation
@pytest.mark.parametrize("resize", ["crop", "letterbox"])
def test_the_plan_is_made_for_the_upright_picture(orientation: int, resize: str) -> None:
    upright = noise(90, 50)
    to = network(32, 32, resize, resize_shorter=40 if resize == "crop" else None)
    ours = seen(stored(upright, orientation, "PNG"), to)
    assert ours.placement == seen(upright, to).placement


@pytest.mark.parametrize(
    "exif",
    [
        pytest.param(tag(0), id="0 is no orientation"),
        pytest.param(tag(9), id="9 is no orientation"),
        pytest.param(tag(6)[:20], id="the EXIF data is cut off"),
        pytest.param(b"Exif\0\0nonsense", id="the EXIF data is nonsense"),
    ],
)
def test_a_useless_orientation_counts_as_upright(exif: bytes) -> None:
    upright = cached_photo(48, 32)
    plain, tagged = encoded(upright, "JPEG"), encoded(upright, "JPEG", exif=exif)
    assert np.array_equal(shown(tagged, network(48, 32)), shown(plain, network(48, 32)))
