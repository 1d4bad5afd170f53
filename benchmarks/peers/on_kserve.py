"""KServe's Python server with transformers in front of Triton: `python on_kserve.py --predictor_host HOST`."""

import base64
from typing import Any

import kserve
from kserve import InferInput, InferRequest, InferResponse, ModelServer
from kserve.model_server import parser
from peers.preprocessing import best, tensor


class Tensor(kserve.Model):
    """64 floats there and back; KServe's own predict() does it all."""

    def __init__(self) -> None:
        super().__init__("bench_identity")
        self.ready = True


class Picture(kserve.Model):
    """A JPEG in base64 to its five likeliest classes."""

    def __init__(self) -> None:
        super().__init__("bench_classifier")
        self.ready = True

    async def preprocess(self, payload: Any, headers: Any = None) -> InferRequest:
        array = tensor(base64.b64decode(payload["instances"][0]["image"]["b64"]))
        images = InferInput("images", list(array.shape), "FP32")
        images.set_data_from_numpy(array, binary_data=True)
        return InferRequest(self.name, infer_inputs=[images])

    async def postprocess(self, result: Any, headers: Any = None, response_headers: Any = None) -> Any:
        if isinstance(result, InferResponse):
            result = result.outputs[0].as_numpy()
        return {"predictions": [best(scores) for scores in result]}


if __name__ == "__main__":
    parser.parse_args()
    ModelServer().start([Tensor(), Picture()])
