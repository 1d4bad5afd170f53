"""The `gateway.*` parameters of a model's configuration, typed and checked on their own; `card.py` holds them to the
tensors. `docs/models.md` lists every key.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from gateway.domain import ServedModel
from gateway.schemas import VERSION_PATTERN, in_words

PREFIX = "gateway."
# Calls to an instance of a decoupled model: what generates joins them within itself at every step, vLLM up to 256
# unless told otherwise, and Triton knows of no batch. GATEWAY_MAX_IN_FLIGHT allows a worker as many.
_STREAMS = 64
_Kind = TypeVar("_Kind", bound=BaseModel)


class CardError(ValueError):
    """The configuration of a model contradicts itself; the message says where."""


class Task(StrEnum):
    IMAGE_CLASSIFICATION = "image-classification"
    OBJECT_DETECTION = "object-detection"
    TEXT_CLASSIFICATION = "text-classification"


class Activation(StrEnum):
    """What turns the network's output into scores. The graph already did it with `none`, where the scores of all labels
    sum to 1, and with `independent`, where each label has a probability of its own.
    """

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    INDEPENDENT = "independent"
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
TensorName = Annotated[str, Field(min_length=1)]


class GeneralParameters(BaseModel):
    """The keys that any model may carry."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    default_version: Annotated[str, Field(pattern=VERSION_PATTERN)] | None = None
    timeout_ms: Annotated[int, Field(ge=1, le=300_000)] | None = None
    max_in_flight: Annotated[int, Field(ge=2, le=10_000)] | None = None

    def version_of(self, served: ServedModel) -> str:
        """The version that answers when none is asked for; it may be one that is not ready."""
        return self.default_version or served.versions[-1]

    def capacity_of(self, served: ServedModel) -> int:
        """What `max_in_flight` says; else for each instance a batch that runs and one that gathers, or its streams."""
        batches = 2 * max(served.max_batch_size, 1)
        each = max(batches, _STREAMS) if served.decoupled else batches
        return self.max_in_flight or each * served.instances

    @property
    def timeout(self) -> float | None:
        """Seconds that a request has where it asks for nothing else; None where the model does not say."""
        return None if self.timeout_ms is None else self.timeout_ms / 1000


class _Parameters(GeneralParameters):
    """The keys that every model with a task may carry."""

    default: bool = False
    labels: Annotated[tuple[str, ...], BeforeValidator(_lines)]


class ImageParameters(_Parameters):
    """The keys that every image model may carry."""

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


class Scores(BaseModel):
    """The keys of a model that answers with one score a label."""

    activation: Activation = Activation.SOFTMAX
    top_k: int = Field(default=5, ge=1, le=1000)


class ClassificationParameters(ImageParameters, Scores):
    task: Literal[Task.IMAGE_CLASSIFICATION]
    input: Literal["pixels"] = "pixels"


class EncodedParameters(_Parameters, Scores):
    """The keys of a classifier that takes the file itself and prepares the picture in Triton."""

    task: Literal[Task.IMAGE_CLASSIFICATION]
    input: Literal["encoded"]


class DetectionParameters(ImageParameters):
    task: Literal[Task.OBJECT_DETECTION]
    boxes: Literal["yolov8", "end2end", "detr"] = "yolov8"
    logits_output: TensorName = "logits"
    boxes_output: TensorName = "pred_boxes"
    min_score: float = Field(default=0.25, ge=0, le=1)
    iou_threshold: float = Field(default=0.7, ge=0, le=1)
    max_detections: int = Field(default=300, ge=1, le=3000)

    @model_validator(mode="after")
    def _of_one_head(self) -> Self:
        if self.boxes != "yolov8" and "iou_threshold" in self.model_fields_set:
            raise ValueError(f"gateway.iou_threshold says nothing to {self.boxes}, which suppresses nothing")
        if self.boxes != "detr" and {"logits_output", "boxes_output"} & self.model_fields_set:
            raise ValueError("gateway.logits_output and gateway.boxes_output are for gateway.boxes detr")
        return self


class TextParameters(_Parameters, Scores):
    """`max_tokens` counts the tokens that the tokenizer itself adds; the last three are names of inputs."""

    task: Literal[Task.TEXT_CLASSIFICATION]
    max_tokens: int = Field(default=512, ge=8, le=8192)
    input_ids: TensorName = "input_ids"
    attention_mask: TensorName = "attention_mask"
    token_type_ids: TensorName = "token_type_ids"  # noqa: S105  # the name of an input

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len({self.input_ids, self.attention_mask, self.token_type_ids}) < 3:
            raise ValueError(
                "gateway.input_ids, gateway.attention_mask and gateway.token_type_ids name three inputs"
            )
        return self


Parameters = ClassificationParameters | EncodedParameters | DetectionParameters | TextParameters
_BY_TASK: Mapping[str, type[Parameters]] = {
    Task.IMAGE_CLASSIFICATION: ClassificationParameters,
    Task.OBJECT_DETECTION: DetectionParameters,
    Task.TEXT_CLASSIFICATION: TextParameters,
}


def has_task(parameters: Mapping[str, str]) -> bool:
    """Whether the model wants to be reachable through /v1 at all."""
    return f"{PREFIX}task" in parameters


def parse_general(parameters: Mapping[str, str]) -> GeneralParameters:
    """The parameters of a model that has no task. Raises CardError where there are more."""
    ours = _ours(parameters)
    if useless := ours.keys() - GeneralParameters.model_fields.keys():
        raise CardError(
            f"{PREFIX}task is missing, and without it nothing reads {_listed(useless)}; there is {', '.join(_BY_TASK)}"
        )
    return _validated(GeneralParameters, ours)


def parse(parameters: Mapping[str, str]) -> Parameters:
    """The parameters of a model that has a task. Raises CardError with a sentence for the operator."""
    ours = _ours(parameters)
    kind = _BY_TASK.get(ours["task"])
    if kind is None:
        raise CardError(f"{PREFIX}task is {ours['task']!r}; there is {', '.join(_BY_TASK)}")
    if kind is ClassificationParameters and ours.get("input") == "encoded":
        kind = EncodedParameters
    return _validated(kind, ours)


def _ours(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """Without the prefix, in an order that does not depend on Triton's."""
    return {
        key.removeprefix(PREFIX): value for key, value in sorted(parameters.items()) if key.startswith(PREFIX)
    }


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(f"{PREFIX}{key}" for key in sorted(keys))


def _validated(kind: type[_Kind], ours: Mapping[str, str]) -> _Kind:
    try:
        return kind.model_validate(ours)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise CardError("; ".join(map(_sentence, problems))) from None


def _sentence(problem: ErrorDetails) -> str:
    if not problem["loc"]:
        return in_words(problem["msg"])
    key = f"{PREFIX}{problem['loc'][0]}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden":
        return f"there is no key {key} for this task"
    return f"{key}: {in_words(problem['msg'])}"
