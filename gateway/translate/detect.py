"""Raw outputs of a detector to labelled boxes in the original images."""

from collections.abc import Sequence

import numpy as np

from gateway.catalog import ModelCard
from gateway.catalog.parameters import DetectionParameters
from gateway.domain import Array
from gateway.errors import UpstreamInvalidResponse
from gateway.schemas import Box, Detection, DetectOptions, DetectResult, ImageSize
from gateway.translate.boxes import Candidates, decode_yolov8, restore, suppress, visible
from gateway.translate.image import Placement


def decode(
    output: Array,
    placements: Sequence[Placement],
    card: ModelCard,
    options: DetectOptions,
    wanted: frozenset[int] | None,
) -> list[DetectResult]:
    """`output` is `[batch, 4 + classes, anchors]`, `placements` one an image; one result an image, best first.

    `wanted` narrows the answer to these class ids.

    Raises UpstreamInvalidResponse where the output is not what the card says.
    """
    parameters = card.parameters
    assert isinstance(parameters, DetectionParameters)  # noqa: S101  # the catalog finds by task
    expected = (len(placements), 4 + len(card.labels))
    if output.ndim != 3 or output.shape[:2] != expected:
        raise UpstreamInvalidResponse(
            "The model's answer is not valid.",
            internal=f"shape {output.shape} instead of {expected} and anchors",
        )
    min_score = parameters.min_score if options.min_score is None else options.min_score
    threshold = parameters.iou_threshold if options.iou_threshold is None else options.iou_threshold
    limit = min(options.top_k or parameters.max_detections, parameters.max_detections)
    results = []
    for rows, placement in zip(output.astype(np.float32, copy=False), placements, strict=True):
        candidates = visible(decode_yolov8(rows, min_score, wanted), placement)
        found = suppress(candidates, threshold, limit)
        size = ImageSize(width=placement.width, height=placement.height)
        detections = _labelled(restore(found, placement), card.labels)
        results.append(DetectResult(image=size, detections=detections))
    return results


def _labelled(found: Candidates, labels: tuple[str, ...]) -> list[Detection]:
    rows = zip(found.classes.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    return [
        Detection(
            class_id=index,
            label=labels[index],
            score=round(score, 6),
            box=Box(
                x_min=round(x_min, 2), y_min=round(y_min, 2), x_max=round(x_max, 2), y_max=round(y_max, 2)
            ),
        )
        for index, score, (x_min, y_min, x_max, y_max) in rows
    ]
