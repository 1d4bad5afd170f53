"""What the detector learns from: task-aligned assignment, BCE for presence, cross-entropy for classes, CIoU."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from detector import Raw
from torch.nn import functional

#: Feng et al., "TOOD: Task-aligned One-stage Object Detection" (2021): alignment = score^0.5 * iou^6, best 10 cells.
SCORE_POWER, OVERLAP_POWER, CELLS_PER_BOX = 0.5, 6.0, 10
BOX_WEIGHT, CLASS_WEIGHT = 3.0, 1.0
TINY = 1e-7


class Targets(NamedTuple):
    """True boxes of a batch, padded to M a picture: corners [batch, M, 4], classes [batch, M], present [batch, M]."""

    boxes: torch.Tensor
    classes: torch.Tensor
    present: torch.Tensor


class _Assignment(NamedTuple):
    """For every cell: its true box [batch, N, 4] and class [batch, N], and the presence to reach [batch, N], 0..1."""

    boxes: torch.Tensor
    classes: torch.Tensor
    presence: torch.Tensor


def loss(raw: Raw, targets: Targets, centres: torch.Tensor) -> torch.Tensor:
    """The training loss, a scalar; `centres` [N, 2] are the cells' centres in input pixels."""
    with torch.no_grad():
        goal = _assign(raw, targets, centres)
    chosen = goal.presence > 0
    weights = goal.presence[chosen]
    presence = functional.binary_cross_entropy_with_logits(raw.presence, goal.presence, reduction="sum")
    classes = functional.cross_entropy(raw.classes[chosen], goal.classes[chosen], reduction="none")
    boxes = 1 - complete_iou(raw.boxes[chosen], goal.boxes[chosen])
    total = presence + (CLASS_WEIGHT * classes * weights).sum() + (BOX_WEIGHT * boxes * weights).sum()
    average: torch.Tensor = total / weights.sum().clamp(min=1)
    return average


def iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union of corner boxes, broadcast over all but the last dimension."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1) for boxes in (first, second)]
    overlap: torch.Tensor = shared / (areas[0] + areas[1] - shared + TINY)
    return overlap


def complete_iou(boxes: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """CIoU of corner boxes [n, 4] (Zheng et al., 2020): overlap less distance of centres and aspect mismatch."""
    overlap = iou(boxes, goal)
    span = torch.maximum(boxes[:, 2:], goal[:, 2:]) - torch.minimum(boxes[:, :2], goal[:, :2])
    between = (boxes[:, :2] + boxes[:, 2:] - goal[:, :2] - goal[:, 2:]) / 2
    distance = between.square().sum(dim=1) / (span.square().sum(dim=1) + TINY)
    size, goal_size = boxes[:, 2:] - boxes[:, :2], goal[:, 2:] - goal[:, :2]
    angle = torch.atan2(size[:, 0], size[:, 1]) - torch.atan2(goal_size[:, 0], goal_size[:, 1])
    mismatch = (2 / math.pi) ** 2 * angle.square()
    with torch.no_grad():
        share = mismatch / (1 - overlap + mismatch + TINY)
    return overlap - distance - share * mismatch


def _assign(raw: Raw, targets: Targets, centres: torch.Tensor) -> _Assignment:
    """Give each true box the cells inside it that already answer best for it; a cell serves one box."""
    overlap = iou(targets.boxes[:, :, None], raw.boxes[:, None]).clamp(min=0)
    scores = raw.scores().transpose(1, 2)
    wanted = targets.classes[:, :, None].expand(-1, -1, scores.shape[2])
    alignment = scores.gather(1, wanted) ** SCORE_POWER * overlap**OVERLAP_POWER
    # A cell whose box overlaps nothing yet still ranks, by position alone, below all that overlap.
    alignment = (alignment + 1e-12) * _inside(targets, centres)
    best = alignment.topk(CELLS_PER_BOX, dim=2)
    chosen = torch.zeros_like(alignment).scatter_(2, best.indices, 1.0) * (alignment > 0)
    rivals = chosen.sum(dim=1, keepdim=True) > 1
    nearest = functional.one_hot((overlap * chosen).argmax(dim=1), overlap.shape[1]).transpose(1, 2)
    chosen = torch.where(rivals, chosen * nearest, chosen)
    alignment = alignment * chosen
    strongest = alignment.amax(dim=2, keepdim=True).clamp(min=1e-12)
    reach = (overlap * chosen).amax(dim=2, keepdim=True)
    quality = (alignment / strongest * reach).amax(dim=1)
    owner = chosen.argmax(dim=1)
    boxes = targets.boxes.gather(1, owner[:, :, None].expand(-1, -1, 4))
    return _Assignment(boxes, targets.classes.gather(1, owner), quality)


def _inside(targets: Targets, centres: torch.Tensor) -> torch.Tensor:
    """1.0 where a cell's centre lies inside a true box that is present: [batch, M, N]."""
    low = centres[None, None] - targets.boxes[:, :, None, :2]
    high = targets.boxes[:, :, None, 2:] - centres[None, None]
    inside = torch.cat([low, high], dim=3).amin(dim=3) > 0
    return (inside & targets.present[:, :, None]).float()
