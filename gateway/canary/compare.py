"""What a canary answers, held against what the stable version answered to the same image (pure).

When two answers agree:

- Classes: the best prediction is the same class, or neither has one.
- Boxes: nine in ten of the boxes of both have a partner of their class in the other. With up to five boxes each, that
  is all of them. Partners overlap by half or more (intersection over union).
- Tensors: see `compare_tensors`.

The caller's own options (scores, classes, how many) hold for both answers: what a caller would not see does not count.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.canary.compare_tensors import TensorResult, compare_tensors
from gateway.canary.comparison import AGREED, ClassTally, Comparison, Drift
from gateway.schemas import ClassifyResult, Detection, DetectResult, Prediction
from gateway.translate.boxes import intersection_over_union

Result = ClassifyResult | DetectResult | TensorResult

MOST = (
    100  # boxes of an answer that are compared, the best ones, as in COCO's measure: bounds the time it takes
)
_MATCH = 0.5  # of the union of two boxes


def compare(stable: Result, canary: Result) -> Comparison:
    """Raises TypeError for answers to different tasks."""
    if isinstance(stable, ClassifyResult) and isinstance(canary, ClassifyResult):
        return compare_classification(stable, canary)
    if isinstance(stable, DetectResult) and isinstance(canary, DetectResult):
        return compare_detection(stable, canary)
    if isinstance(stable, TensorResult) and isinstance(canary, TensorResult):
        return compare_tensors(stable.outputs, canary.outputs)
    raise TypeError(f"{type(stable).__name__} and {type(canary).__name__} cannot be compared")


def compare_classification(stable: ClassifyResult, canary: ClassifyResult) -> Comparison:
    """By the best prediction; overlap and drift are over all that were asked for."""
    one = {prediction.class_id: prediction.score for prediction in stable.predictions}
    other = {prediction.class_id: prediction.score for prediction in canary.predictions}
    both = sorted(one.keys() & other.keys())
    best = next(iter(stable.predictions), None), next(iter(canary.predictions), None)
    return Comparison(
        agrees=_same(*best) or not any(best),
        overlap=_dice(len(both), len(one), len(other)),
        drift=_drift([(one[class_id], other[class_id]) for class_id in both]),
        classes=_tally([best]),
    )


def compare_detection(stable: DetectResult, canary: DetectResult) -> Comparison:
    """By the boxes; of more than MOST, the best are compared."""
    one, other = stable.detections[:MOST], canary.detections[:MOST]
    pairs = _partners(one, other)
    same = [(a.score, b.score) for a, b in pairs if a and b and _same(a, b)]
    overlap = _dice(len(same), len(one), len(other))
    return Comparison(agrees=overlap >= AGREED, overlap=overlap, drift=_drift(same), classes=_tally(pairs))


def _partners(
    one: Sequence[Detection], other: Sequence[Detection]
) -> list[tuple[Detection | None, Detection | None]]:
    """Every box once: with its partner of the same class, else with one of another class, else alone."""
    overlaps = intersection_over_union(_corners(one), _corners(other))
    same_class = np.equal.outer([d.class_id for d in one], [d.class_id for d in other])
    pairs = _match(np.where(same_class, overlaps, 0.0))
    overlaps[list(pairs)] = 0.0
    overlaps[:, list(pairs.values())] = 0.0
    pairs |= _match(overlaps)
    alone = set(range(len(other))) - set(pairs.values())
    return [
        *((box, other[pairs[i]] if i in pairs else None) for i, box in enumerate(one)),
        *((None, other[j]) for j in sorted(alone)),
    ]


def _match(overlaps: NDArray[np.float64]) -> dict[int, int]:
    """The pairs that overlap most first; where two for one box overlap the same, that with the better other box."""
    rows, columns = np.nonzero(overlaps >= _MATCH)
    order = np.argsort(-overlaps[rows, columns], kind="stable")
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return pairs


def _corners(detections: Sequence[Detection]) -> NDArray[np.float64]:
    corners = [(d.box.x_min, d.box.y_min, d.box.x_max, d.box.y_max) for d in detections]
    return np.array(corners, np.float64).reshape(-1, 4)


def _dice(both: int, one: int, other: int) -> float:
    return 2 * both / (one + other) if one or other else 1.0


def _drift(scores: Sequence[tuple[float, float]]) -> Drift | None:
    if not scores:
        return None
    differences = [canary - stable for stable, canary in scores]
    count = len(differences)
    return Drift(sum(differences) / count, sum(abs(each) for each in differences) / count)


def _same(stable: Prediction | Detection | None, canary: Prediction | Detection | None) -> bool:
    return stable is not None and canary is not None and stable.class_id == canary.class_id


def _tally(
    pairs: Sequence[tuple[Prediction | Detection | None, Prediction | Detection | None]],
) -> dict[str, ClassTally]:
    tallies: defaultdict[str, ClassTally] = defaultdict(ClassTally)
    for stable, canary in pairs:
        if stable and _same(stable, canary):
            tallies[stable.label] += ClassTally(agreed=1)
            continue
        if stable:
            tallies[stable.label] += ClassTally(changed_from=1) if canary else ClassTally(missed=1)
        if canary:
            tallies[canary.label] += ClassTally(changed_to=1) if stable else ClassTally(extra=1)
    return dict(tallies)
