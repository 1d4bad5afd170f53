"""What is sent: the same work in each contestant's own words, as bytes made once."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

JSON = "application/json"
JPEG = "image/jpeg"


@dataclass(frozen=True)
class Request:
    """An HTTP request without its host."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"

    def raw(self) -> bytes:
        """As it goes over the wire."""
        headers = {"Host": "localhost", "Content-Length": str(len(self.body)), **self.headers}
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + self.body

    def with_key(self, key: str) -> "Request":
        return Request(self.path, self.body, {**self.headers, "X-API-Key": key}, self.method)


def photo(width: int, height: int) -> bytes:
    """A JPEG as photographs are: gradients, grain, and 0.1 to 0.2 bytes a pixel."""
    source = np.random.default_rng(0)
    coarse = source.integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = np.asarray(smooth) + source.normal(0, 4, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def values(*shape: int) -> NDArray[np.float32]:
    """A tensor as networks get them: normal numbers, in float's full precision."""
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def json_tensor(model: str, name: str, array: NDArray[np.float32]) -> Request:
    """A tensor in the protocol's JSON, in row-major order."""
    tensor = {"name": name, "datatype": "FP32", "shape": array.shape, "data": array.ravel().tolist()}
    return Request(
        f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": JSON}
    )


def binary_tensor(model: str, name: str, array: NDArray[Any]) -> Request:
    """A tensor by the binary extension, which asks for a binary answer too."""
    about = {"binary_data_size": array.nbytes}
    datatype = {"float32": "FP32", "uint8": "UINT8"}[str(array.dtype)]
    tensor = {"name": name, "datatype": datatype, "shape": array.shape, "parameters": about}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Request(f"/v2/models/{model}/infer", head + array.tobytes(), headers)


def picture(path: str, data: bytes) -> Request:
    return Request(path, data, {"Content-Type": JPEG})
