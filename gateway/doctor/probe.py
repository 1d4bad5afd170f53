"""One call with zeros to a version: says whether its answers are what it declares.

A Python-based backend of an old Triton in an environment with numpy 2 answers OK with empty tensors, and no health
check tells.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gateway.catalog import Activation, Card, ModelCard, Passthrough, Task
from gateway.catalog.parameters import Scores
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
from gateway.schemas import ClassifyOptions, DetectOptions
from gateway.translate import classify, detect
from gateway.translate.elements import one_string
from gateway.translate.image import Placement

SECONDS = 10.0
_FREE = 8  # what a free dimension is given
_ROUNDED = 0.01  # how far a sum of FP16 is from 1
_PLACE = Placement(width=_FREE, height=_FREE, scale_x=1, scale_y=1, left=0, top=0)


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
    return list(_findings(card, version, outputs)) if isinstance(card, ModelCard) else []


def _findings(card: ModelCard, version: str, outputs: Mapping[str, Array]) -> Iterator[Finding]:
    """What callers would get of these outputs, on /v1."""
    subject = f"model {card.name}"
    read = [outputs[spec.name] for spec in card.outputs]
    try:
        if card.task is Task.OBJECT_DETECTION:
            detect.decode(read, [_PLACE], card, DetectOptions(), None)
        else:
            classify.decode(read[0], card, ClassifyOptions(), None)
    except UpstreamInvalidResponse as failure:
        yield error(
            subject,
            "answers-nonsense",
            f"version {version} answers what its gateway.* parameters do not say, so callers get 502: "
            f"{failure.internal}",
            "Compare gateway.labels, and gateway.activation or gateway.boxes, with what the network puts out.",
        )
        return
    if (done := _done_already(card, read[0].astype(np.float64))) is not None:
        yield warning(
            subject,
            "scores-twice",
            f"version {version} answers probabilities, it seems, and the gateway makes scores of them once more.",
            f"If they are, set the parameter gateway.activation to {done}.",
        )


def _done_already(card: ModelCard, scores: NDArray[np.float64]) -> Activation | None:
    """The activation that says so, where the scores look as if the graph had made probabilities of them.

    A second softmax, or a second sigmoid, keeps the order and crowds the scores together: nobody notices.
    """
    activation = card.parameters.activation if isinstance(card.parameters, Scores) else None
    within = scores.min() >= 0 and scores.max() <= 1
    if activation is Activation.SIGMOID and within:
        return Activation.INDEPENDENT
    sums = scores.reshape(len(scores), -1).sum(axis=1)
    if activation is Activation.SOFTMAX and within and np.allclose(sums, 1, atol=_ROUNDED):
        return Activation.NONE
    return None


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
