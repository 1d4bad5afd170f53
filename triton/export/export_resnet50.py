"""ResNet-50 as ONNX for CPU profiles and as TorchScript for Triton's PyTorch backend."""

from __future__ import annotations

from architectures import RESNET50
from served import export, weights_of

if __name__ == "__main__":
    export(RESNET50, pretrained=weights_of(__doc__))
