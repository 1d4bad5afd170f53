"""What goes into a network, from its declared inputs and its parameters: a picture's pixels, or a text's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.catalog.parameters import CardError, ImageParameters, TextParameters
from gateway.datatypes import BYTES
from gateway.domain import ServedModel, TensorSpec

IMAGE_DATATYPES = ("UINT8", "FP16", "FP32")
TOKEN_DATATYPES = ("INT64", "INT32")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an upright RGB image becomes the network's input of `height` x `width` pixels."""

    width: int
    height: int
    datatype: str
    channels: Literal["RGB", "BGR", "GRAY"]
    layout: Literal["NCHW", "NHWC"]
    resize: Literal["stretch", "crop", "letterbox"]
    resize_shorter: int | None
    interpolation: Literal["bilinear", "bicubic", "nearest"]
    antialias: bool
    pad: int
    divisor: float
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Tokenization:
    """How a text becomes the network's inputs: at most `max_tokens` tokens, the rest of the text is cut off.

    Every input is `[tokens]`, as many as the longest text of a batch has, or exactly `length` where the network fixes
    that. `types` is None for a network that takes none.
    """

    max_tokens: int
    length: int | None
    ids: TensorSpec
    mask: TensorSpec
    types: TensorSpec | None


@dataclass(frozen=True, slots=True)
class Passthrough:
    """The picture goes in as the file that it came in; Triton decodes and resizes it, on a GPU for instance."""

    file: TensorSpec


def passthrough(served: ServedModel) -> Passthrough:
    """Raises CardError where the one input takes no file."""
    if len(served.inputs) != 1:
        raise CardError("an image goes into exactly one input")
    (spec,) = served.inputs
    if spec.datatype != BYTES or spec.shape[-1:] not in ((1,), (-1,)):
        raise CardError(
            f"input {spec.name} is {spec.datatype} {list(spec.shape)}; a file goes in as BYTES [1]"
        )
    return Passthrough(spec)


def preprocessing(parameters: ImageParameters, served: ServedModel) -> Preprocessing:
    """Raises CardError where the one input is no image as the parameters have it."""
    if len(served.inputs) != 1:
        raise CardError("an image goes into exactly one input")
    (spec,) = served.inputs
    if spec.datatype not in IMAGE_DATATYPES:
        raise CardError(
            f"input {spec.name} is {spec.datatype}; an image goes in as one of {', '.join(IMAGE_DATATYPES)}"
        )
    for key in ("mean", "std", "value_range"):
        if spec.datatype == "UINT8" and key in parameters.model_fields_set:
            raise CardError(f"gateway.{key} is for float inputs; a UINT8 graph normalises by itself")
    height, width = _sides(parameters, spec)
    if parameters.resize_shorter is not None and parameters.resize_shorter < max(height, width):
        raise CardError("gateway.resize_shorter is smaller than the crop")
    return Preprocessing(
        width=width,
        height=height,
        datatype=spec.datatype,
        channels=parameters.channels,
        layout=parameters.layout,
        resize=parameters.resize,
        resize_shorter=parameters.resize_shorter,
        interpolation=parameters.interpolation,
        antialias=parameters.antialias,
        pad=parameters.pad,
        divisor=255.0 if parameters.value_range == "0..1" else 1.0,
        mean=parameters.mean,
        std=parameters.std,
    )


def _sides(parameters: ImageParameters, spec: TensorSpec) -> tuple[int, int]:
    """Height and width in pixels."""
    if len(spec.shape) < 3:
        raise CardError(f"input {spec.name} has shape {list(spec.shape)}; an image has three dimensions")
    first, second, third = spec.shape[-3:]
    depth, height, width = (first, second, third) if parameters.layout == "NCHW" else (third, first, second)
    expected = 1 if parameters.channels == "GRAY" else 3
    if depth != expected or height < 1 or width < 1:
        raise CardError(
            f"input {spec.name} has shape {list(spec.shape)}; {parameters.layout} {parameters.channels} "
            f"needs {expected} channel(s) and fixed sides"
        )
    return height, width


def tokenization(parameters: TextParameters, served: ServedModel) -> Tokenization:
    """Raises CardError where the inputs are not those of a network for tokens."""
    specs = {spec.name: spec for spec in served.inputs}
    for key in ("input_ids", "attention_mask"):
        if getattr(parameters, key) not in specs:
            raise CardError(
                f"there is no input {getattr(parameters, key)}; gateway.{key} names the one that is meant"
            )
    ids, mask = specs.pop(parameters.input_ids), specs.pop(parameters.attention_mask)
    types = specs.pop(parameters.token_type_ids, None)
    if specs:
        raise CardError(f"nothing is known to put into input {', '.join(specs)}")
    length = _length([spec for spec in (ids, mask, types) if spec is not None])
    if length is not None and length < parameters.max_tokens:
        raise CardError(f"gateway.max_tokens is {parameters.max_tokens}, the inputs take {length}")
    return Tokenization(parameters.max_tokens, length, ids, mask, types)


def _length(specs: Sequence[TensorSpec]) -> int | None:
    """The number of tokens that the network fixes, None where it takes any."""
    for spec in specs:
        if spec.datatype not in TOKEN_DATATYPES:
            raise CardError(
                f"input {spec.name} is {spec.datatype}; tokens go in as {' or '.join(TOKEN_DATATYPES)}"
            )
        if not spec.shape or spec.shape != specs[0].shape or spec.shape[-1] == 0:
            raise CardError(
                f"input {spec.name} has shape {list(spec.shape)}; all inputs of tokens have one and the same"
            )
    return specs[0].shape[-1] if specs[0].shape[-1] > 0 else None


def batch_limit(served: ServedModel, rank: int, what: str) -> int:
    """Inputs a call; `rank` is the number of dimensions that one `what` has.

    A model without Triton's batching spells its batch dimension out, as 1 or -1. Raises CardError.
    """
    spec = served.inputs[0]
    shape = list(spec.shape)
    if served.max_batch_size > 0:
        if len(shape) != rank:
            raise CardError(
                f"input {spec.name} has shape {shape}; with max_batch_size it is that of one {what}"
            )
        return served.max_batch_size
    if len(shape) != rank + 1 or shape[0] not in (1, -1):
        raise CardError(f"input {spec.name} has shape {shape}; without max_batch_size it starts with 1 or -1")
    return 1
