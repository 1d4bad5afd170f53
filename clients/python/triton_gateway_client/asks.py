"""What is sent: each question as one httpx request's parts, the same for both clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

Priority = Literal["interactive", "standard", "batch"]


class Options(TypedDict, total=False):
    """What may be asked for beside the inputs; None is as if it were left out."""

    model: str | None
    version: str | None
    priority: Priority | None
    top_k: int | None
    min_score: float | None
    classes: Sequence[str | int] | None


class DetectOptions(Options, total=False):
    iou_threshold: float | None


@dataclass(frozen=True, slots=True)
class Ask:
    """`parts` are keyword arguments of httpx: the query, and a body in one of its forms."""

    method: str
    path: str
    parts: Mapping[str, Any] = field(default_factory=dict)


def of_images(path: str, images: Sequence[bytes], options: Options) -> Ask:
    """A form with one part an image. Raises ValueError without any, TypeError for what is no bytes."""
    if not images:
        raise ValueError("at least one image is needed")
    if not all(isinstance(image, bytes) for image in images):
        raise TypeError("an image is the bytes of a file, not its name nor a view of them")
    query = _given(options)
    if "classes" in query:
        query["classes"] = _listed([str(each) for each in query["classes"]])
    return Ask("POST", path, {"params": query, "files": [("image", ("image", image)) for image in images]})


def of_texts(texts: Sequence[str], options: Options) -> Ask:
    """JSON. Raises ValueError without any text, TypeError for one in place of several."""
    if isinstance(texts, str):
        raise TypeError("texts are a sequence: put a single one into a list")
    if not texts:
        raise ValueError("at least one text is needed")
    return Ask(
        "POST", "/v1/classify", {"json": {"inputs": [{"text": text} for text in texts], **_given(options)}}
    )


def _given(options: Options) -> dict[str, Any]:
    """What is set. Raises TypeError for classes that are a text, whose letters would be taken for them."""
    if isinstance(options.get("classes"), str):
        raise TypeError("classes are a sequence: put a single one into a list")
    return {name: value for name, value in options.items() if value is not None}


def _listed(classes: list[str]) -> str | list[str]:
    """Separated by commas; where a label has one of its own, each by itself, and a single one twice, since what stands
    once is taken apart."""
    if not any("," in each for each in classes):
        return ",".join(classes)
    return classes if len(classes) > 1 else classes * 2


def of_models() -> Ask:
    return Ask("GET", "/v1/models")
