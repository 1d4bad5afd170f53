"""A JPEG as ResNet-50 takes it, and scores as labels, as every example has it; the peers and the clients share it."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEAN = np.array((0.485, 0.456, 0.406), np.float32)
STD = np.array((0.229, 0.224, 0.225), np.float32)
SHORTER, SIDE = 256, 224


def tensor(jpeg: bytes, datatype: str = "FP32") -> NDArray[Any]:
    """[1, 3, 224, 224]: floats normalised, UINT8 as they are."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    scale = SHORTER / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    image = image.crop((left, top, left + SIDE, top + SIDE))
    if datatype == "UINT8":
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)[None])
    pixels = np.asarray(image, np.float32) / 255
    return np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1)[None])


def best(scores: NDArray[np.float32], count: int = 5) -> list[dict[str, object]]:
    """The likeliest classes of one picture."""
    powers = np.exp(scores - scores.max())
    shares = powers / powers.sum()
    order = np.argsort(shares)[::-1][:count]
    return [{"label": f"class {index}", "score": float(shares[index])} for index in order]
