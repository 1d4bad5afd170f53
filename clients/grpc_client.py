# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2", "pillow>=12", "tritonclient[grpc]>=2.60"]
# ///
"""One image to labels, straight to Triton over gRPC: what a client has to do by itself without the gateway.

It reads the input's shape and type from Triton, but how a picture becomes numbers it has to know: here RGB, or gray
where the model takes one channel, resized to the input, and for float inputs normalised as on ImageNet. There is no
key, no limit, no deadline and no canary on this way; Triton's port is for those who run it.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from PIL import Image
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def main() -> int:
    asked = arguments()
    address = os.environ.get("TRITON_GRPC", "127.0.0.1:8001")
    try:
        with triton.InferenceServerClient(address) as server:
            begun = time.perf_counter()
            result, output = inferred(server, asked)
            milliseconds = (time.perf_counter() - begun) * 1000
    except InferenceServerException as error:
        print(f"{address}: {error.message()}", file=sys.stderr)
        return 1
    answer = result.get_response()
    print(f"{answer.model_name} version {answer.model_version}")
    for entry in result.as_numpy(output).ravel():
        score, number, *label = entry.decode().split(":")
        print(f"{float(score):8.4f}  {label[0] if label else number}")
    print(f"answered in {milliseconds:.1f} ms")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path, required=True, help="an image file")
    parser.add_argument("--model", required=True, help="a model with one image in and one list of scores out")
    parser.add_argument("--version", default="", help="without it Triton takes the highest")
    parser.add_argument("--top", type=int, default=5, help="at most this many results")
    return parser.parse_args()


def inferred(server: triton.InferenceServerClient, asked: argparse.Namespace) -> tuple[Any, str]:
    """The result, and the name of its output. Raises InferenceServerException."""
    known = server.get_model_metadata(asked.model, asked.version)
    pixels = tensor_of(asked.image, known.inputs[0])
    one = triton.InferInput(known.inputs[0].name, list(pixels.shape), known.inputs[0].datatype)
    one.set_data_from_numpy(pixels)
    best = triton.InferRequestedOutput(known.outputs[0].name, class_count=asked.top)
    return server.infer(asked.model, [one], asked.version, outputs=[best]), known.outputs[0].name


def tensor_of(path: Path, described: Any) -> "np.ndarray[Any, np.dtype[Any]]":
    """The picture as a batch of one: [1, channels, height, width] in the datatype of the input."""
    channels, height, width = (int(size) for size in described.shape[-3:])
    picture = Image.open(path).convert("L" if channels == 1 else "RGB").resize((width, height))
    rows = np.asarray(picture).reshape(height, width, channels)
    if described.datatype != "UINT8" and channels == len(_MEAN):
        rows = (rows / 255 - _MEAN) / _STD
    batch = rows.transpose(2, 0, 1)[None]
    return np.ascontiguousarray(batch, dtype=triton_to_np_dtype(described.datatype))


if __name__ == "__main__":
    sys.exit(main())
