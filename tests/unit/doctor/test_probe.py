"""What one call to a version brings to light."""

import asyncio
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from support.cards import classifier_card, detector_card

from gateway.catalog import ModelCard
from gateway.doctor.probe import probe
from gateway.domain import Array, InferCall


def found(card: ModelCard, scores: NDArray[np.floating]) -> list[str]:
    class Answers:
        async def infer(self, _: InferCall) -> dict[str, Array]:
            return {card.outputs[0].name: scores}

    return [finding.code for finding in asyncio.run(probe(Answers(), card, "1", time.monotonic))]


PROBABILITIES = np.array([[0.7, 0.2, 0.1]], np.float32)
LOGITS = np.array([[7.0, -2.0, 0.1]], np.float32)


@pytest.mark.parametrize(
    ("activation", "scores", "codes"),
    [
        ("softmax", PROBABILITIES, ["scores-twice"]),
        ("softmax", PROBABILITIES.reshape(1, 3, 1, 1).astype(np.float16), ["scores-twice"]),
        ("none", PROBABILITIES, []),
        ("softmax", LOGITS, []),
        ("sigmoid", LOGITS, []),
        ("sigmoid", PROBABILITIES, ["scores-twice"]),
        ("independent", PROBABILITIES, []),
        ("independent", 2 * PROBABILITIES, ["answers-nonsense"]),
        ("none", 2 * PROBABILITIES, ["answers-nonsense"]),
        ("none", LOGITS, ["answers-nonsense"]),
        ("sigmoid", LOGITS[:, :2], ["answers-nonsense"]),
    ],
    ids=[
        "a softmax of probabilities",
        "of probabilities in FP16",
        "left as they are",
        "a softmax of logits",
        "a sigmoid of logits",
        "a sigmoid of probabilities",
        "each for itself",
        "beyond 1",
        "a sum of 2",
        "logits as they are",
        "a score too few",
    ],
)
def test_scores_that_are_not_as_the_card_has_them_are_told_of(
    activation: str, scores: NDArray[np.float32], codes: list[str]
) -> None:
    assert found(classifier_card(3, activation=activation), scores) == codes


def test_so_are_a_detectors() -> None:
    anchors = np.full((1, 7, 5), 0.5, np.float32)
    assert found(detector_card(3), anchors) == []
    assert found(detector_card(3), anchors * 8) == ["answers-nonsense"]
