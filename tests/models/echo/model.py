"""Run by Triton's Python backend: gives each input back as the output of its name, and the request's parameters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Triton calls its method by this name."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        names = request.requested_output_names()
        return pb_utils.InferenceResponse([self._output(request, name) for name in names])

    def _output(self, request: Any, name: str) -> Any:
        if name == "parameters":
            return pb_utils.Tensor(name, np.array([request.parameters().encode()], np.object_))
        tensor = pb_utils.get_input_tensor_by_name(request, name.removeprefix("out_"))
        if name == "out_BF16":  # numpy has no such type
            return pb_utils.Tensor.from_dlpack(name, tensor.to_dlpack())
        return pb_utils.Tensor(name, tensor.as_numpy())
