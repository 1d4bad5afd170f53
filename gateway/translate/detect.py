"""Raw outputs of a detector to labelled boxes in the original images."""

from collections.abc import Sequence

import numpy as np

from gateway.catalog import ModelCard
from gateway.catalog.parameters import DetectionParameters
from gateway.domain import Array
from gateway.errors import UpstreamInvalidResponse
from gateway.schemas import Box, Detection, DetectOptions, DetectResult, ImageSize
from gateway.translate.boxes import Candidates, decode_yolov8, restore, suppress, visible
from gateway.translate.heads import decode_detr, decode_end2end
from gateway.translate.image import Placement

_DECIMALS = 6  # of a score as it is told, which is what the least score is held to


def decode(
    outputs: Sequence[Array],
    placements: Sequence[Placement],
    card: ModelCard,
    options: DetectOptions,
    wanted: frozenset[int] | None,
) -> list[DetectResult]:
    """`outputs` are those of the card, `[batch, …]` each, `placements` one an image; one result an image, best first.

    `wanted` narrows the answer to these class ids.

    Raises UpstreamInvalidResponse where the output is not what the card says.
    """
    parameters = card.parameters
    assert isinstance(parameters, DetectionParameters)  # noqa: S101  # the catalog finds by task
    _check_shapes(outputs, len(placements), parameters, len(card.labels))
    min_score = parameters.min_score if options.min_score is None else options.min_score
    threshold = parameters.iou_threshold if options.iou_threshold is None else options.iou_threshold
    limit = min(options.top_k or parameters.max_detections, parameters.max_detections)
    just_below = min_score - 10**-_DECIMALS
    results = []
    singles = zip(*(output.astype(np.float32, copy=False) for output in outputs), strict=True)
    for heads, placement in zip(singles, placements, strict=True):
        candidates = visible(_candidates(heads, card, parameters, just_below, wanted), placement)
        if parameters.boxes == "yolov8":
            found = suppress(candidates, threshold, limit)
        else:
            found = candidates.take(np.arange(min(limit, len(candidates.scores))))
        size = ImageSize(width=placement.width, height=placement.height)
        told = _labelled(restore(found, placement), card.labels)
        detections = [each for each in told if each.score >= min_score]
        results.append(DetectResult(image=size, detections=detections))
    return results


def _check_shapes(
    outputs: Sequence[Array], count: int, parameters: DetectionParameters, classes: int
) -> None:
    """Raises UpstreamInvalidResponse."""
    shapes = [output.shape for output in outputs]
    good = all(len(shape) == 3 and shape[0] == count for shape in shapes)
    if parameters.boxes == "yolov8":
        good = good and shapes[0][1] == 4 + classes
    elif parameters.boxes == "end2end":
        good = good and shapes[0][2] == 6
    if not good:
        raise UpstreamInvalidResponse(
            "The model's answer is not valid.", internal=f"shapes {shapes} for {parameters.boxes}"
        )


def _candidates(
    heads: Sequence[Array],
    card: ModelCard,
    parameters: DetectionParameters,
    min_score: float,
    wanted: frozenset[int] | None,
) -> Candidates:
    """What the network found in one image, in input pixels, best first. Raises UpstreamInvalidResponse."""
    first = np.asarray(heads[0], np.float32)
    if parameters.boxes == "yolov8":
        return decode_yolov8(first, min_score, wanted)
    if parameters.boxes == "end2end":
        return decode_end2end(first, len(card.labels), min_score, wanted)
    size = (card.preprocessing.width, card.preprocessing.height)
    boxes = np.asarray(heads[1], np.float32)
    return decode_detr(first, boxes, size, len(card.labels), min_score, wanted)


def _labelled(found: Candidates, labels: tuple[str, ...]) -> list[Detection]:
    rows = zip(found.classes.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    return [
        Detection(
            class_id=index,
            label=labels[index],
            score=round(score, _DECIMALS),
            box=Box(
                x_min=round(x_min, 2), y_min=round(y_min, 2), x_max=round(x_max, 2), y_max=round(y_max, 2)
            ),
        )
        for index, score, (x_min, y_min, x_max, y_max) in rows
    ]
