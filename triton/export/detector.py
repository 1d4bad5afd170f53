"""The detector network: small, anchor-free, three strides, with boxes decoded inside the graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from preprocess import DETECTOR_SIDE
from torch import nn

STRIDES = (8, 16, 32)
CLASSES = 10

#: Distances from a cell to the box edges are learnt as exponents; this bound keeps early training finite.
LARGEST_EXPONENT = 4.0


@dataclass(frozen=True)
class Widths:
    """Channels at strides 2, 4, 8, 16 and 32, and of the neck and heads."""

    stem: int
    early: int
    fine: int
    middle: int
    coarse: int
    head: int


class Raw(NamedTuple):
    """Undecoded answers for N cells.

    Corner boxes [batch, N, 4] in input pixels, logits [batch, N] that a digit is there, and logits [batch, N, 10]
    of which digit it would be.
    """

    boxes: torch.Tensor
    presence: torch.Tensor
    classes: torch.Tensor

    def scores(self) -> torch.Tensor:
        """Class scores [batch, N, 10], 0..1: how likely a digit is there, shared out over the classes."""
        return self.presence.sigmoid()[:, :, None] * self.classes.softmax(dim=2)


class DigitsDetector(nn.Module):
    """UINT8 [batch, 3, 320, 320] RGB to FP32 [batch, 14, 2100]: cx, cy, w, h in input pixels, then 10 scores."""

    centres: torch.Tensor
    strides: torch.Tensor

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _convolution(3, widths.stem, stride=2),
            _convolution(widths.stem, widths.early, stride=2),
            _convolution(widths.early, widths.fine, stride=2),
            _Residual(widths.fine),
        )
        self.middle = nn.Sequential(
            _convolution(widths.fine, widths.middle, stride=2), _Residual(widths.middle)
        )
        self.coarse = nn.Sequential(
            _convolution(widths.middle, widths.coarse, stride=2), _Residual(widths.coarse)
        )
        levels = (widths.fine, widths.middle, widths.coarse)
        self.lateral = nn.ModuleList(_convolution(width, widths.head, kernel=1) for width in levels)
        self.merged = nn.ModuleList(_separable(widths.head) for _ in levels)
        self.class_head = _head(widths.head, CLASSES)
        self.place_head = _head(widths.head, 5)
        self.upsample = nn.Upsample(scale_factor=2.0, mode="nearest")
        centres, strides = _cells()
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        self._start_from_background()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raw = self.raw(images)
        low, high = raw.boxes.chunk(2, dim=2)
        answers = torch.cat([(low + high) / 2, high - low, raw.scores()], dim=2)
        return answers.transpose(1, 2)

    def raw(self, images: torch.Tensor) -> Raw:
        """The answers of every cell, strides 8, 16, 32 one after another, each row by row."""
        pixels = images.float() / 255
        fine = self.stem(pixels)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        fine, middle, coarse = (
            layer(x) for layer, x in zip(self.lateral, (fine, middle, coarse), strict=True)
        )
        middle = middle + self.upsample(coarse)
        fine = fine + self.upsample(middle)
        maps = [layer(x) for layer, x in zip(self.merged, (fine, middle, coarse), strict=True)]
        classes = torch.cat([self.class_head(x).flatten(2) for x in maps], dim=2).transpose(1, 2)
        place = torch.cat([self.place_head(x).flatten(2) for x in maps], dim=2).transpose(1, 2)
        distances = place[:, :, :4].clamp(max=LARGEST_EXPONENT).exp() * self.strides
        low, high = distances.chunk(2, dim=2)
        boxes = torch.cat([self.centres - low, self.centres + high], dim=2)
        return Raw(boxes, place[:, :, 4], classes)

    def _start_from_background(self) -> None:
        """Begin with every presence near 2 %, so that the many empty cells do not drown the first steps."""
        last = self.place_head[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        with torch.no_grad():
            last.weight[4].mul_(0.1)
            last.bias[4] = -math.log(49)


def _cells() -> tuple[torch.Tensor, torch.Tensor]:
    """Centres [2100, 2] (x, y) and strides [2100, 1] of all cells, in input pixels."""
    centres, strides = [], []
    for stride in STRIDES:
        count = DETECTOR_SIDE // stride
        steps = (torch.arange(count) + 0.5) * stride
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        centres.append(torch.stack([x, y], dim=-1).reshape(-1, 2))
        strides.append(torch.full((count * count, 1), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def _convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(_convolution(width, width, groups=width), _convolution(width, width, kernel=1))


def _head(width: int, outputs: int) -> nn.Sequential:
    """A head shared by all strides: two cheap layers, then one value per output and cell."""
    return nn.Sequential(_separable(width), _separable(width), nn.Conv2d(width, outputs, 1))


class _Residual(nn.Module):
    """Two convolutions through half the channels, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_convolution(width, width // 2), _convolution(width // 2, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = x + self.inner(x)
        return added
