"""Stretch, crop and letterbox against torchvision's and Ultralytics' conventions."""

import resource

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image
from support.pictures import photo
from support.references import (
    STEADY,
    Pixels,
    gap,
    letterbox_geometry,
    network,
    noise,
    seen,
    shown,
    torchvision_crop,
    ultralytics_letterbox,
)

BILINEAR, BICUBIC, NEAREST = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST

sides = st.integers(1, 300)
canvases = st.sampled_from([(64, 64), (96, 64), (33, 47), (31, 128)])

EXTREME = [
    pytest.param((1, 200), id="a column of one pixel"),
    pytest.param((200, 1), id="a row of one pixel"),
    pytest.param((8192, 1), id="a row so long that its height rounds to nothing"),
    pytest.param((1, 8192), id="a column so long that its width rounds to nothing"),
    pytest.param((8191, 3), id="a long row of odd sides"),
    pytest.param((1, 1), id="a single pixel"),
]


CROPS = [  # the shorter side, and the width and height of the crop
    pytest.param((256, 224, 224), id="ImageNet's 256 and 224"),
    pytest.param((64, 64, 64), id="the whole of the shorter side"),
    pytest.param((73, 50, 61), id="odd numbers and no square"),
]
SIZES = [
    (640, 480),
    (480, 640),
    (641, 479),
    (333, 333),
    (100, 75),
    (75, 101),
    (257, 256),
    (1000, 257),
    (64, 1000),
]


def assert_a_level_apart(ours: Pixels, expected: Pixels) -> None:
    """At most, and nowhere to one side: of noise, which is worse than any photo."""
    difference = ours.astype(int) - expected.astype(int)
    assert np.abs(difference).max() <= 1
    assert np.abs(difference).mean() <= 0.3
    assert abs(difference.mean()) <= 0.1


@pytest.mark.parametrize("to", CROPS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("name", "filter_"), [("bicubic", BICUBIC), ("nearest", NEAREST)])
def test_crop_equals_torchvision_to_the_bit(
    size: tuple[int, int], to: tuple[int, int, int], name: str, filter_: Image.Resampling
) -> None:
    picture = noise(*size)
    shorter, width, height = to
    ours = shown(picture, network(width, height, "crop", resize_shorter=shorter, interpolation=name))
    assert np.array_equal(ours, torchvision_crop(picture, shorter, width, height, filter_))


@pytest.mark.parametrize("to", CROPS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_bilinear_crop_is_within_a_level_of_torchvision(
    size: tuple[int, int], to: tuple[int, int, int]
) -> None:
    picture = noise(*size)
    shorter, width, height = to
    ours = shown(picture, network(width, height, "crop", resize_shorter=shorter))
    assert_a_level_apart(ours, torchvision_crop(picture, shorter, width, height, BILINEAR))


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_a_bilinear_crop_of_a_photo_is_torchvisions_in_five_of_six_elements(name: str) -> None:
    picture = Image.fromarray(load_sample_image(name))
    ours = shown(picture, network(224, 224, "crop", resize_shorter=256))
    difference = gap(ours, torchvision_crop(picture, 256, 224, 224, BILINEAR))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1 / 6


@STEADY
@given(sides, sides, st.integers(40, 90), st.integers(1, 40), st.integers(1, 40))
def test_a_bilinear_crop_is_within_a_level_of_torchvision_for_any_sides(
    width: int, height: int, shorter: int, crop_width: int, crop_height: int
) -> None:
    width, height = max(width, -(-height // 15)), max(height, -(-width // 15))
    picture = noise(width, height)
    ours = shown(picture, network(crop_width, crop_height, "crop", resize_shorter=shorter))
    expected = torchvision_crop(picture, shorter, crop_width, crop_height, BILINEAR)
    assert gap(ours, expected).max() <= 1


@pytest.mark.parametrize("size", [(1700, 100), (99, 1701), (2000, 7), (5, 803), (300, 1)], ids=str)
def test_crop_of_a_longer_picture_is_within_a_level_of_torchvision(size: tuple[int, int]) -> None:
    picture = noise(*size)
    ours = shown(picture, network(56, 48, "crop", resize_shorter=64))
    assert gap(ours, torchvision_crop(picture, 64, 56, 48, BILINEAR)).max() <= 1


@pytest.mark.parametrize("size", [(8192, 1), (1, 8192)], ids=["a row of one pixel", "a column of one pixel"])
@pytest.mark.parametrize("antialias", [True, False], ids=["antialiased", "sampled"])
def test_crop_of_the_longest_picture_needs_no_memory_to_speak_of(
    size: tuple[int, int], antialias: bool
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours = shown(noise(*size), network(224, 224, "crop", resize_shorter=256, antialias=antialias))
    assert ours.shape == (224, 224, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def test_crop_of_the_longest_picture_shows_its_middle() -> None:
    row = np.zeros((1, 8192, 3), np.uint8)
    row[:, 4096:] = 255
    ours = shown(Image.fromarray(row), network(224, 224, "crop", resize_shorter=256))
    ramp = 255 * (0.5 + (np.arange(224) + 0.5 - 112) / 256)  # one pixel of the row fills 256 of the canvas
    assert gap(ours, np.broadcast_to(ramp[None, :, None], ours.shape)).max() <= 1


@STEADY
@given(sides, sides, canvases)
def test_letterbox_without_antialiasing_is_within_a_level_of_ultralytics(
    width: int, height: int, canvas: tuple[int, int]
) -> None:
    picture = noise(width, height)
    ours = shown(picture, network(*canvas, "letterbox", antialias=False))
    assert gap(ours, ultralytics_letterbox(picture, *canvas)).max() <= 1


@pytest.mark.parametrize(
    "size",
    [(1920, 1080), (1080, 1920), (1281, 721), (641, 640), (639, 640), (500, 375), (333, 500), (640, 640)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_letterbox_of_ordinary_pictures_is_within_a_level_of_ultralytics(size: tuple[int, int]) -> None:
    picture = noise(*size)
    ours = shown(picture, network(640, 640, "letterbox", antialias=False))
    assert gap(ours, ultralytics_letterbox(picture, 640, 640)).max() <= 1


@pytest.mark.parametrize("size", EXTREME)
@pytest.mark.parametrize("canvas", [(640, 640), (320, 320), (33, 47)], ids=str)
def test_letterbox_keeps_a_pixel_of_a_side_that_would_vanish(
    size: tuple[int, int], canvas: tuple[int, int]
) -> None:
    picture = noise(*size)
    ours = shown(picture, network(*canvas, "letterbox", antialias=False))
    assert gap(ours, ultralytics_letterbox(picture, *canvas)).max() <= 1


@pytest.mark.parametrize("pad", [0, 114, 255])
@pytest.mark.parametrize("size", [(200, 100), (99, 200), (1, 200), (8192, 1), (64, 64)], ids=str)
def test_antialiased_letterbox_has_ultralytics_geometry_and_pillows_filter(
    size: tuple[int, int], pad: int
) -> None:
    picture = noise(*size)
    ours = shown(picture, network(96, 64, "letterbox", pad=pad))
    width, height, left, top = letterbox_geometry(size, (96, 64))
    expected = np.full((64, 96, 3), pad, np.uint8)
    expected[top : top + height, left : left + width] = np.asarray(picture.resize((width, height), BILINEAR))
    assert_a_level_apart(ours, expected)


@pytest.mark.parametrize("size", [(321, 123), (20, 30), (8192, 1), (1, 1)], ids=str)
def test_a_bilinear_stretch_is_within_a_level_of_pillow(size: tuple[int, int]) -> None:
    picture = noise(*size)
    assert_a_level_apart(shown(picture, network(57, 43)), np.asarray(picture.resize((57, 43), BILINEAR)))


@STEADY
@given(sides, sides, canvases)
def test_a_bilinear_stretch_is_within_a_level_of_pillow_for_any_sides(
    width: int, height: int, canvas: tuple[int, int]
) -> None:
    picture = noise(width, height)
    assert gap(shown(picture, network(*canvas)), np.asarray(picture.resize(canvas, BILINEAR))).max() <= 1


@pytest.mark.parametrize(("name", "filter_"), [("bicubic", BICUBIC), ("nearest", NEAREST)])
@pytest.mark.parametrize("size", [(321, 123), (20, 30), (8192, 1), (1, 1)], ids=str)
def test_stretch_equals_pillow_to_the_bit(
    size: tuple[int, int], name: str, filter_: Image.Resampling
) -> None:
    picture = noise(*size)
    ours = shown(picture, network(57, 43, interpolation=name))
    assert np.array_equal(ours, np.asarray(picture.resize((57, 43), filter_)))


@STEADY
@given(sides, sides)
def test_stretch_without_antialiasing_is_within_a_level_of_opencv(width: int, height: int) -> None:
    picture = noise(width, height)
    ours = shown(picture, network(57, 43, antialias=False))
    expected = cv2.resize(np.asarray(picture), (57, 43), interpolation=cv2.INTER_LINEAR)
    assert gap(ours, expected).max() <= 1


@pytest.mark.parametrize("scales", [(2, 2), (3, 3), (5, 3), (1, 3)], ids=str)
def test_at_a_whole_scale_sampling_equals_opencv_to_the_bit(scales: tuple[int, int]) -> None:
    picture = noise(57 * scales[0], 43 * scales[1])
    ours = shown(picture, network(57, 43, antialias=False))
    expected = cv2.resize(np.asarray(picture), (57, 43), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(ours, expected)


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("antialias", [True, False], ids=["antialiased", "sampled"])
def test_a_picture_of_the_right_size_is_left_as_it_is(resize: str, antialias: bool) -> None:
    picture = noise(48, 48)
    shorter = 48 if resize == "crop" else None
    ours = shown(picture, network(48, 48, resize, antialias=antialias, resize_shorter=shorter))
    assert np.array_equal(ours, np.asarray(picture))


@STEADY
@given(sides, sides, canvases, st.sampled_from(["stretch", "letterbox", "crop"]))
def test_the_placement_says_where_the_original_lies(
    width: int, height: int, canvas: tuple[int, int], resize: str
) -> None:
    shorter = 128 if resize == "crop" else None
    placement = seen(photo(width, height), network(*canvas, resize, resize_shorter=shorter)).placement
    assert (placement.width, placement.height) == (width, height)
    if resize == "stretch":
        inner_width, inner_height, left, top = *canvas, 0, 0
    elif resize == "letterbox":
        inner_width, inner_height, left, top = letterbox_geometry((width, height), canvas)
    else:
        shortest = min(width, height)
        inner_width, inner_height = int(128 * width / shortest), int(128 * height / shortest)
        left, top = round((canvas[0] - inner_width) / 2), round((canvas[1] - inner_height) / 2)
    assert placement.scale_x * width == pytest.approx(inner_width)
    assert placement.scale_y * height == pytest.approx(inner_height)
    assert (placement.left, placement.top) == (left, top)
