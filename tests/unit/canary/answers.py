"""Answers of two versions to compare, by hand and at random."""

from collections.abc import Sequence
from hashlib import sha256

from hypothesis import strategies as st

from gateway.canary.comparison import ClassTally, Comparison, Drift
from gateway.canary.report import Disagreement
from gateway.schemas import Box, ClassifyResult, Detection, DetectResult, ImageSize, Prediction

Corners = tuple[float, float, float, float]


def classes(*predictions: tuple[int, float]) -> ClassifyResult:
    """Of class ids and scores, best first."""
    return ClassifyResult(
        predictions=[
            Prediction(class_id=class_id, label=f"class {class_id}", score=score)
            for class_id, score in predictions
        ]
    )


def boxes(*detections: tuple[int, Corners] | tuple[int, Corners, float]) -> DetectResult:
    """Of class ids, corners and scores, best first."""
    return DetectResult(
        image=ImageSize(width=1000, height=1000), detections=[box(*each) for each in detections]
    )


def box(class_id: int, corners: Corners, score: float = 0.9) -> Detection:
    x_min, y_min, x_max, y_max = corners
    place = Box(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)
    return Detection(class_id=class_id, label=f"class {class_id}", score=score, box=place)


def square(x: float, y: float = 0.0, side: float = 10.0) -> Corners:
    return x, y, x + side, y + side


_SCORES = st.integers(0, 1_000_000).map(lambda score: score / 1_000_000)
_POINTS = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(0, 15)] * 2)  # few places, so that boxes meet


def _classified(scores: dict[int, float]) -> ClassifyResult:
    return classes(*sorted(scores.items(), key=lambda each: -each[1]))


def _detected(found: Sequence[tuple[int, tuple[int, int, int, int], float]]) -> DetectResult:
    best_first = sorted(found, key=lambda each: -each[2])
    return boxes(
        *((kind, (x, y, x + width, y + height), score) for kind, (x, y, width, height), score in best_first)
    )


CLASSES = st.dictionaries(st.integers(0, 5), _SCORES, max_size=5).map(_classified)
BOXES = st.lists(st.tuples(st.integers(0, 2), _POINTS, _SCORES), max_size=12).map(_detected)
PAIRS = st.one_of(st.tuples(CLASSES, CLASSES), st.tuples(BOXES, BOXES))


def comparison(agrees: bool = True, overlap: float = 1.0, drift: Drift | None = None) -> Comparison:
    kinds = ClassTally(agreed=1) if agrees else ClassTally(missed=1)
    return Comparison(agrees, overlap, drift, {"class 1": kinds})


def disagreement(rank: float, image: bytes | None = None) -> Disagreement:
    digest = sha256(str(rank).encode()).hexdigest()
    return Disagreement(rank, f"request {rank}", digest, classes((1, 0.9)), boxes((1, square(0))), image)
