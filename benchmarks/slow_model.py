"""A classifier for Triton's Python backend that only takes time: its capacity is known, and it needs no CPU.

On a small machine the generator, the gateway and a model that computes would compete for the same cores, and the
figures would be those of the machine.
"""

from dataclasses import dataclass
from pathlib import Path

_CONFIG = """
name: "slow"
backend: "python"
max_batch_size: {batch}
input [ {{ name: "images" data_type: TYPE_UINT8 dims: [ 1, 8, 8 ] }} ]
output [ {{ name: "scores" data_type: TYPE_FP32 dims: [ 2 ] }} ]
version_policy {{ all {{ }} }}
dynamic_batching {{ }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
parameters {{ key: "gateway.task" value: {{ string_value: "image-classification" }} }}
parameters {{ key: "gateway.default" value: {{ string_value: "true" }} }}
parameters {{ key: "gateway.labels" value: {{ string_value: "no\\nyes" }} }}
parameters {{ key: "gateway.channels" value: {{ string_value: "GRAY" }} }}
parameters {{ key: "gateway.resize" value: {{ string_value: "stretch" }} }}
"""

_MODEL = """
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        sizes = [pb_utils.get_input_tensor_by_name(r, "images").shape()[0] for r in requests]
        time.sleep({fixed} + {each} * sum(sizes))
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("scores", np.zeros((size, 2), np.float32))])
            for size in sizes
        ]
"""


@dataclass(frozen=True)
class SlowModel:
    """One batch at a time, in `fixed` seconds and `each` more for every image in it; so does each of its versions."""

    batch: int = 8
    fixed: float = 0.040
    each: float = 0.002
    versions: int = 1

    @property
    def capacity(self) -> float:
        """Images a second where every batch is full."""
        return self.batch / (self.fixed + self.each * self.batch)

    def write(self, repository: Path) -> Path:
        """Lays the model out in the folder and answers it."""
        folder = repository / "slow"
        for number in range(1, self.versions + 1):
            version = folder / str(number)
            version.mkdir(parents=True)
            (version / "model.py").write_text(_MODEL.format(fixed=self.fixed, each=self.each))
        (folder / "config.pbtxt").write_text(_CONFIG.format(batch=self.batch))
        return repository
