"""What one call to a version brings to light."""

import asyncio
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from support.cards import classifier_card

from gateway.catalog import ModelCard
from gateway.doctor.probe import probe
from gateway.domain import Array, InferCall


def found(card: ModelCard, scores: NDArray[np.float32]) -> list[str]:
    class Answers:
        async def infer(self, _: InferCall) -> dict[str, Array]:
            return {"logits": scores}

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
    ],
    ids=["of probabilities", "of probabilities in FP16", "left as they are", "of logits", "each for itself"],
)
def test_a_softmax_of_probabilities_is_told_of(
    activation: str, scores: NDArray[np.float32], codes: list[str]
) -> None:
    assert found(classifier_card(3, activation=activation), scores) == codes
