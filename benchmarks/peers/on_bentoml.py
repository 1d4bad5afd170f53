"""BentoML with a service that forwards to Triton: `bentoml serve peers.on_bentoml:Forwarder`."""

import os
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import ContentType
from peers.preprocessing import best, tensor
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient


@bentoml.service(workers=1)
class Forwarder:
    def __init__(self) -> None:
        self.triton: InferenceServerClient | None = None

    async def forward(self, model: str, name: str, array: Any, output: str) -> Any:
        if self.triton is None:  # it belongs to the event loop that calls it first
            self.triton = InferenceServerClient(os.environ["TRITON_GRPC"])
        values = InferInput(name, array.shape, "FP32")
        values.set_data_from_numpy(array)
        return (await self.triton.infer(model, [values])).as_numpy(output)

    @bentoml.api
    async def tensor(self, data: np.ndarray) -> np.ndarray:
        """64 floats there and back."""
        answer = await self.forward("bench_identity", "values", data.astype(np.float32)[None], "same")
        return answer[0]

    @bentoml.api
    async def classify(self, image: Annotated[bytes, ContentType("image/jpeg")], /) -> list[dict[str, Any]]:
        """A JPEG as it is to its five likeliest classes."""
        scores = await self.forward("bench_classifier", "images", tensor(image), "scores")
        return best(scores[0])
