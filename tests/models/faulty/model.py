"""Run by Triton's Python backend: names the quarter of the gray scale of a picture, or fails as a dark gray says."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

CLASSES = 4
RAISES, REFUSES, SHORT, NOT_A_NUMBER, INFINITE, EMPTY, NAMED_OTHERWISE, ABOVE_ONE, SLEEPS = range(1, 10)
SECONDS = 0.9  # of sleep


class TritonPythonModel:
    """One version; Triton calls its methods by these names."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        images = pb_utils.get_input_tensor_by_name(request, "images").as_numpy()
        gray = int(images[0].mean())
        if gray == RAISES:
            raise ValueError("secret text of /models/faulty/1/model.py")
        if gray == REFUSES:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("secret text of /models/faulty"))
        if gray == SLEEPS:
            time.sleep(SECONDS)
        name = "probabilities" if gray == NAMED_OTHERWISE else "scores"
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, self._scores(images, gray))])

    def _scores(self, images: np.ndarray, gray: int) -> np.ndarray:
        quarters = (images.mean(axis=(1, 2, 3)) // (256 / CLASSES)).astype(int)
        scores = np.eye(CLASSES, dtype=np.float32)[quarters]
        spoilt: Mapping[int, np.ndarray] = {
            SHORT: scores[:, :-1],
            NOT_A_NUMBER: scores * np.float32("nan"),
            INFINITE: scores + np.float32("inf"),
            EMPTY: scores[:, :0],
            ABOVE_ONE: scores * np.float32(7),
        }
        return spoilt.get(gray, scores)
