"""Three body forms, one meaning: raw image, multipart form and JSON become the same inputs and options."""

import binascii
import math
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header
from pydantic import BaseModel

from gateway.api.context import HttpRequest
from gateway.domain import Content, ImageUrl
from gateway.errors import (
    BodyTooLarge,
    FieldError,
    ImageMissing,
    InputError,
    InvalidBase64,
    MalformedJson,
    MalformedMultipart,
    UnsupportedMediaType,
    ValidationFailed,
)
from gateway.schemas import (
    ClassifyInput,
    ClassifyOptions,
    ClassifyRequest,
    DetectOptions,
    DetectRequest,
    ImageInput,
    validated,
)
from gateway.strict_json import holds_more, load

Inputs = list[Content | ImageUrl | InputError]
_Options = TypeVar("_Options", ClassifyOptions, DetectOptions)
_Model = TypeVar("_Model", bound=BaseModel)

# In one JSON document; what can be asked for is flat. Commas between base64 are few, and a million small members would
# cost gigabytes to check.
_MAX_MEMBERS = 10_000
_MAX_OPTIONS = 1000  # in one query; each class may be one
_MAX_BOUNDARY = 70  # RFC 2046, section 5.1.1
_MAX_PART_HEADERS = 8
_MAX_PART_HEADER = 2 * 1024  # bytes of one of them: a file's name has at most 255, or thrice as many escaped
_REQUESTS: Mapping[type, type[ClassifyRequest | DetectRequest]] = {
    ClassifyOptions: ClassifyRequest,
    DetectOptions: DetectRequest,
}


def media_type(content_type: str | None) -> tuple[str, Mapping[str, str]]:
    """The media type in lower case and its parameters. Raises UnsupportedMediaType for one that is not accepted."""
    kind, parameters = parse_options_header(content_type or "")
    kind = kind.strip().lower()
    if kind in ("application/json", "multipart/form-data") or kind.startswith("image/"):
        return kind, parameters
    raise UnsupportedMediaType(
        "Send image/jpeg, image/png, image/webp, multipart/form-data or application/json."
    )


def parse(
    body: bytes, content_type: str | None, query: bytes, options: type[_Options], max_inputs: int
) -> tuple[Inputs, _Options]:
    """What each input holds, or where it is to be fetched, or the reason why it holds nothing; and the options. All
    are images, or all are texts.

    Raises RequestError of the kind that fits.
    """
    kind, parameters = media_type(content_type)
    if kind == "application/json":
        return _parse_json(body, query, options, max_inputs)
    asked = read_query(query, options)
    if kind != "multipart/form-data":
        return [body], asked
    return list(_parts(body, parameters.get("boundary", ""), max_inputs)), asked


def _parse_json(
    body: bytes, query: bytes, options: type[_Options], max_inputs: int
) -> tuple[Inputs, _Options]:
    if query:
        raise ValidationFailed.of("?", "With a JSON body the options stand in the body, not in the query.")
    document = load_json(body)
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if isinstance(inputs, list):
        _check_count(len(inputs), max_inputs)  # before each of them is looked at
    request = validated(_REQUESTS[options], document, strict=True)
    asked = options.model_construct(**{name: getattr(request, name) for name in options.model_fields})
    contents = [_content(item, position) for position, item in enumerate(request.inputs)]
    if len({isinstance(content, str) for content in contents}) > 1:
        raise ValidationFailed.of("/inputs", "All inputs of a request are images, or all are texts.")
    return contents, asked


def read_json(request: HttpRequest, body: bytes, model: type[_Model]) -> _Model:
    """A JSON body as this model. Raises UnsupportedMediaType, MalformedJson, ValidationFailed."""
    kind, _ = parse_options_header(request.headers.get("content-type", "application/json"))
    if kind != "application/json":
        raise UnsupportedMediaType("Send application/json.")
    return validated(model, load_json(body), strict=True)


def load_json_object(request: HttpRequest, body: bytes) -> Mapping[str, Any]:
    """A JSON body that is an object. Raises UnsupportedMediaType, MalformedJson, ValidationFailed."""
    kind, _ = parse_options_header(request.headers.get("content-type", "application/json"))
    if kind not in ("application/json", "application/merge-patch+json"):
        raise UnsupportedMediaType("Send application/json.")
    document = load_json(body)
    if not isinstance(document, dict):
        raise ValidationFailed.of("", "The body is one JSON object.")
    return document


def load_json(body: bytes) -> object:
    """Strict JSON: UTF-8, no duplicate keys, no NaN, no infinity, bounded depth and number of members.

    Raises MalformedJson, BodyTooLarge.
    """
    if any(holds_more(body, mark, _MAX_MEMBERS - 1) for mark in (b",", b"[", b"{")):
        raise BodyTooLarge(f"A JSON body has at most {_MAX_MEMBERS} members, lists and objects of each.")
    try:
        document = load(body)
    except ValueError as error:
        raise MalformedJson(f"The body is not valid JSON: {error}.") from None
    if _holds_infinity(document):
        raise MalformedJson("The body is not valid JSON: a number is out of range.")
    return document


def _holds_infinity(value: object) -> bool:
    """Whether a number such as 1e999 has become infinite on the way; depth is bounded by the parser."""
    if isinstance(value, dict):
        return any(_holds_infinity(item) for item in value.values())
    if isinstance(value, list):
        return any(_holds_infinity(item) for item in value)
    return isinstance(value, float) and math.isinf(value)


def _content(item: ImageInput, position: int) -> Content | ImageUrl | InputError:
    if isinstance(item, ClassifyInput) and item.text is not None:
        return item.text
    if item.url is not None:
        return ImageUrl(item.url)
    try:
        return binascii.a2b_base64(item.image or "", strict_mode=True)
    except ValueError:
        return InvalidBase64(f"inputs[{position}].image is not standard base64 with padding.")


def read_query(query: bytes, model: type[_Model]) -> _Model:
    """The query as this model. Raises ValidationFailed."""
    given: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_OPTIONS
        )
    except ValueError:
        raise ValidationFailed.of("?", "The query is not valid.") from None
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return validated(model, {name: _option(name, values) for name, values in given.items()}, strict=False)


def _option(name: str, given: list[str]) -> str | list[str]:
    """A list of classes, where it stands once, is parted by commas; a label with a comma in it can stand beside
    others only."""
    if name == "classes":
        return given if len(given) > 1 else given[0].split(",")
    if len(given) > 1:
        raise ValidationFailed.of("?", "An option stands in the query more than once.")
    return given[0]


def as_written(
    error: ValidationFailed, content_type: str | None, options: type[_Options]
) -> ValidationFailed:
    """The error, with pointers to where its options stood: in the query, unless the body was JSON."""
    if media_type(content_type)[0] == "application/json":
        return error
    fields = [FieldError(_in_query(field.pointer, options), field.detail) for field in error.errors]
    return ValidationFailed(str(error), fields, internal=error.internal)


def _in_query(pointer: str, options: type[BaseModel]) -> str:
    name = pointer.split("/")[1] if pointer.startswith("/") else ""
    return f"?{name}" if name in options.model_fields else pointer


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        raise ValidationFailed.of("/inputs", f"At most {limit} inputs in one request.")


def _parts(body: bytes, boundary: str, most: int) -> list[bytes]:
    """The content of every `image` part; file names and the parts' own content types are not believed."""
    if not 0 < len(boundary) <= _MAX_BOUNDARY or not boundary.isascii():
        raise MalformedMultipart("The Content-Type needs a boundary of 1 to 70 characters.")
    images: list[bytearray] = []
    try:
        with PushMultipartParser(
            boundary,
            max_header_count=_MAX_PART_HEADERS,
            max_header_size=_MAX_PART_HEADER,
            header_charset="latin-1",  # reads any file name; none is used
            strict=True,
        ) as parser:
            for event in parser.parse(body):
                if isinstance(event, bytes | bytearray):
                    images[-1] += event
                elif event is not None:
                    _check_part(event.name, event.content_type, event.header("Content-Transfer-Encoding"))
                    images.append(bytearray())
                    _check_count(len(images), most)  # before those that come behind are looked at
    except ParserLimitReached:
        raise BodyTooLarge(
            f"A part of a form has at most {_MAX_PART_HEADERS} headers of {_MAX_PART_HEADER} bytes."
        ) from None
    except MultipartError:
        if _is_empty_form(body, boundary):
            raise ImageMissing("The form has no part named image.") from None
        raise MalformedMultipart("The multipart body is malformed or ends too early.") from None
    if not images:
        raise ImageMissing("The form has no part named image.")
    return [bytes(image) for image in images]


def _is_empty_form(body: bytes, boundary: str) -> bool:
    """A form without parts is only its closing delimiter, which the parser takes for a damaged one."""
    return body.strip() in (b"", f"--{boundary}--".encode())


def _check_part(name: str | None, content_type: str | None, transfer_encoding: str | None) -> None:
    if transfer_encoding is not None and transfer_encoding.lower() not in ("binary", "8bit", "7bit"):
        raise UnsupportedMediaType("Parts are taken as they are, without Content-Transfer-Encoding.")
    if name != "image" or (content_type or "").startswith("multipart/"):
        raise ValidationFailed.of("/image", "A form has only parts named image, one an image.")
