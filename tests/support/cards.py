"""Models as Triton would declare them, and the cards that the gateway makes of them."""

from typing import Any

from gateway.catalog import ModelCard, Tokenization
from gateway.catalog.card import read_card
from gateway.domain import ServedModel, TensorSpec

IMAGES = TensorSpec("images", "UINT8", (3, 32, 32))
TOKENS = tuple(TensorSpec(name, "INT64", (-1,)) for name in ("input_ids", "attention_mask", "token_type_ids"))


def classifier(
    classes: int = 10,
    *,
    name: str = "classifier",
    input_: TensorSpec = IMAGES,
    output: TensorSpec | None = None,
    batch: int = 8,
    **parameters: str | None,
) -> ServedModel:
    """A model that classifies; `parameters` go without their prefix, and None takes one away."""
    given = {"task": "image-classification", "labels": _labels(classes), "resize": "stretch"} | parameters
    return _served(name, (input_,), output or TensorSpec("logits", "FP32", (classes,)), batch, given)


def detector(
    classes: int = 3,
    *,
    name: str = "detector",
    input_: TensorSpec = IMAGES,
    output: TensorSpec | None = None,
    batch: int = 8,
    **parameters: str | None,
) -> ServedModel:
    """A model that finds boxes as YOLOv8 does, with any number of anchors."""
    given = {"task": "object-detection", "labels": _labels(classes), "resize": "letterbox"} | parameters
    return _served(name, (input_,), output or TensorSpec("boxes", "FP32", (4 + classes, -1)), batch, given)


def reader(
    classes: int = 3,
    *,
    name: str = "reader",
    inputs: tuple[TensorSpec, ...] = TOKENS,
    output: TensorSpec | None = None,
    batch: int = 8,
    **parameters: str | None,
) -> ServedModel:
    """A model that classifies texts, as BERT's relatives do."""
    given = {"task": "text-classification", "labels": _labels(classes)} | parameters
    return _served(name, inputs, output or TensorSpec("logits", "FP32", (classes,)), batch, given)


def classifier_card(classes: int = 10, **parameters: Any) -> ModelCard:
    return read_card(classifier(classes, **parameters))


def detector_card(classes: int = 3, **parameters: Any) -> ModelCard:
    return read_card(detector(classes, **parameters))


def reader_card(classes: int = 3, **parameters: Any) -> ModelCard:
    return read_card(reader(classes, **parameters))


def tokenization(card: ModelCard) -> Tokenization:
    """Of a model for texts."""
    assert isinstance(card.encoding, Tokenization)
    return card.encoding


def _labels(classes: int) -> str:
    return "\n".join(f"class {index}" for index in range(classes))


def _served(
    name: str,
    inputs: tuple[TensorSpec, ...],
    output: TensorSpec,
    batch: int,
    parameters: dict[str, str | None],
) -> ServedModel:
    return ServedModel(
        name=name,
        versions=("1",),
        max_batch_size=batch,
        inputs=inputs,
        outputs=(output,),
        parameters={f"gateway.{key}": value for key, value in parameters.items() if value is not None},
    )
