"""YOLOv8n as ONNX, for CPU profiles and for the TensorRT plan that `build_plan.sh` makes of it.

Ultralytics is AGPL-3.0: a tool that whoever exports runs, in an environment of its own. Nothing else imports it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from onnx_file import Inputs
from served import export, weights_of
from torch import nn
from ultralytics import YOLO

SIDE = 640


@dataclass(frozen=True)
class Yolo:
    """What `architectures.Architecture` says of the others, whose libraries are not in this environment."""

    model: str = "yolov8_tensorrt"
    output: str = "output0"
    script: bool = False
    first_class: int = 4  # behind the four numbers of a box
    tolerance: float = 1e-3

    @property
    def axes(self) -> dict[str, dict[int, str]]:
        return {"images": {0: "batch"}, "output0": {0: "batch"}}

    def build(self, pretrained: bool) -> nn.Module:
        network = YOLO("yolov8n.pt" if pretrained else "yolov8n.yaml").model.eval()
        head = network.model[-1]
        head.export, head.format = True, "onnx"  # one output [batch, 84, 8400], without suppression
        return Scaled(network)

    def examples(self, batch: int) -> Inputs:
        """Smooth pictures."""
        coarse = torch.randint(0, 256, (batch, 3, 8, 8)).float()
        smooth = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 255)
        return {"images": smooth.to(torch.uint8)}


class Scaled(nn.Module):
    """UINT8 [batch, 3, 640, 640] to [batch, 84, 8400]; the network takes floats from 0 to 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images.float() / 255)


if __name__ == "__main__":
    export(Yolo(), pretrained=weights_of(__doc__))
