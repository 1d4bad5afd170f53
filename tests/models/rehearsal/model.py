"""Run by Triton's Python backend: names the brightest of ten columns, in the manner that its version was given."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

CONTRAST = 8.0  # between the logits of a white column and a black one
LATENCY, SLOW_LATENCY = 0.010, 0.040  # seconds a batch
FAILS_EVERY = 10
FATAL_GRAY = 13  # of every pixel of an image


class TritonPythonModel:
    """One version; Triton calls its methods by these names."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Raises TritonModelException where the version is made not to load."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._manner = parameters[f"version.{args['model_version']}"]["string_value"]
        self._calls = 0
        if self._manner == "unloadable":
            raise pb_utils.TritonModelException("this version is made not to load")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        time.sleep(SLOW_LATENCY if self._manner == "slow" else LATENCY)
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        self._calls += 1
        if self._manner == "failing" and self._calls % FAILS_EVERY == 0:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("this call is made to fail"))
        images = pb_utils.get_input_tensor_by_name(request, "images").as_numpy()
        if self._manner == "mortal" and (images == FATAL_GRAY).all(axis=(1, 2, 3)).any():
            os._exit(1)
        return pb_utils.InferenceResponse([pb_utils.Tensor("logits", self._logits(images))])

    def _logits(self, images: np.ndarray) -> np.ndarray:
        """`[batch, 1, rows, columns]` of gray to `[batch, columns]`."""
        logits = (images.mean(axis=(1, 2)) * (CONTRAST / 255)).astype(np.float32)
        if self._manner == "shuffled":
            return np.roll(logits, 3, axis=1)
        return logits[:, :-1] if self._manner == "narrow" else logits
