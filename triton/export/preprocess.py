"""Turns pictures into the tensors that the demo models take, as their config files promise (numpy and Pillow only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

CLASSIFIER_SIDE = 32
DETECTOR_SIDE = 320
PAD_VALUE = 114

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Letterbox:
    """A picture of width x height pixels fitted into a square.

    `tensor` is UINT8 [3, side, side]; a point of the picture lies there at x * scale_x + left, y * scale_y + top.
    """

    tensor: Pixels
    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int

    def to_tensor(self, boxes: Floats) -> Floats:
        """Corner boxes [n, 4] in pixels of the picture as corner boxes in pixels of the tensor."""
        return (boxes * self._scale() + self._offset()).astype(np.float32)

    def to_picture(self, boxes: Floats) -> Floats:
        """Corner boxes [n, 4] in pixels of the tensor as corner boxes in pixels of the picture, cut at its edges."""
        moved = (boxes - self._offset()) / self._scale()
        return moved.clip(0, (self.width, self.height) * 2).astype(np.float32)

    def _scale(self) -> npt.NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y] * 2)

    def _offset(self) -> npt.NDArray[np.float64]:
        return np.array([self.left, self.top] * 2, float)


def classifier_tensor(picture: Pixels) -> Pixels:
    """A gray picture [height, width] stretched to [1, 32, 32], bilinear with antialiasing."""
    image = Image.fromarray(picture)
    size = (CLASSIFIER_SIDE, CLASSIFIER_SIDE)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))[None]


def letterbox(picture: Pixels, side: int = DETECTOR_SIDE) -> Letterbox:
    """An RGB picture [height, width, 3] scaled to fit a square, centred, the rest padded with gray 114."""
    height, width = picture.shape[:2]
    scale = min(side / height, side / width)
    new_width, new_height = round(width * scale), round(height * scale)
    if (new_width, new_height) != (width, height):
        resized = Image.fromarray(picture).resize((new_width, new_height), Image.Resampling.BILINEAR)
        picture = np.asarray(resized)
    left, top = round((side - new_width) / 2 - 0.1), round((side - new_height) / 2 - 0.1)
    canvas = np.full((side, side, 3), PAD_VALUE, np.uint8)
    canvas[top : top + new_height, left : left + new_width] = picture
    tensor = np.ascontiguousarray(canvas.transpose(2, 0, 1))
    return Letterbox(tensor, width, height, new_width / width, new_height / height, left, top)
