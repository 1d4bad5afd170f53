# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["open-inference-openapi==2.0.0.1", "pillow>=12"]
# ///
"""The client generated from the protocol's own OpenAPI file, as it is, against the gateway; the key is httpx's part."""

import os
from pathlib import Path

import httpx
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.types import InferenceRequest, RequestInput, TensorData
from PIL import Image

MODEL = "digits_classifier"
DIGIT = Path(__file__).parent.parent / "samples" / "digit.png"


def main() -> None:
    url = os.environ.get("GATEWAY_URL", "http://127.0.0.1:8080")
    with httpx.Client(headers={"X-API-Key": os.environ["GATEWAY_KEY"]}) as http:
        client = OpenInferenceClient(base_url=url, httpx_client=http)
        client.check_server_liveness()
        client.check_server_readiness()
        client.check_model_readiness(MODEL)
        print("server", client.read_server_metadata().name)
        known = client.read_model_metadata(MODEL)
        print(
            "model", known.name, known.versions, [(one.name, one.datatype, one.shape) for one in known.inputs]
        )
        answer = client.model_infer(MODEL, request=request())
        (scores,) = (output.data.__root__ for output in answer.outputs)
        print("answer", answer.model_name, answer.model_version, scores.index(max(scores)))
        try:
            client.read_model_metadata("nobody")
        except ApiError as error:
            print("refused", error.status_code, error.body)


def request() -> InferenceRequest:
    """The digit as the network takes it."""
    pixels = list(Image.open(DIGIT).convert("L").resize((32, 32)).tobytes())
    data = TensorData.parse_obj(pixels)
    return InferenceRequest(
        inputs=[RequestInput(name="images", shape=[1, 1, 32, 32], datatype="UINT8", data=data)]
    )


if __name__ == "__main__":
    main()
