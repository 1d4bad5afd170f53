"""What a model's `gateway.*` parameters say: its task, how to feed it and how to read its answer.

Triton knows names, datatypes and shapes; what it cannot know (labels, resizing, activation) stands in the
`parameters` of the model's configuration with the prefix `gateway.`, so one folder describes the whole model.
`docs/models.md` lists every key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from gateway.domain import ServedModel, TensorSpec

_Kind = TypeVar("_Kind", bound=BaseModel)

PREFIX = "gateway."
IMAGE_DATATYPES = ("UINT8", "FP16", "FP32")


class CardError(ValueError):
    """The configuration of a model contradicts itself; the message says where."""


class Task(StrEnum):
    IMAGE_CLASSIFICATION = "image-classification"
    OBJECT_DETECTION = "object-detection"


class Activation(StrEnum):
    """What turns the network's output into scores; `none` says that the graph already did."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    NONE = "none"


def _lines(value: object) -> object:
    """One label a line. An empty line would shift every class after it, so it is an error."""
    if not isinstance(value, str):
        return value
    lines = tuple(line.strip() for line in value.rstrip().split("\n"))
    if "" in lines:
        raise ValueError(f"line {lines.index('') + 1} is empty")
    return lines


def _numbers(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


PerChannel = Annotated[tuple[float, ...], BeforeValidator(_numbers)]


class GeneralParameters(BaseModel):
    """The keys that any model may carry."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    default_version: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")] | None = None
    timeout_ms: Annotated[int, Field(ge=1, le=300_000)] | None = None
    max_in_flight: Annotated[int, Field(ge=2, le=10_000)] | None = None

    def version_of(self, served: ServedModel) -> str:
        """The version that answers when none is asked for; it may be one that is not ready."""
        return self.default_version or served.versions[-1]

    def capacity_of(self, served: ServedModel) -> int:
        """What `max_in_flight` says; else for each instance a batch that runs and one that gathers."""
        return self.max_in_flight or 2 * max(served.max_batch_size, 1) * served.instances

    @property
    def timeout(self) -> float | None:
        """Seconds that a request has where it asks for nothing else; None where the model does not say."""
        return None if self.timeout_ms is None else self.timeout_ms / 1000


class _Parameters(GeneralParameters):
    """The keys that every image model may carry."""

    default: bool = False
    labels: Annotated[tuple[str, ...], BeforeValidator(_lines)]
    channels: Literal["RGB", "BGR", "GRAY"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    resize: Literal["stretch", "crop", "letterbox"]
    resize_shorter: int | None = Field(default=None, ge=1, le=8192)
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    antialias: bool = True
    pad: int = Field(default=114, ge=0, le=255)
    value_range: Literal["0..1", "0..255"] = "0..1"
    mean: PerChannel | None = None
    std: PerChannel | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.resize == "crop") != (self.resize_shorter is not None):
            raise ValueError("gateway.resize_shorter goes with gateway.resize crop, and only with it")
        channels = 1 if self.channels == "GRAY" else 3
        for key, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != channels:
                raise ValueError(f"gateway.{key} needs {channels} number(s) for {self.channels}")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("gateway.std needs numbers above 0")
        if not self.antialias and self.interpolation == "bicubic":
            raise ValueError("gateway.antialias false goes with bilinear or nearest")
        return self


class ClassificationParameters(_Parameters):
    task: Literal[Task.IMAGE_CLASSIFICATION]
    activation: Activation = Activation.SOFTMAX
    top_k: int = Field(default=5, ge=1, le=1000)


class DetectionParameters(_Parameters):
    task: Literal[Task.OBJECT_DETECTION]
    boxes: Literal["yolov8"] = "yolov8"
    min_score: float = Field(default=0.25, ge=0, le=1)
    iou_threshold: float = Field(default=0.7, ge=0, le=1)
    max_detections: int = Field(default=300, ge=1, le=3000)


Parameters = ClassificationParameters | DetectionParameters
_BY_TASK: Mapping[str, type[Parameters]] = {
    Task.IMAGE_CLASSIFICATION: ClassificationParameters,
    Task.OBJECT_DETECTION: DetectionParameters,
}


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


class Card(Protocol):
    """What a call needs to know of its model, whatever the model does."""

    @property
    def name(self) -> str: ...

    @property
    def served(self) -> ServedModel: ...

    @property
    def capacity(self) -> int: ...

    @property
    def timeout(self) -> float | None: ...

    @property
    def default_version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TensorCard:
    """A model that names no task: it is called with its own tensors, on /v2."""

    served: ServedModel
    parameters: GeneralParameters

    @property
    def name(self) -> str:
        return self.served.name

    @property
    def capacity(self) -> int:
        return self.parameters.capacity_of(self.served)

    @property
    def timeout(self) -> float | None:
        return self.parameters.timeout

    @property
    def default_version(self) -> str:
        return self.parameters.version_of(self.served)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """All that the gateway needs to serve one model on /v1."""

    served: ServedModel
    parameters: Parameters
    input: TensorSpec
    output: TensorSpec
    preprocessing: Preprocessing
    batch_limit: int

    @property
    def name(self) -> str:
        return self.served.name

    @property
    def task(self) -> Task:
        return self.parameters.task

    @property
    def labels(self) -> tuple[str, ...]:
        return self.parameters.labels

    @property
    def capacity(self) -> int:
        """Calls to a version that Triton can put to use at once, from all gateways together."""
        return self.parameters.capacity_of(self.served)

    @property
    def timeout(self) -> float | None:
        """Seconds that a request has where it asks for nothing else; None where the model does not say."""
        return self.parameters.timeout

    @property
    def default_version(self) -> str:
        """The version that answers when none is asked for; it may be one that is not ready."""
        return self.parameters.version_of(self.served)


def has_task(parameters: Mapping[str, str]) -> bool:
    """Whether the model wants to be reachable through /v1 at all."""
    return f"{PREFIX}task" in parameters


def read_card(served: ServedModel) -> ModelCard:
    """The card of a model whose parameters name a task.

    Raises CardError with a sentence for the operator where the parameters contradict the tensors.
    """
    parameters = _parse(served.parameters)
    if len(served.inputs) != 1 or len(served.outputs) != 1:
        raise CardError(f"{parameters.task} needs exactly one input and one output")
    (spec,), (output,) = served.inputs, served.outputs
    card = ModelCard(
        served=served,
        parameters=parameters,
        input=spec,
        output=output,
        preprocessing=_preprocessing(parameters, spec),
        batch_limit=_batch_limit(served, spec),
    )
    _check_output(card)
    return card


def read_tensor_card(served: ServedModel) -> TensorCard:
    """The card of a model without a task. Raises CardError where it has keys that say nothing without one."""
    return TensorCard(served, _validated(GeneralParameters, _ours(served.parameters)))


def _ours(parameters: Mapping[str, str]) -> Mapping[str, str]:
    return {key.removeprefix(PREFIX): value for key, value in parameters.items() if key.startswith(PREFIX)}


def _parse(parameters: Mapping[str, str]) -> Parameters:
    ours = _ours(parameters)
    kind = _BY_TASK.get(ours["task"])
    if kind is None:
        raise CardError(f"{PREFIX}task is {ours['task']!r}; there is {', '.join(_BY_TASK)}")
    return _validated(kind, ours)


def _validated(kind: type[_Kind], ours: Mapping[str, str]) -> _Kind:
    try:
        return kind.model_validate(ours)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise CardError("; ".join(map(_sentence, problems))) from None


def _sentence(problem: ErrorDetails) -> str:
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    key = f"{PREFIX}{problem['loc'][0]}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden":
        return f"there is no key {key} for this task"
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}"


def _preprocessing(parameters: _Parameters, spec: TensorSpec) -> Preprocessing:
    if spec.datatype not in IMAGE_DATATYPES:
        raise CardError(
            f"input {spec.name} is {spec.datatype}; an image goes in as one of {', '.join(IMAGE_DATATYPES)}"
        )
    for key in ("mean", "std", "value_range"):
        if spec.datatype == "UINT8" and key in parameters.model_fields_set:
            raise CardError(f"gateway.{key} is for float inputs; a UINT8 graph normalises by itself")
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


def _batch_limit(served: ServedModel, spec: TensorSpec) -> int:
    """Images per call. A model without Triton's batching spells its batch dimension out, as 1 or -1."""
    shape = list(spec.shape)
    if served.max_batch_size > 0:
        if len(shape) != 3:
            raise CardError(
                f"input {spec.name} has shape {shape}; with max_batch_size it is that of one image"
            )
        return served.max_batch_size
    if len(shape) != 4 or shape[0] not in (1, -1):
        raise CardError(f"input {spec.name} has shape {shape}; without max_batch_size it starts with 1 or -1")
    return 1


def _check_output(card: ModelCard) -> None:
    output, classes = card.output, len(card.labels)
    if output.datatype not in ("FP16", "FP32"):
        raise CardError(f"output {output.name} is {output.datatype}; scores are FP32 or FP16")
    shape = list(output.shape)
    if card.served.max_batch_size == 0:
        if shape[:1] not in ([1], [-1]):
            raise CardError(
                f"output {output.name} has shape {shape}; without max_batch_size it starts with 1 or -1"
            )
        shape = shape[1:]
    if isinstance(card.parameters, ClassificationParameters):
        if [side for side in shape if side not in (1, -1)] not in ([classes], []):
            raise CardError(
                f"output {output.name} has shape {list(output.shape)}, gateway.labels has {classes} lines"
            )
    elif len(shape) != 2 or shape[0] not in (4 + classes, -1):
        raise CardError(
            f"output {output.name} has shape {list(output.shape)}; yolov8 with {classes} labels needs "
            f"{4 + classes} rows of anchors"
        )
