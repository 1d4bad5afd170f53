"""Run by Triton's Python backend: a picture's file, JPEG, PNG or WebP, to the pixels that digits_classifier takes."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image, ImageOps

SIDE = 32
FORMATS = ("JPEG", "PNG", "WEBP")
MOST_PIXELS = 40_000_000

# Pillow itself warns of more and refuses twice as many; here the limit is one.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS


class TritonPythonModel:
    """Triton calls its method by this name."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        files = pb_utils.get_input_tensor_by_name(request, "FILE").as_numpy()[:, 0]
        try:
            images = np.stack([pixels(file) for file in files])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"not a picture: {error}"))
        return pb_utils.InferenceResponse([pb_utils.Tensor("images", images)])


def pixels(file: bytes) -> np.ndarray:
    """Upright, on white, gray, stretched to UINT8 [1, 32, 32], as the gateway does for the classifier itself."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(file), formats=FORMATS))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    gray = image.convert("RGB").convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(gray)[None]
