# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["kserve==0.21.0", "pillow>=12"]
# ///
"""KServe's own Python client, as it is, against the gateway: health, and a digit as a tensor, in JSON and in bytes."""

import asyncio
import os
from pathlib import Path

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest, RESTConfig
from PIL import Image

MODEL = "digits_classifier"
DIGIT = Path(__file__).parent.parent / "samples" / "digit.png"


async def main() -> None:
    url = os.environ.get("GATEWAY_URL", "http://127.0.0.1:8080")
    key = {"X-API-Key": os.environ["GATEWAY_KEY"]}
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        print("live", await client.is_server_live(url))
        print("ready", await client.is_server_ready(url))
        print("model ready", await client.is_model_ready(url, MODEL, headers=dict(key)))
        for binary in (False, True):
            answer = await client.infer(url, request_of(binary), model_name=MODEL, headers=dict(key))
            scores = answer.outputs[0].as_numpy()
            print("bytes" if binary else "JSON", answer.model_name, scores.argmax())


def request_of(binary: bool) -> InferRequest:
    """The digit as the network takes it; in JSON, or as bytes both ways."""
    pixels = np.asarray(Image.open(DIGIT).convert("L").resize((32, 32)), np.uint8)[None, None]
    one = InferInput("images", list(pixels.shape), "UINT8")
    one.set_data_from_numpy(pixels, binary_data=binary)
    asked = InferOutput("logits", [], "FP32", parameters={"binary_data": binary})
    return InferRequest(model_name=MODEL, infer_inputs=[one], request_outputs=[asked] if binary else [])


if __name__ == "__main__":
    asyncio.run(main())
