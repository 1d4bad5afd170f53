"""One call with zeros to a version: says whether its answers are what it declares.

A Python-based backend of an old Triton in an environment with numpy 2 answers OK with empty tensors, and no health
check tells.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
from PIL import Image

from gateway.catalog import Activation, Card, ModelCard, Passthrough
from gateway.datatypes import BYTES, SIZES
from gateway.doctor.finding import Finding, error, warning
from gateway.domain import (
    Array,
    Deadline,
    InferCall,
    ModelVersion,
    Priority,
    RawTensor,
    ServedModel,
    TensorSpec,
    Variant,
)
from gateway.errors import BackendDied, GatewayError, UpstreamInvalidResponse
from gateway.translate.elements import one_string

SECONDS = 10.0
_FREE = 8  # what a free dimension is given
_ROUNDED = 0.01  # how far a sum of FP16 is from 1


class Infers(Protocol):
    async def infer(self, call: InferCall) -> dict[str, Array]: ...


async def probe(triton: Infers, card: Card, version: str, clock: Callable[[], float]) -> list[Finding]:
    """What a step of an ensemble does is seen where the ensemble is called."""
    subject = f"model {card.name}"
    try:
        outputs = await triton.infer(_call(card, version, clock() + SECONDS))
    except UpstreamInvalidResponse as failure:
        return [
            error(
                subject,
                "answers-nonsense",
                f"version {version} says OK and answers what it does not declare: {failure.internal}",
                "Compare its outputs with config.pbtxt. In the environment of a Python-based backend of an old Triton "
                "install numpy below 2: with numpy 2 its tensors are empty.",
            )
        ]
    except BackendDied as failure:
        return [
            error(
                subject,
                "process-died",
                f"the process of version {version} is gone, though Triton says that it is ready: {failure.internal}",
                f"gateway models heal {card.name}",
            )
        ]
    except GatewayError as failure:
        return [
            warning(
                subject,
                "not-probed",
                f"version {version} does not answer zeros: {failure.internal or failure}",
                "Nothing, if its inputs cannot be zeros; else look at Triton's log.",
            )
        ]
    return list(_score_findings(card, version, outputs))


def _score_findings(card: Card, version: str, outputs: Mapping[str, Array]) -> Iterator[Finding]:
    """A softmax of what is a softmax already keeps the order and makes every score tiny: nobody notices."""
    if (
        not isinstance(card, ModelCard)
        or getattr(card.parameters, "activation", None) is not Activation.SOFTMAX
    ):
        return
    scores = outputs[card.outputs[0].name].astype(np.float64)
    rows = scores.reshape(len(scores), -1)
    if len(card.labels) > 1 and (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=_ROUNDED):
        yield warning(
            f"model {card.name}",
            "scores-twice",
            f"version {version} answers probabilities that sum to 1, and the gateway makes a softmax of them again.",
            "Set the parameter gateway.activation to none.",
        )


def can_probe(model: ServedModel) -> bool:
    """A model that answers any number of times takes another call; a type that Triton does not know takes none."""
    return not model.decoupled and all(spec.datatype in {*SIZES, BYTES} for spec in model.inputs)


def _call(card: Card, version: str, until: float) -> InferCall:
    model, encoded = card.served, isinstance(card, ModelCard) and isinstance(card.encoding, Passthrough)
    return InferCall(
        target=ModelVersion(model.name, version, Variant.PINNED),
        model=model,
        inputs=[_picture(model.inputs[0])] if encoded else list(_zeros(model)),
        deadline=Deadline(until),
        priority=Priority.BATCH,
        request_id="doctor",
        usual=SECONDS,
    )


def _picture(spec: TensorSpec) -> RawTensor:
    """For a model that takes the file itself, which no zeros are."""
    file = io.BytesIO()
    Image.new("RGB", (_FREE, _FREE)).save(file, "PNG")
    return RawTensor(spec.name, BYTES, (1, 1), one_string(file.getvalue()))


def _zeros(model: ServedModel) -> Iterator[RawTensor]:
    for spec in model.inputs:
        if not spec.optional:
            shape = _shape(spec, batches=model.max_batch_size > 0)
            # An empty string is its length, which is four zeros.
            size = math.prod(shape) * (4 if spec.datatype == BYTES else SIZES[spec.datatype])
            yield RawTensor(spec.name, spec.datatype, shape, bytes(size))


def _shape(spec: TensorSpec, *, batches: bool) -> tuple[int, ...]:
    sides = list(spec.shape)
    if not batches and sides and sides[0] == -1:
        sides[0] = 1
    return (*([1] if batches else []), *(_FREE if side == -1 else side for side in sides))
