"""Every kind of picture that the three formats hold becomes the RGB picture that a person would see."""

import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.pictures import encoded, photo
from support.references import Pixels, gap, interlaced_png, network, noise, shown

WIDTH, HEIGHT = 40, 30


def rgb(data: bytes | Image.Image) -> Pixels:
    """What an RGB network of the picture's own size sees."""
    return shown(data, network(WIDTH, HEIGHT))


def random(*channels: int, dtype: type[np.integer] = np.uint8, seed: int = 0) -> NDArray[np.integer]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, *channels), dtype=dtype, endpoint=True)


def over_white(colours: NDArray[np.generic], alpha: NDArray[np.generic]) -> NDArray[np.float64]:
    share = alpha[..., None].astype(np.float64) / 255
    return colours.astype(np.float64) * share + 255 * (1 - share)


def thrice(gray: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.repeat(gray[..., None], 3, axis=2)


def test_rgb() -> None:
    picture = noise(WIDTH, HEIGHT)
    assert np.array_equal(rgb(picture), np.asarray(picture))


def test_gray_has_three_equal_channels() -> None:
    gray = random()
    assert np.array_equal(rgb(Image.fromarray(gray)), thrice(gray))


def test_gray_jpeg() -> None:
    data = encoded(photo(WIDTH, HEIGHT).convert("L"), "JPEG", quality=95)
    assert np.array_equal(rgb(data), thrice(np.asarray(Image.open(io.BytesIO(data)))))


def test_gray_with_alpha_lies_over_white() -> None:
    pixels = random(2)
    picture = Image.fromarray(pixels, "LA")
    assert gap(rgb(picture), over_white(thrice(pixels[..., 0]), pixels[..., 1])).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_colours_with_alpha_lie_over_white(kind: str) -> None:
    pixels = random(4)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(pixels), kind, **options)
    assert gap(rgb(data), over_white(pixels[..., :3], pixels[..., 3])).max() <= 1


def test_a_transparent_pixel_is_white_whatever_colour_it_hides() -> None:
    pixels = random(4)
    pixels[..., 3] = 0
    assert (rgb(Image.fromarray(pixels)) == 255).all()


def test_an_opaque_pixel_keeps_its_colour() -> None:
    pixels = random(4)
    pixels[..., 3] = 255
    assert np.array_equal(rgb(Image.fromarray(pixels)), pixels[..., :3])


def palette_picture() -> tuple[Image.Image, Pixels, Pixels]:
    """A picture of 256 colours, the palette and the index of each pixel."""
    index = random().astype(np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    picture = Image.fromarray(index, "P")
    picture.putpalette(palette.tobytes())
    return picture, palette, index


def test_palette() -> None:
    picture, palette, index = palette_picture()
    assert np.array_equal(rgb(picture), palette[index])


def test_palette_with_one_transparent_entry() -> None:
    picture, palette, index = palette_picture()
    data = encoded(picture, transparency=7)
    expected = palette.copy()
    expected[7] = 255
    assert np.array_equal(rgb(data), expected[index])


def test_palette_with_an_alpha_for_every_entry() -> None:
    picture, palette, index = palette_picture()
    alpha = np.random.default_rng(2).integers(0, 256, 256, dtype=np.uint8)
    data = encoded(picture, transparency=alpha.tobytes())
    assert gap(rgb(data), over_white(palette[index], alpha[index])).max() <= 1


def test_a_transparent_colour_is_white() -> None:
    pixels = random(3)
    pixels[3:9, 4:20] = (10, 200, 30)
    data = encoded(Image.fromarray(pixels), transparency=(10, 200, 30))
    expected = pixels.copy()
    expected[(pixels == (10, 200, 30)).all(axis=2)] = 255
    assert np.array_equal(rgb(data), expected)


def test_a_transparent_gray_is_white() -> None:
    gray = random().astype(np.uint8)
    data = encoded(Image.fromarray(gray), transparency=99)
    assert np.array_equal(rgb(data), thrice(np.where(gray == 99, 255, gray)))


def test_one_bit_is_black_and_white() -> None:
    bits = random() > 127
    assert np.array_equal(rgb(Image.fromarray(bits)), thrice(np.where(bits, 255, 0)))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_of_gray_span_black_to_white(depth: int) -> None:
    """Pillow writes such pictures only as palettes; OpenCV writes gray ones of 1 bit, and the palette has the rest."""
    levels = 2**depth
    index = (random() % levels).astype(np.uint8)
    picture = Image.fromarray(index, "P")
    ramp = np.linspace(0, 255, levels).astype(np.uint8)
    picture.putpalette(np.repeat(ramp, 3).tobytes())
    assert np.array_equal(rgb(encoded(picture, bits=depth)), thrice(ramp[index]))


def test_sixteen_bit_gray_is_scaled_and_not_clipped() -> None:
    gray = random(dtype=np.uint16)
    gray.flat[:4] = 0, 65535, 257, 128
    assert np.array_equal(rgb(Image.fromarray(gray)), thrice(np.rint(gray / 257)))


def test_sixteen_bit_colours_are_scaled_to_within_a_level() -> None:
    pixels = random(3, dtype=np.uint16)
    done, data = cv2.imencode(".png", pixels[..., ::-1])
    assert done
    assert gap(rgb(data.tobytes()), pixels / 257).max() <= 1


def test_sixteen_bit_colours_with_alpha_are_scaled_to_within_two_levels() -> None:
    pixels = random(4, dtype=np.uint16)
    done, data = cv2.imencode(".png", pixels[..., [2, 1, 0, 3]])
    assert done
    expected = over_white(pixels[..., :3] / 257, pixels[..., 3] / 257)
    assert gap(rgb(data.tobytes()), expected).max() <= 2


def test_cmyk_is_ink_on_white() -> None:
    data = encoded(photo(WIDTH, HEIGHT).convert("CMYK"), "JPEG", quality=95)
    ink = np.asarray(Image.open(io.BytesIO(data))).astype(np.float64) / 255
    expected = 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])
    assert gap(rgb(data), expected).max() <= 1


@pytest.mark.parametrize(
    ("ink", "colour"),
    [
        pytest.param((0, 0, 0, 0), (255, 255, 255), id="no ink is white"),
        pytest.param((0, 0, 0, 255), (0, 0, 0), id="black ink is black"),
        pytest.param((255, 0, 0, 0), (0, 255, 255), id="cyan takes red away"),
        pytest.param((0, 255, 0, 0), (255, 0, 255), id="magenta takes green away"),
        pytest.param((0, 0, 255, 0), (255, 255, 0), id="yellow takes blue away"),
    ],
)
def test_cmyk_inks_have_their_colours(ink: tuple[int, ...], colour: tuple[int, ...]) -> None:
    data = encoded(Image.new("CMYK", (WIDTH, HEIGHT), ink), "JPEG", quality=95)
    assert gap(rgb(data), np.broadcast_to(np.array(colour), (HEIGHT, WIDTH, 3))).max() <= 2


def test_a_progressive_jpeg_equals_the_baseline_one() -> None:
    picture = photo(WIDTH, HEIGHT)
    baseline, progressive = (encoded(picture, "JPEG", quality=90, progressive=kind) for kind in (False, True))
    assert np.array_equal(rgb(progressive), rgb(baseline))


def test_an_interlaced_png_equals_the_plain_one() -> None:
    picture = noise(WIDTH, HEIGHT)
    assert np.array_equal(rgb(interlaced_png(np.asarray(picture))), np.asarray(picture))


def test_lossless_webp() -> None:
    picture = noise(WIDTH, HEIGHT)
    assert np.array_equal(rgb(encoded(picture, "WEBP", lossless=True)), np.asarray(picture))


def test_lossy_webp_equals_what_its_decoder_says() -> None:
    data = encoded(photo(WIDTH, HEIGHT), "WEBP", quality=80)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert gap(rgb(data), expected).max() <= 1


def test_an_animated_webp_shows_its_first_frame() -> None:
    first, second = noise(WIDTH, HEIGHT, 1), noise(WIDTH, HEIGHT, 2)
    data = encoded(first, "WEBP", lossless=True, save_all=True, append_images=[second])
    assert np.array_equal(rgb(data), np.asarray(first))
