"""Raw detector outputs to boxes: decoding, non-maximum suppression and the way back to the original image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.errors import UpstreamInvalidResponse
from gateway.translate.image import Placement

Scores = NDArray[np.float32]
Corners = NDArray[np.float64]  # areas of any finite FP32 output stay finite
Integers = NDArray[np.intp]

_MAX_CANDIDATES = 3000  # the best ones go on to suppression, whose cost grows with their number
_SLACK = 1e-3  # how far rounding may carry a score out of 0..1


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes `[n, 4]` as x_min, y_min, x_max, y_max with `scores` `[n]` and `classes` `[n]`, best first."""

    boxes: Corners
    scores: Scores
    classes: Integers

    def take(self, index: Integers | NDArray[np.bool_]) -> "Candidates":
        return Candidates(self.boxes[index], self.scores[index], self.classes[index])


def decode_yolov8(
    output: NDArray[np.float32], min_score: float, classes: frozenset[int] | None
) -> Candidates:
    """YOLOv8's head without its suppression: `output` is `[4 + classes, anchors]`.

    The first four rows are the centre, width and height in input pixels, the others a score per class; each
    anchor speaks for its best class. `classes` narrows the answer to these ids.
    Raises UpstreamInvalidResponse where a score is not between 0 and 1.
    """
    rows = output[4:]
    best = rows.max(axis=0)
    if rows.size and (rows.min() < -_SLACK or best.max() > 1 + _SLACK):
        raise UpstreamInvalidResponse("The model's answer is not valid.", internal="scores outside 0..1")
    best = best.clip(0, 1)
    chosen = np.flatnonzero(best >= min_score)
    kind = rows[:, chosen].argmax(axis=0)
    if classes is not None:
        wanted = np.isin(kind, list(classes))
        chosen, kind = chosen[wanted], kind[wanted]
    order = np.argsort(-best[chosen], kind="stable")[:_MAX_CANDIDATES]
    chosen, kind = chosen[order], kind[order]
    centre, size = output[:4, chosen].astype(np.float64).reshape(2, 2, -1)
    corners = np.concatenate([centre - size / 2, centre + size / 2]).T
    return Candidates(corners, best[chosen], kind)


def visible(found: Candidates, placement: Placement) -> Candidates:
    """Without the boxes that lie in the padding or have no area: they would use up the limit on detections."""
    return found.take(_areas(_original(found.boxes, placement)) > 0)


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
        rivals = alive[index + 1 :] & (found.classes[index + 1 :] == found.classes[index])
        rest = np.flatnonzero(rivals) + index + 1
        overlap = _overlaps(found.boxes[index], found.boxes[rest])
        union = areas[index] + areas[rest] - overlap
        alive[rest[overlap > iou_threshold * union]] = False
    return found.take(np.array(kept, dtype=np.intp))


def restore(found: Candidates, placement: Placement) -> Candidates:
    """From input pixels to pixels of the original image, clipped to it."""
    return Candidates(_original(found.boxes, placement), found.scores, found.classes)


def intersection_over_union(one: Corners, other: Corners) -> Corners:
    """`[n, m]` for boxes `[n, 4]` and `[m, 4]`; 1 for equal boxes, also where they have no area."""
    overlap = _overlaps(one[:, None], other)
    union = _areas(one)[:, None] + _areas(other) - overlap
    equal = (one[:, None] == other).all(axis=-1).astype(np.float64)
    shares: Corners = np.divide(overlap, union, out=equal, where=union > 0)
    return shares


def _original(boxes: Corners, placement: Placement) -> Corners:
    offset = (placement.left, placement.top) * 2
    scale = (placement.scale_x, placement.scale_y) * 2
    return ((boxes - offset) / scale).clip(0, (placement.width, placement.height) * 2)


def _areas(boxes: Corners) -> Corners:
    areas: Corners = (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
    return areas


def _overlaps(box: Corners, others: Corners) -> Corners:
    low = np.maximum(box[..., :2], others[..., :2])
    high = np.minimum(box[..., 2:], others[..., 2:])
    overlaps: Corners = (high - low).clip(0).prod(axis=-1)
    return overlaps
