"""A JPEG as YOLOv8 takes it and its answer as boxes, in numpy, as clients that do it themselves write it."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, PAD = 640, 114
LEAST, OVERLAP = 0.25, 0.7


def letterboxed(jpeg: bytes, datatype: str) -> tuple[NDArray[Any], float, int, int]:
    """[1, 3, 640, 640], and where the picture lies in it: scale, left, top."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    scale = min(SIDE / image.width, SIDE / image.height)
    inner = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (SIDE - inner.width) // 2, (SIDE - inner.height) // 2
    canvas = np.full((SIDE, SIDE, 3), PAD, np.uint8)
    canvas[top : top + inner.height, left : left + inner.width] = np.asarray(inner)
    pixels = canvas.transpose(2, 0, 1)[None]
    if datatype == "UINT8":
        return np.ascontiguousarray(pixels), scale, left, top
    return np.ascontiguousarray(pixels.astype(np.float32) / 255), scale, left, top


def found(answer: NDArray[np.float32], scale: float, left: int, top: int) -> list[dict[str, object]]:
    """Boxes in pixels of the original, overlaps of one class suppressed; `answer` is [84, 8400]."""
    scores = answer[4:].max(axis=0)
    kept = np.flatnonzero(scores >= LEAST)
    kept = kept[np.argsort(scores[kept])[::-1]]
    classes = answer[4:, kept].argmax(axis=0)
    x, y, width, height = answer[:4, kept]
    corners = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    chosen: list[int] = []
    for index in range(len(kept)):
        rivals = [other for other in chosen if classes[other] == classes[index]]
        if all(_overlap(corners[index], corners[other]) <= OVERLAP for other in rivals):
            chosen.append(index)
    moved = (corners - (left, top, left, top)) / scale
    return [
        {"label": int(classes[i]), "score": float(scores[kept[i]]), "box": moved[i].tolist()} for i in chosen
    ]


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    width, height = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    both = float(width * height)
    return both / (_area(one) + _area(other) - both)


def _area(box: NDArray[np.float32]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
