"""The networks of the three large models, as they are served: what Triton gives them goes in, scores come out.

Photographs go in as UINT8 and are normalised inside the graph: a picture travels in a quarter of the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from onnx_file import Inputs
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, ResNetConfig, ResNetForImageClassification

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STARS = 5
TOKENS = ("input_ids", "attention_mask", "token_type_ids")

#: Where pretrained weights come from, on a machine that reaches the hub.
RESNET_WEIGHTS = "microsoft/resnet-50"
BERT_WEIGHTS = "nlptown/bert-base-multilingual-uncased-sentiment"


class Photograph(nn.Module):
    """UINT8 [batch, 3, height, width] to the output of `network`, which takes floats from 0 to 1, normalised."""

    def __init__(
        self,
        network: nn.Module,
        mean: tuple[float, ...] = (0.0,) * 3,
        std: tuple[float, ...] = (1.0,) * 3,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network((images.float() / 255 - self.mean) / self.std)


class Logits(nn.Module):
    """A network of `transformers`, and of its answer only the scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.network(*inputs).logits


class Texts(nn.Module):
    """INT64 [batch, tokens] each to scores [batch, classes]."""

    def __init__(self, network: BertForSequenceClassification) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        return self.network(input_ids=ids, attention_mask=mask, token_type_ids=types).logits


@dataclass(frozen=True)
class Architecture:
    """A network that is to be served as `model`; `examples` makes inputs for a batch of that many.

    `axes` names those of its inputs and its `output` that may have any size. `script` says whether its TorchScript is
    wanted too, `first_class` where along the second axis the scores of classes begin, and `tolerance` how far the
    scores of the exported file may lie from the network's own.
    """

    model: str
    output: str
    build: Callable[[bool], nn.Module]
    examples: Callable[[int], Inputs]
    axes: Mapping[str, Mapping[int, str]]
    script: bool = False
    first_class: int = 0
    tolerance: float = 1e-3


def photographs(batch: int, side: int) -> Inputs:
    """Smooth pictures, which networks for photographs tell apart, unlike noise."""
    coarse = torch.randint(0, 256, (batch, 3, 8, 8)).float()
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 255)
    return {"images": smooth.to(torch.uint8)}


def texts(batch: int) -> Inputs:
    """Token ids that any vocabulary has, the second half of every second text padding."""
    tokens = 48
    mask = torch.ones(batch, tokens, dtype=torch.int64)
    mask[1::2, tokens // 2 :] = 0
    ids = torch.randint(5, 6000, (batch, tokens)) * mask
    return dict(zip(TOKENS, (ids, mask, torch.zeros_like(ids)), strict=True))


def resnet50(pretrained: bool) -> nn.Module:
    """ResNet-50 (He et al., 2015), 1,000 classes of ImageNet."""
    if pretrained:
        network = ResNetForImageClassification.from_pretrained(RESNET_WEIGHTS)
    else:
        network = ResNetForImageClassification(ResNetConfig(num_labels=1000))
    return Photograph(Logits(network), IMAGENET_MEAN, IMAGENET_STD)


def bert(pretrained: bool) -> nn.Module:
    """BERT base (Devlin et al., 2018): 12 layers of width 768."""
    if pretrained:
        network = BertForSequenceClassification.from_pretrained(BERT_WEIGHTS)
    else:
        network = BertForSequenceClassification(BertConfig(num_labels=STARS))
    return Texts(network)


RESNET50 = Architecture(
    model="resnet50_pytorch",
    output="logits__0",
    build=resnet50,
    examples=lambda batch: photographs(batch, 224),
    axes={"images": {0: "batch"}, "logits__0": {0: "batch"}},
    script=True,
)
BERT = Architecture(
    model="bert_onnx",
    output="logits",
    build=bert,
    examples=texts,
    axes={**{name: {0: "batch", 1: "tokens"} for name in TOKENS}, "logits": {0: "batch"}},
)
