"""MLServer with a runtime that forwards to Triton: `mlserver start` on the folder that `python on_mlserver.py` writes.

Message and stub are MLServer's own: its messages and those of tritonclient cannot be in one process.
"""

import json
import os
import sys
from pathlib import Path

import grpc
import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.grpc.dataplane_pb2 import ModelInferRequest
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.types import InferenceRequest, InferenceResponse
from numpy.typing import NDArray
from peers.preprocessing import best, tensor


class Forwarder(MLModel):
    async def load(self) -> bool:
        self.triton = GRPCInferenceServiceStub(grpc.aio.insecure_channel(os.environ["TRITON_GRPC"]))
        return True

    async def forward(self, model: str, name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
        tensor = ModelInferRequest.InferInputTensor(name=name, datatype="FP32", shape=array.shape)
        request = ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[array.tobytes()])
        answer = await self.triton.ModelInfer(request)
        return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(answer.outputs[0].shape)


class Tensor(Forwarder):
    """64 floats there and back."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        array = NumpyCodec.decode_input(payload.inputs[0])
        answer = await self.forward("bench_identity", "values", array)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("same", answer)])


class Picture(Forwarder):
    """A JPEG in base64 to its five likeliest classes."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (jpeg,) = Base64Codec.decode_input(payload.inputs[0])
        scores = await self.forward("bench_classifier", "images", tensor(jpeg))
        labels = [json.dumps(best(scores[0]))]
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("labels", labels)])


def write(folder: Path, port: int) -> None:
    """The settings: one process, as the other contestants have."""
    server = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_port": port + 2,
        "parallel_workers": 0,
    }
    (folder / "settings.json").write_text(json.dumps(server))
    for name, runtime in (("tensor", "Tensor"), ("picture", "Picture")):
        (folder / name).mkdir()
        model = {"name": name, "implementation": f"peers.on_mlserver.{runtime}"}
        (folder / name / "model-settings.json").write_text(json.dumps(model))


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
