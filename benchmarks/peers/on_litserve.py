"""LitServe with two APIs that forward to Triton: `python on_litserve.py PORT`."""

import base64
import os
import sys
from typing import Any

import litserve
import numpy as np
from peers.preprocessing import best, tensor
from tritonclient.grpc import InferenceServerClient, InferInput

WORKERS = 4  # predict() is synchronous, so each call in flight needs one


class Forwarder(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.triton = InferenceServerClient(os.environ["TRITON_GRPC"])

    def forward(self, model: str, name: str, array: Any, output: str) -> Any:
        values = InferInput(name, array.shape, "FP32")
        values.set_data_from_numpy(array)
        return self.triton.infer(model, [values]).as_numpy(output)


class Tensor(Forwarder):
    """64 floats there and back."""

    def decode_request(self, request: dict[str, Any]) -> Any:
        return np.asarray(request["data"], np.float32)[None]

    def predict(self, array: Any) -> Any:
        return self.forward("bench_identity", "values", array, "same")

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"data": output[0].tolist()}


class Picture(Forwarder):
    """A JPEG in base64 to its five likeliest classes."""

    def decode_request(self, request: dict[str, Any]) -> Any:
        return tensor(base64.b64decode(request["image"]))

    def predict(self, array: Any) -> Any:
        return self.forward("bench_classifier", "images", array, "scores")

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"predictions": best(output[0])}


if __name__ == "__main__":
    apis = [Tensor(api_path="/tensor"), Picture(api_path="/classify")]
    server = litserve.LitServer(apis, accelerator="cpu", workers_per_device=WORKERS)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
