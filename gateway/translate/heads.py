"""Heads of detectors that leave no overlaps: networks with suppression inside, and those that need none."""

import numpy as np
from numpy.typing import NDArray

from gateway.errors import UpstreamInvalidResponse
from gateway.translate.boxes import Candidates

_SLACK = 1e-3  # how far rounding may carry a score out of 0..1

Floats = NDArray[np.float32]


def decode_end2end(
    output: Floats, labels: int, min_score: float, classes: frozenset[int] | None
) -> Candidates:
    """A network with non-maximum suppression inside: `output` is `[detections, 6]`.

    A row is x_min, y_min, x_max, y_max in input pixels, score and class; rows that pad have a score of 0.
    Raises UpstreamInvalidResponse where a score is not between 0 and 1, or a class has no label.
    """
    scores, kinds = output[:, 4], output[:, 5]
    real = scores > 0
    if scores.size and (scores.min() < -_SLACK or scores.max() > 1 + _SLACK):
        raise _invalid("scores outside 0..1")
    if (kinds[real] < 0).any() or (kinds[real] >= labels).any() or (kinds[real] % 1 != 0).any():
        raise _invalid(f"classes that are none of {labels}")
    return _chosen(
        output[:, :4].astype(np.float64),
        scores.clip(0, 1),
        np.where(real, kinds, 0).astype(np.intp),
        real,
        min_score,
        classes,
    )


def decode_detr(
    logits: Floats,
    boxes: Floats,
    size: tuple[int, int],
    labels: int,
    min_score: float,
    classes: frozenset[int] | None,
) -> Candidates:
    """DETR's head (Carion et al., 2020) and its descendants': each query speaks for one thing or for none.

    `logits` is `[queries, labels + 1]`, the last of them for "nothing", and becomes scores by softmax; or
    `[queries, labels]`, by sigmoid, as in Deformable DETR and RT-DETR. `boxes` is `[queries, 4]`: centre, width and
    height as shares of the input, whose width and height in pixels are `size`.
    Raises UpstreamInvalidResponse for another number of classes.
    """
    if logits.shape[1] not in (labels, labels + 1) or boxes.shape != (len(logits), 4):
        raise _invalid(f"shapes {logits.shape} and {boxes.shape} for {labels} labels")
    wide = logits.astype(np.float64)
    if logits.shape[1] == labels:
        scores = (1 + np.tanh(wide / 2)) / 2
    else:
        powers = np.exp(wide - wide.max(axis=1, keepdims=True))
        scores = (powers / powers.sum(axis=1, keepdims=True))[:, :-1]
    kinds = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), kinds].astype(np.float32)
    centre, extent = np.split(boxes.astype(np.float64) * (size * 2), 2, axis=1)
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    return _chosen(corners, best, kinds, best > 0, min_score, classes)


def _chosen(
    boxes: NDArray[np.float64],
    scores: Floats,
    kinds: NDArray[np.intp],
    real: NDArray[np.bool_],
    min_score: float,
    classes: frozenset[int] | None,
) -> Candidates:
    """Those that count, best first."""
    wanted = real & (scores >= min_score)
    if classes is not None:
        wanted &= np.isin(kinds, list(classes))
    order = np.flatnonzero(wanted)
    order = order[np.argsort(-scores[order], kind="stable")]
    return Candidates(boxes[order], scores[order], kinds[order])


def _invalid(internal: str) -> UpstreamInvalidResponse:
    return UpstreamInvalidResponse("The model's answer is not valid.", internal=internal)
