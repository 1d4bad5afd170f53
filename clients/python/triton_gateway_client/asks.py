"""What is sent: each question as one httpx request's parts, the same for both clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

Priority = Literal["interactive", "standard", "batch"]


class Options(TypedDict, total=False):
    """What may be asked for beside the inputs."""

    model: str
    version: str
    priority: Priority
    top_k: int
    min_score: float
    classes: Sequence[str]


class DetectOptions(Options, total=False):
    iou_threshold: float


@dataclass(frozen=True, slots=True)
class Ask:
    """`parts` are keyword arguments of httpx: the query, and a body in one of its forms."""

    method: str
    path: str
    parts: Mapping[str, Any] = field(default_factory=dict)


def of_images(path: str, images: Sequence[bytes], options: Options) -> Ask:
    """A form with one part an image. Raises ValueError without any."""
    if not images:
        raise ValueError("at least one image is needed")
    query: dict[str, Any] = dict(options)
    if "classes" in query:
        query["classes"] = ",".join(query["classes"])
    return Ask("POST", path, {"params": query, "files": [("image", ("image", image)) for image in images]})


def of_texts(texts: Sequence[str], options: Options) -> Ask:
    """JSON. Raises ValueError without any text."""
    if not texts:
        raise ValueError("at least one text is needed")
    return Ask("POST", "/v1/classify", {"json": {"inputs": [{"text": text} for text in texts], **options}})


def of_models() -> Ask:
    return Ask("GET", "/v1/models")
