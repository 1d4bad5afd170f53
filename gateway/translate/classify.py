"""Scores of a classifier to labelled predictions."""

import numpy as np
from numpy.typing import NDArray

from gateway.catalog import Activation, ModelCard
from gateway.catalog.parameters import Scores
from gateway.domain import Array
from gateway.errors import UpstreamInvalidResponse
from gateway.schemas import ClassifyOptions, ClassifyResult, Prediction

Floats = NDArray[np.float64]  # so that differences of any FP32 logits stay finite

_SLACK = 1e-3  # how far rounding may carry a score out of 0..1
_SUM_TOLERANCE = 0.02  # FP16 probabilities over a thousand classes add up to within this


def decode(
    output: Array, card: ModelCard, options: ClassifyOptions, wanted: frozenset[int] | None
) -> list[ClassifyResult]:
    """`output` is `[batch, classes]` (further dimensions of 1 are allowed); one result an input, best first.

    `wanted` narrows the answer to these class ids.

    Raises UpstreamInvalidResponse where the scores are not what the card says.
    """
    parameters = card.parameters
    assert isinstance(parameters, Scores)  # noqa: S101  # the catalog finds by task
    rows = output.reshape(output.shape[0], -1).astype(np.float64)
    if rows.shape[1] != len(card.labels):
        raise _invalid(f"{rows.shape[1]} scores for {len(card.labels)} labels")
    scores = _activate(rows, parameters.activation)
    top_k = options.top_k or parameters.top_k
    min_score = options.min_score or 0.0
    return [ClassifyResult(predictions=_best(row, card.labels, wanted, top_k, min_score)) for row in scores]


def _best(
    row: Floats,
    labels: tuple[str, ...],
    wanted: frozenset[int] | None,
    top_k: int,
    min_score: float,
) -> list[Prediction]:
    ids = np.arange(len(row)) if wanted is None else np.array(sorted(wanted), np.intp)
    if len(ids) > top_k:  # sorting a thousand scores for five of them would take longer than all else here
        ids = ids[row[ids] >= np.partition(row[ids], -top_k)[-top_k]]
    order = ids[np.argsort(-row[ids], kind="stable")]
    told = [(index, round(float(row[index]), 6)) for index in order[:top_k].tolist()]
    return [
        Prediction(class_id=index, label=labels[index], score=score)
        for index, score in told
        if score >= min_score
    ]


def _activate(rows: Floats, activation: Activation) -> Floats:
    if activation is Activation.SOFTMAX:
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        softmax: Floats = powers / powers.sum(axis=1, keepdims=True)
        return softmax
    if activation is Activation.SIGMOID:
        sigmoid: Floats = (1 + np.tanh(rows / 2)) / 2  # the same function, without overflow
        return sigmoid
    if rows.min() < -_SLACK or rows.max() > 1 + _SLACK:
        raise _invalid("probabilities outside 0..1")
    if activation is Activation.NONE and np.abs(rows.sum(axis=1) - 1).max() > _SUM_TOLERANCE:
        raise _invalid("probabilities that do not sum to 1")
    return rows.clip(0, 1)


def _invalid(internal: str) -> UpstreamInvalidResponse:
    return UpstreamInvalidResponse("The model's answer is not valid.", internal=internal)
