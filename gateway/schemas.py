"""The public requests and answers, as pydantic models: bounded, and nothing unknown is accepted."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, from_json

from gateway.errors import FieldError, ValidationFailed

_VERSION = re.compile(r"[1-9][0-9]{0,18}")
VERSION_PATTERN = f"^{_VERSION.pattern}$"
_MOST_TOLD = 20  # of what is wrong
_BRANCHES = ("bool", "float", "int", "str", "constrained-int", "constrained-float", "constrained-str")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
_LONGEST_NAME = 128
_FORMS = {
    _NAME: "A model's name has letters, digits, _, . and -, and begins with a letter or a digit",
    VERSION_PATTERN: "A version is a number from 1 on",
    r"\S": "A text has a character that is not white space",
}
_OF_A_KIND = "Input should be a valid "
MAX_TEXT = 20_000  # characters; the longest inputs of BERT's relatives are a tenth of that
MAX_VERSION = 2**63 - 1  # Triton keeps versions as signed 64-bit integers


def _version(value: object) -> object:
    """A version is a string; a JSON number is welcome too."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and int(value[:20]) > MAX_VERSION:
        raise ValueError("is too large for a version")
    return value


def is_version(text: str) -> bool:
    """Whether a version could be called so."""
    return _VERSION.fullmatch(text) is not None and int(text) <= MAX_VERSION


def is_model_name(text: str) -> bool:
    """Whether a request could ask for a model by this name."""
    return len(text) <= _LONGEST_NAME and re.fullmatch(_NAME, text) is not None


ModelName = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME, pattern=_NAME)]
Version = Annotated[str, Field(pattern=VERSION_PATTERN), BeforeValidator(_version)]
PriorityName = Literal["interactive", "standard", "batch"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

_Model = TypeVar("_Model", bound=BaseModel)


class _Public(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Options(_Public):
    """What may be asked for beside the inputs, in the query or in a JSON body."""

    model: ModelName | None = Field(
        default=None,
        description="Which model; the default one for the task where absent.",
        examples=["digits_classifier"],
    )
    version: Version | None = Field(
        default=None, description="Pins a version that is loaded.", examples=["2"]
    )
    priority: PriorityName | None = Field(
        default=None,
        description="How urgent it is; the tier's class where absent, and never above the key's ceiling.",
    )
    min_score: Share | None = Field(default=None, description="Leaves out what scores lower.", examples=[0.5])
    classes: list[int | str] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Only these classes, by label or id. In a query separated by commas, or each in a `classes` of its "
        "own: there a comma belongs to its label. Where that is the only label, it stands twice.",
    )


class ClassifyOptions(Options):
    top_k: int | None = Field(
        default=None, ge=1, le=1000, description="At most this many predictions.", examples=[3]
    )


class DetectOptions(Options):
    top_k: int | None = Field(default=None, ge=1, le=3000, description="At most this many detections.")
    iou_threshold: Share | None = Field(
        default=None,
        description="Of two boxes of a class that overlap by more, the weaker one goes.",
        examples=[0.5],
    )


def _exactly_one_of(schema: dict[str, Any]) -> None:
    """Tells what the validator holds: one property, and not null."""
    schema.update(minProperties=1, maxProperties=1)
    for field in schema["properties"].values():
        field.pop("default", None)
        field.update(next(branch for branch in field.pop("anyOf") if branch != {"type": "null"}))


class ImageInput(_Public):
    """One image: its bytes in base64, or where to fetch it."""

    model_config = ConfigDict(json_schema_extra=_exactly_one_of)

    image: str | None = Field(default=None, description="JPEG, PNG or WebP in standard base64, with padding.")
    url: str | None = Field(
        default=None,
        max_length=2048,
        description="Where to fetch the image: https, from a host that the operator allows, without a redirect, within "
        "3 seconds and 10 MB. Where none is allowed every URL is 422 url_not_allowed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, value: Any) -> Any:
        known = list(cls.model_fields)
        if isinstance(value, dict) and len(value.keys() & set(known)) != 1:
            raise ValueError(f"needs exactly one of {', '.join(known[:-1])} and {known[-1]}")
        if isinstance(value, dict) and None in value.values():
            raise ValueError("must not be null")
        return value


class ClassifyInput(ImageInput):
    """One image, as its bytes in base64 or as where to fetch it; or one text."""

    text: str | None = Field(
        default=None,
        max_length=MAX_TEXT,
        pattern=r"\S",
        description="A text; the model reads its first tokens, as many as it takes.",
        examples=["Vereinigte Staaten"],
    )


class ClassifyRequest(ClassifyOptions):
    inputs: list[ClassifyInput] = Field(
        min_length=1, description="All images, or all texts; they are answered in this order."
    )


class DetectRequest(DetectOptions):
    inputs: list[ImageInput] = Field(min_length=1, description="The images; they are answered in this order.")


class Prediction(_Public):
    class_id: int
    label: str
    score: float = Field(description="0 to 1.")


class ClassifyResult(_Public):
    predictions: list[Prediction] = Field(description="Best first.")


class Box(_Public):
    """In pixels of the original image, after its EXIF orientation; the origin is the top left corner."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


class Detection(_Public):
    class_id: int
    label: str
    score: float = Field(description="0 to 1.")
    box: Box


class ImageSize(_Public):
    width: int
    height: int


class TextSize(_Public):
    max_tokens: int


class DetectResult(_Public):
    image: ImageSize
    detections: list[Detection] = Field(description="Best first.")


class FieldProblem(_Public):
    pointer: str = Field(description="JSON pointer into the body, or `?name` for an option in the query.")
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details. Program against `code`; `type` is a page that explains it."""

    type: str = Field(examples=["/problems/image_truncated"])
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(examples=["image_truncated"])
    request_id: str
    errors: list[FieldProblem] | None = None
    reasons: list[str] | None = Field(default=None, description="Why a canary may not take traffic.")


class InputProblem(_Public):
    """Why one input of a batch has no answer, while the others do."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class FailedResult(_Public):
    error: InputProblem


class Served(_Public):
    """Which model version answered."""

    name: str
    version: str
    variant: str = Field(examples=["stable", "pinned"])


class ClassifyResponse(_Public):
    id: str = Field(description="The request id, as in X-Request-Id.")
    model: Served
    results: list[ClassifyResult | FailedResult] = Field(description="One an input, in their order.")


class DetectResponse(_Public):
    id: str = Field(description="The request id, as in X-Request-Id.")
    model: Served
    results: list[DetectResult | FailedResult] = Field(description="One an input, in their order.")


class ModelInfo(_Public):
    """One model that can be called."""

    name: str
    task: str = Field(examples=["image-classification", "object-detection", "text-classification"])
    default: bool = Field(description="Answers requests for this task that name no model.")
    default_version: str = Field(description="Answers requests that name no version.")
    versions: list[str] = Field(description="The versions that are loaded.")
    labels: list[str]
    input: ImageSize | TextSize | None = Field(
        description="What images are resized to, or texts are cut to; null where the model itself sees to that."
    )
    max_batch_size: int = Field(description="Images or texts that go to the model in one call.")


class ModelList(_Public):
    models: list[ModelInfo]


class ProtocolError(_Public):
    """What the Open Inference Protocol answers where it cannot."""

    error: str


def validated(model: type[_Model], value: object, *, strict: bool) -> _Model:
    """Raises ValidationFailed with a pointer for every field; `strict` is for JSON, which has types of its own."""
    try:
        return model.model_validate(value, strict=strict)
    except ValidationError as error:
        found = first_errors(error)
    details: dict[str, list[str]] = {}
    for item in found:
        details.setdefault(_pointer(item["loc"], strict), []).append(_detail(item))
    raise ValidationFailed(
        "The request is not valid.", [FieldError(pointer, _either(each)) for pointer, each in details.items()]
    )


def _detail(item: ErrorDetails) -> str:
    """pydantic's sentence, without the names of our classes and without patterns."""
    if item["type"] == "model_type":
        return f"{_OF_A_KIND}object"
    if item["type"] == "string_pattern_mismatch":
        return _FORMS.get(item["ctx"]["pattern"], item["msg"])
    return in_words(item["msg"])


def _either(details: Sequence[str]) -> str:
    """What is wrong with one field: pydantic tells it of each kind that the field may be of. Where it is of one, only
    that one matters."""
    kinds = [detail.removeprefix(_OF_A_KIND) for detail in details if detail.startswith(_OF_A_KIND)]
    if len(kinds) < len(details):
        return next(detail for detail in details if not detail.startswith(_OF_A_KIND))
    return _OF_A_KIND + " or ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))


def in_words(message: str) -> str:
    """What a validator of ours has said, without what pydantic says before it."""
    return message.removeprefix("Value error, ")


def first_errors(error: ValidationError) -> list[ErrorDetails]:
    """As many as are worth telling; by way of JSON, because thousands of them as objects hold up everybody else."""
    text = error.json(include_url=False, include_input=False)
    found: list[ErrorDetails] = from_json(text)
    return found[:_MOST_TOLD]


def _pointer(location: Sequence[int | str], in_body: bool) -> str:
    # Behind the field's own path stand pydantic's names for the branches of a union; a pointer has no such thing.
    path = [part for part in location if part not in _BRANCHES]
    if not in_body:
        return f"?{path[0]}" if path else "?"
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
