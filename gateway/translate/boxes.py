"""Raw detector outputs to boxes: decoding, non-maximum suppression and the way back to the original image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.errors import UpstreamInvalidResponse
from gateway.translate.image import Placement

Floats = NDArray[np.float32]
Integers = NDArray[np.intp]

_MAX_CANDIDATES = 3000  # the best ones go on to suppression, whose cost grows with their number


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes `[n, 4]` as x_min, y_min, x_max, y_max with `scores` `[n]` and `classes` `[n]`, best first."""

    boxes: Floats
    scores: Floats
    classes: Integers

    def take(self, index: Integers | NDArray[np.bool_]) -> "Candidates":
        return Candidates(self.boxes[index], self.scores[index], self.classes[index])


def decode_yolov8(output: Floats, min_score: float, classes: frozenset[int] | None) -> Candidates:
    """YOLOv8's head without its suppression: `output` is `[4 + classes, anchors]`.

    The first four rows are the centre, width and height in input pixels, the others a score per class; each
    anchor speaks for its best class. `classes` narrows the answer to these ids.
    Raises UpstreamInvalidResponse where a score is not between 0 and 1.
    """
    scores = output[4:]
    if scores.size and (scores.min() < -1e-3 or scores.max() > 1 + 1e-3):
        raise UpstreamInvalidResponse("The model's answer is not valid.", internal="scores outside 0..1")
    kind = scores.argmax(axis=0)
    best = np.take_along_axis(scores, kind[None], axis=0)[0]
    keep = best >= min_score
    if classes is not None:
        keep &= np.isin(kind, list(classes))
    chosen = np.flatnonzero(keep)
    chosen = chosen[np.argsort(-best[chosen], kind="stable")[:_MAX_CANDIDATES]]
    centre, size = output[:2, chosen].T, output[2:4, chosen].T
    corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    return Candidates(corners, best[chosen].clip(0, 1), kind[chosen])


def suppress(found: Candidates, iou_threshold: float, limit: int) -> Candidates:
    """Greedy non-maximum suppression per class, over candidates that are sorted best first.

    A box goes when it overlaps a better one of its class by more than `iou_threshold` (intersection over union).
    """
    alive = np.ones(len(found.scores), dtype=bool)
    kept: list[int] = []
    areas = _areas(found.boxes)
    for index in range(len(found.scores)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == limit:
            break
        rest = (
            np.flatnonzero(alive[index + 1 :] & (found.classes[index + 1 :] == found.classes[index]))
            + index
            + 1
        )
        overlap = _overlaps(found.boxes[index], found.boxes[rest])
        union = areas[index] + areas[rest] - overlap
        alive[rest[overlap > iou_threshold * union]] = False
    return found.take(np.array(kept, dtype=np.intp))


def restore(found: Candidates, placement: Placement) -> Candidates:
    """From input pixels to pixels of the original image, clipped to it; what lies outside of it goes."""
    offset = np.array([placement.left, placement.top] * 2, dtype=np.float32)
    scale = np.array([placement.scale_x, placement.scale_y] * 2, dtype=np.float32)
    limit = np.array([placement.width, placement.height] * 2, dtype=np.float32)
    boxes = ((found.boxes - offset) / scale).clip(0, limit)
    restored = Candidates(boxes, found.scores, found.classes)
    return restored.take(_areas(boxes) > 0)


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
    return areas


def _overlaps(box: Floats, others: Floats) -> Floats:
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    overlaps: Floats = (high - low).clip(0).prod(axis=1)
    return overlaps
