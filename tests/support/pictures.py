"""Pictures for tests: held-out digits as image files, and small images of every kind."""

import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def held_out_digits() -> list[tuple[Image.Image, int]]:
    """The 360 samples of scikit-learn's digits that no demo model has seen: 8 x 8 gray pictures and their digit."""
    data = load_digits()
    scaled = np.rint(data.images * (255 / 16)).astype(np.uint8)
    return [(Image.fromarray(scaled[i]), int(data.target[i])) for i in range(0, len(scaled), 5)]


def digit_picture(size: int = 96, digit: int = 3) -> Image.Image:
    """A held-out digit, light on dark, with a margin."""
    picture = next(image for image, label in held_out_digits() if label == digit)
    canvas = Image.new("L", (size, size), 0)
    inner = size * 3 // 4
    canvas.paste(picture.resize((inner, inner), Image.Resampling.BICUBIC), ((size - inner) // 2,) * 2)
    return canvas


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The image as a file of this kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A photo-like RGB picture: smooth gradients, a few shapes and mild noise."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (max(2, height // 40), max(2, width // 40), 3), dtype=np.uint8)
    smooth = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    noise = rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8))
