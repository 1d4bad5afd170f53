"""JPEG decoded at reduced scale: used where it saves work, and never seen in the answer."""

import io
from functools import cache

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from support.pictures import encoded
from support.references import (
    GENEROUS,
    Pixels,
    cached_photo,
    gap,
    network,
    noise,
    seen,
    shown,
)

from gateway.translate.decode import load, open_image

BILINEAR = Image.Resampling.BILINEAR

# In levels of 255. Measured over the photos at every size below: mean at most 0.40, 99th percentile 3, at worst 7,
# and 14 in the last column and row, where the JPEG's own padding of its blocks shows.
MEAN, PERCENTILE_99, WORST, WORST_AT_THE_BORDER = 0.6, 4, 9, 16


@cache
def mosaic(name: str, width: int, height: int) -> Image.Image:
    """A real photo, mirrored side by side until it is as large as this."""
    tile = load_sample_image(name)
    across = np.concatenate([tile, tile[:, ::-1]], axis=1)
    block = np.concatenate([across, across[::-1]], axis=0)
    times = (-(-height // block.shape[0]), -(-width // block.shape[1]), 1)
    return Image.fromarray(np.ascontiguousarray(np.tile(block, times)[:height, :width]))


def reduction(data: bytes, enough: tuple[int, int]) -> int:
    return load(open_image(data, GENEROUS), enough).reduction


def assert_close(ours: Pixels, expected: Pixels) -> None:
    difference = gap(ours, expected)
    assert difference.mean() <= MEAN
    assert np.percentile(difference, 99) <= PERCENTILE_99
    assert difference[:-1, :-1].max(initial=0) <= WORST
    assert difference.max() <= WORST_AT_THE_BORDER


@pytest.mark.parametrize("subsampling", [0, 2], ids=["4:4:4", "4:2:0"])
@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize(
    ("size", "canvas", "divisor"),
    [
        ((3000, 2000), (224, 224), 2),
        ((3000, 2000), (100, 100), 4),
        ((3000, 2000), (64, 64), 8),
        ((2401, 1601), (64, 64), 8),
        ((2399, 1599), (100, 66), 4),
        ((2007, 1505), (300, 225), 2),
        ((1281, 801), (32, 32), 8),
        ((1283, 805), (320, 201), 1),
        ((640, 427), (100, 67), 2),
    ],
    ids=str,
)
def test_a_reduced_photo_gives_the_tensor_of_the_full_one(
    size: tuple[int, int], canvas: tuple[int, int], divisor: int, name: str, subsampling: int
) -> None:
    data = encoded(mosaic(name, *size), "JPEG", quality=90, subsampling=subsampling)
    assert reduction(data, (canvas[0] * 3, canvas[1] * 3)) == divisor
    full = Image.open(io.BytesIO(data))
    assert_close(shown(data, network(*canvas)), np.asarray(full.resize(canvas, BILINEAR)))


@pytest.mark.parametrize("quality", [40, 95])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_quality_and_scans_make_no_difference(quality: int, progressive: bool) -> None:
    data = encoded(cached_photo(1203, 805), "JPEG", quality=quality, progressive=progressive)
    full = Image.open(io.BytesIO(data))
    assert_close(shown(data, network(90, 60)), np.asarray(full.resize((90, 60), BILINEAR)))


@pytest.mark.parametrize("resize", ["crop", "letterbox", "stretch"])
def test_a_large_jpeg_is_decoded_reduced_in_every_mode(resize: str) -> None:
    data = encoded(mosaic("china.jpg", 3000, 2000), "JPEG", quality=90)
    options = {"resize": resize, "resize_shorter": 224 if resize == "crop" else None}
    reduced = Image.open(io.BytesIO(data))
    reduced.draft(None, (3 * 224, 3 * 149 if resize == "letterbox" else 3 * 224))
    inner = {"stretch": (224, 224), "crop": (336, 224), "letterbox": (224, 149)}[resize]
    expected = np.asarray(reduced.resize(inner, BILINEAR))
    assert reduced.width < 3000
    ours = shown(data, network(224, 224, **options))
    if resize == "letterbox":
        ours = ours[37:186]
    elif resize == "crop":
        expected = expected[:, 56:280]
    assert gap(ours, expected).max() <= 1


@pytest.mark.parametrize("resize", ["crop", "letterbox"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"antialias": False}, id="four neighbours without antialiasing"),
        pytest.param({"interpolation": "nearest"}, id="the nearest pixel"),
    ],
)
def test_a_filter_that_samples_pixels_gets_the_full_picture(resize: str, options: dict[str, object]) -> None:
    data = encoded(noise(1600, 1200), "JPEG", quality=95)
    full = Image.open(io.BytesIO(data)).convert("RGB")
    to = network(64, 64, resize, resize_shorter=64 if resize == "crop" else None, **options)
    assert np.array_equal(shown(data, to), shown(full, to))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats_are_decoded_in_full(kind: str) -> None:
    assert reduction(encoded(cached_photo(800, 600), kind), (50, 50)) == 1


@pytest.mark.parametrize("size", [(33, 960), (41, 1000), (9, 800), (960, 33)], ids=str)
def test_the_reduction_is_the_decoders_even_where_few_pixels_are_left(size: tuple[int, int]) -> None:
    """33 columns become 5, which is a reduction by 8 and not by 7."""
    assert reduction(encoded(cached_photo(*size), "JPEG"), (1, 1)) == 8


def test_a_picture_that_is_small_already_is_decoded_in_full() -> None:
    data = encoded(noise(500, 400), "JPEG", quality=95)
    full = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(shown(data, network(224, 224)), shown(full, network(224, 224)))


def edge(width: int, height: int, at: int, *, upright: bool) -> Image.Image:
    """Black before `at`, white from there on, along x or (not upright) along y."""
    pixels = np.zeros((height, width, 3), np.uint8)
    (pixels[:, at:] if upright else pixels[at:])[...] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("at", [400, 601, 1206])
@pytest.mark.parametrize("size", [(1600, 1200), (1601, 1201), (1607, 1207)], ids=str)
@pytest.mark.parametrize("canvas", [(100, 75), (48, 48), (200, 150)], ids=str)
def test_an_edge_stays_where_it_is(at: int, size: tuple[int, int], canvas: tuple[int, int]) -> None:
    width, height = size
    for upright in (True, False):
        data = encoded(edge(*size, at if upright else at // 2, upright=upright), "JPEG", quality=95)
        black = 1 - shown(data, network(*canvas)).mean(axis=2) / 255
        found = black.sum(axis=1 if upright else 0)  # black pixels a row, with fractions: where the edge lies
        expected = at * canvas[0] / width if upright else at // 2 * canvas[1] / height
        assert np.abs(found - expected).max() < 0.05


@pytest.mark.parametrize("canvas", [(320, 320), (8, 8), (1, 1)], ids=str)
@pytest.mark.parametrize("size", [(33, 7680), (41, 8000), (7680, 33), (200, 4000), (1203, 805)], ids=str)
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_a_side_that_becomes_a_few_pixels_stays_close_too(
    size: tuple[int, int], canvas: tuple[int, int], resize: str
) -> None:
    data = encoded(cached_photo(*size), "JPEG", quality=95)
    full = Image.open(io.BytesIO(data)).convert("RGB")
    difference = gap(shown(data, network(*canvas, resize)), shown(full, network(*canvas, resize)))
    assert difference.mean() < 0.5
    assert difference.max() <= 3


def test_the_size_reported_is_that_of_the_original() -> None:
    placement = seen(encoded(mosaic("china.jpg", 2401, 1601), "JPEG"), network(64, 64)).placement
    assert (placement.width, placement.height) == (2401, 1601)
    assert placement.scale_x == pytest.approx(64 / 2401)
    assert placement.scale_y == pytest.approx(64 / 1601)
