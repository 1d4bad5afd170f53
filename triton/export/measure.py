"""Boxes out of the detector's tensor, and how good they are: NMS and mean average precision (numpy only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from preprocess import Letterbox

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Detections:
    """Found objects of one picture, best first: corner boxes [n, 4] in pixels, classes [n], scores [n]."""

    boxes: Floats
    classes: Integers
    scores: Floats


@dataclass(frozen=True)
class Truth:
    """What stands in one picture: corner boxes [n, 4] in pixels and classes [n]."""

    boxes: Floats
    classes: Integers


def decode(
    tensor: Floats, min_score: float, iou_threshold: float, most: int, box: Letterbox | None = None
) -> Detections:
    """Objects in one YOLOv8-style answer [4 + classes, N], in its pixels; a cell speaks for its best class only.

    With `box`, objects that lie wholly in its border are left out.
    """
    scores, classes = tensor[4:].max(axis=0), tensor[4:].argmax(axis=0)
    candidates = np.flatnonzero(scores >= min_score)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    centre, half = tensor[:2, candidates].T, tensor[2:4, candidates].T / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    if box is not None:
        visible = box.to_picture(boxes)
        inside = (visible[:, 2:] > visible[:, :2]).all(axis=1)
        boxes, candidates = boxes[inside], candidates[inside]
    kept = suppress(boxes, classes[candidates], iou_threshold)[:most]
    chosen = candidates[kept]
    return Detections(boxes[kept], classes[chosen].astype(np.int64), scores[chosen])


def suppress(boxes: Floats, classes: npt.NDArray[np.integer], iou_threshold: float) -> list[int]:
    """Greedy per-class suppression of boxes [n, 4] that come best first; the indices that stay."""
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        kept.append(index)
        overlap = iou(boxes[index], boxes[index + 1 :])
        alive[index + 1 :] &= (overlap <= iou_threshold) | (classes[index + 1 :] != classes[index])
    return kept


def iou(box: Floats, others: Floats) -> Floats:
    """Intersection over union of one corner box [4] with others [n, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    overlap: Floats = shared / np.maximum((box[2:] - box[:2]).prod() + areas - shared, 1e-9)
    return overlap


def mean_average_precision(found: list[Detections], truth: list[Truth], iou_threshold: float = 0.5) -> float:
    """Mean over the classes present of the area under the interpolated precision-recall curve."""
    classes = np.unique(np.concatenate([picture.classes for picture in truth]))
    return float(np.mean([_average_precision(found, truth, int(c), iou_threshold) for c in classes]))


def _average_precision(
    found: list[Detections], truth: list[Truth], label: int, iou_threshold: float
) -> float:
    """All-point interpolated average precision of one class over all pictures."""
    scores: list[float] = []
    right: list[bool] = []
    for detections, picture in zip(found, truth, strict=True):
        mine = detections.classes == label
        scores.extend(detections.scores[mine].tolist())
        right.extend(_hits(detections.boxes[mine], picture.boxes[picture.classes == label], iou_threshold))
    total = sum(int((picture.classes == label).sum()) for picture in truth)
    hits = np.array(right, float)[np.argsort(-np.array(scores), kind="stable")]
    recall = hits.cumsum() / total
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def best_min_score(
    found: list[Detections], truth: list[Truth], iou_threshold: float = 0.5
) -> tuple[float, float]:
    """The score limit, in steps of 0.05, that gives the best F1 over all classes, and that F1."""
    total = sum(len(picture.classes) for picture in truth)
    best = (0.0, 0.0)
    for limit in np.arange(0.05, 1.0, 0.05):
        hits, answers = 0, 0
        for detections, picture in zip(found, truth, strict=True):
            strong = detections.scores >= limit
            answers += int(strong.sum())
            for label in np.unique(picture.classes):
                mine = strong & (detections.classes == label)
                hits += sum(
                    _hits(detections.boxes[mine], picture.boxes[picture.classes == label], iou_threshold)
                )
        f1 = 2 * hits / (answers + total)
        best = max(best, (f1, float(limit)))
    return best[1], best[0]


def _hits(boxes: Floats, true_boxes: Floats, iou_threshold: float) -> list[bool]:
    """For boxes of one class, best first: whether each finds a true box that none before it found."""
    free = np.ones(len(true_boxes), bool)
    hits: list[bool] = []
    for box in boxes:
        overlap = np.where(free, iou(box, true_boxes), 0.0)
        best = int(overlap.argmax()) if len(overlap) else 0
        hit = len(overlap) > 0 and bool(overlap[best] >= iou_threshold)
        if hit:
            free[best] = False
        hits.append(hit)
    return hits
