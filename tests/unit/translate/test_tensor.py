"""Channels, layout, datatype and normalisation of the tensor."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.references import gap, network, noise, seen, shown

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PICTURE = noise(37, 29)
PIXELS = np.asarray(PICTURE)


def tensor(**options: object) -> NDArray[np.generic]:
    return seen(PICTURE, network(37, 29, **options)).array


def test_rgb_goes_in_as_it_is() -> None:
    assert np.array_equal(tensor(layout="NHWC"), PIXELS)


def test_bgr_turns_the_channels_round() -> None:
    assert np.array_equal(tensor(layout="NHWC", channels="BGR"), PIXELS[..., ::-1])


@pytest.mark.parametrize("channels", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize("datatype", ["UINT8", "FP16", "FP32"])
def test_nchw_is_nhwc_transposed(channels: str, datatype: str) -> None:
    options = {"channels": channels, "datatype": datatype, "mean": (0.5,), "std": (0.25,)}
    first, last = tensor(layout="NCHW", **options), tensor(layout="NHWC", **options)
    depth = 1 if channels == "GRAY" else 3
    assert first.shape == (depth, 29, 37)
    assert np.array_equal(first, last.transpose(2, 0, 1))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize(
    ("datatype", "dtype"), [("UINT8", np.uint8), ("FP16", np.float16), ("FP32", np.float32)]
)
def test_the_tensor_is_of_its_datatype_and_in_one_piece(
    layout: str, channels: str, datatype: str, dtype: type[np.generic]
) -> None:
    array = tensor(layout=layout, channels=channels, datatype=datatype)
    assert array.dtype == dtype
    assert array.flags.c_contiguous


def test_gray_weighs_the_colours_as_itu_r_601_does() -> None:
    weights = np.array([0.299, 0.587, 0.114])
    assert gap(tensor(layout="NHWC", channels="GRAY")[..., 0], PIXELS @ weights).max() <= 0.51


def test_gray_of_a_gray_picture_is_the_picture() -> None:
    gray = PICTURE.convert("L")
    assert np.array_equal(shown(gray, network(37, 29, channels="GRAY"))[..., 0], np.asarray(gray))


@pytest.mark.parametrize("picture", [PICTURE, PICTURE.convert("L")], ids=["from colours", "from gray"])
def test_a_picture_turns_gray_before_it_is_resized(picture: Image.Image) -> None:
    """As `Image.open(…).convert("L")` and then `Resize` do."""
    expected = np.asarray(picture.convert("L").resize((16, 16), Image.Resampling.BILINEAR))
    assert gap(shown(picture, network(16, 16, channels="GRAY"))[..., 0], expected).max() <= 1


def test_a_gray_letterbox_is_padded_with_one_channel() -> None:
    ours = shown(Image.new("L", (8, 4), 200), network(8, 8, "letterbox", channels="GRAY", pad=7))
    assert ours[:, 0, 0].tolist() == [7, 7, 200, 200, 200, 200, 7, 7]


NORMALISATIONS = [
    pytest.param(255.0, None, None, "RGB", id="0 to 1 and nothing more"),
    pytest.param(255.0, IMAGENET_MEAN, IMAGENET_STD, "RGB", id="torchvision's ImageNet"),
    pytest.param(255.0, (0.5,) * 3, (0.5,) * 3, "RGB", id="-1 to 1"),
    pytest.param(255.0, None, (0.5, 0.25, 0.125), "RGB", id="a standard deviation without a mean"),
    pytest.param(1.0, None, None, "RGB", id="0 to 255"),
    pytest.param(
        1.0, (104.0, 117.0, 123.0), None, "BGR", id="Caffe's SqueezeNet: BGR, 0 to 255, less a mean"
    ),
    pytest.param(1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "RGB", id="ImageNet in levels"),
    pytest.param(255.0, (0.1307,), (0.3081,), "GRAY", id="MNIST"),
]


def normalised(
    divisor: float, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, channels: str
) -> NDArray[np.float64]:
    """In double precision, [height, width, channels]."""
    pixels = {"RGB": PIXELS, "BGR": PIXELS[..., ::-1], "GRAY": np.asarray(PICTURE.convert("L"))[..., None]}
    return (pixels[channels].astype(np.float64) / divisor - (mean or (0.0,))) / (std or (1.0,))


@pytest.mark.parametrize(("divisor", "mean", "std", "channels"), NORMALISATIONS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_floats_are_normalised_to_single_precision(
    divisor: float, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, channels: str, layout: str
) -> None:
    ours = tensor(datatype="FP32", divisor=divisor, mean=mean, std=std, channels=channels, layout=layout)
    expected = normalised(divisor, mean, std, channels)
    if layout == "NCHW":
        expected = expected.transpose(2, 0, 1)
    np.testing.assert_allclose(ours, expected, rtol=3e-7, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("divisor", "mean", "std", "channels"), NORMALISATIONS)
def test_half_precision_is_single_precision_rounded_once(
    divisor: float, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, channels: str
) -> None:
    options = {"divisor": divisor, "mean": mean, "std": std, "channels": channels}
    half, single = tensor(datatype="FP16", **options), tensor(datatype="FP32", **options)
    assert np.array_equal(half, single.astype(np.float16))


def test_imagenet_normalisation_equals_torchvision_to_the_bit() -> None:
    """ToTensor divides by 255 in float32; Normalize subtracts the mean and divides, in place, in float32."""
    expected = PIXELS.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    expected -= np.array(IMAGENET_MEAN, np.float32)[:, None, None]
    expected /= np.array(IMAGENET_STD, np.float32)[:, None, None]
    assert np.array_equal(tensor(datatype="FP32", mean=IMAGENET_MEAN, std=IMAGENET_STD), expected)


def test_padding_is_normalised_like_the_picture() -> None:
    to = network(8, 8, "letterbox", datatype="FP32", mean=(0.5,) * 3, std=(0.5,) * 3)
    corner = seen(Image.new("RGB", (8, 4)), to).array[:, 0, 0]
    np.testing.assert_allclose(corner, (114 / 255 - 0.5) / 0.5, rtol=1e-6)
