"""Run by Triton's Python backend: takes as long as the image says, and answers with how many calls it has run."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

SECONDS_A_GRAY_LEVEL = 0.01
LABELS = 32


class TritonPythonModel:
    """One version; Triton calls its methods by these names."""

    def initialize(self, args: Mapping[str, str]) -> None:
        self._calls = 0
        self._begun = Path(args["model_repository"], "begun")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        self._calls += 1
        self._begun.write_text(str(self._calls))
        gray = pb_utils.get_input_tensor_by_name(request, "images").as_numpy().mean()
        time.sleep(float(gray) * SECONDS_A_GRAY_LEVEL)
        scores = np.zeros((1, LABELS), np.float32)
        scores[0, self._calls] = 1
        return pb_utils.InferenceResponse([pb_utils.Tensor("scores", scores)])
