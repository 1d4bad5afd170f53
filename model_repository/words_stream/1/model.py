"""Run by Triton's Python backend: answers a text with its words, one by one.

The request's parameter `delay_ms` (0 to 2000) is the time between two words; `fail_at` is the number of the word at
which the model fails, for those who want to see that.
"""

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

LONGEST_DELAY_MS = 2000


class TritonPythonModel:
    """Triton calls its methods by these names."""

    def initialize(self, _: dict[str, str]) -> None:
        self._streams: set[threading.Thread] = set()

    def execute(self, requests: Sequence[Any]) -> None:
        for request in requests:
            text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()[0].decode()
            stream = threading.Thread(
                target=self._tell,
                args=(text, json.loads(request.parameters()), request.get_response_sender()),
            )
            self._streams.add(stream)
            stream.start()

    def finalize(self) -> None:
        for stream in list(self._streams):
            stream.join()

    def _tell(self, text: str, parameters: dict[str, Any], sender: Any) -> None:
        try:
            delay = _seconds(parameters.get("delay_ms", 0))
            for index, word in enumerate(text.split()):
                if parameters.get("fail_at") == index:
                    sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("told to fail")))
                    break
                time.sleep(delay if index else 0)
                outputs = [_tensor("WORD", word, np.object_), _tensor("INDEX", index, np.int32)]
                sender.send(pb_utils.InferenceResponse(outputs))
        except (TypeError, ValueError):
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("delay_ms is no number")))
        finally:  # else Triton waits for the end of the stream for ever
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            self._streams.discard(threading.current_thread())


def _seconds(delay_ms: Any) -> float:
    """Raises TypeError, ValueError for what is no number."""
    return min(max(int(delay_ms), 0), LONGEST_DELAY_MS) / 1000


def _tensor(name: str, value: str | int, dtype: Any) -> Any:
    return pb_utils.Tensor(name, np.array([value], dtype))
