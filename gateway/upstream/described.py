"""Triton's messages as the JSON of its HTTP API: the same names, every number a number, defaults spelled out."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_M = TypeVar("_M", bound=Message)
_MESSAGE, _ENUM = FieldDescriptor.CPPTYPE_MESSAGE, FieldDescriptor.CPPTYPE_ENUM


def as_json(message: Message) -> dict[str, Any]:
    """Every field, but for a part or an alternative that is not there."""
    return {
        field.name: _value(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def patched(message: _M, change: Mapping[str, Any]) -> tuple[_M, str]:
    """The message with some of it changed (RFC 7396), and as JSON. Raises ValueError where that is no such message."""
    whole = json_format.MessageToDict(message, preserving_proto_field_name=True)
    text = json.dumps(_merged(whole, change, message.DESCRIPTOR))
    wanted = type(message)()
    try:
        json_format.Parse(text, wanted)
    except json_format.ParseError as error:
        raise ValueError(
            str(error).partition("\n")[0].partition(" Available Fields")[0].rstrip(".")
        ) from None
    return wanted, text


def _merged(whole: Any, change: Any, kind: Descriptor | None) -> Any:
    """`kind` is that of the message which `whole` is. Of alternatives the one that is set takes the others' place."""
    if not isinstance(change, Mapping):
        return change
    found = dict(whole) if isinstance(whole, Mapping) else {}
    for key, value in change.items():
        field = None if kind is None else kind.fields_by_name.get(key)
        if value is None:
            found.pop(key, None)
            continue
        for other in _alternatives(field) - change.keys():
            found.pop(other, None)
        found[key] = _merged(found.get(key), value, None if field is None else field.message_type)
    return found


def _alternatives(field: FieldDescriptor | None) -> set[str]:
    """The fields of which a message has only one, this one among them; none where it has no alternative."""
    if field is None or field.containing_oneof is None:
        return set()
    return {each.name for each in field.containing_oneof.fields} - {field.name}


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        item = field.message_type.fields_by_name["value"]
        return {str(key): _one(item, value[key]) for key in value}
    if field.is_repeated:
        return [_one(field, item) for item in value]
    return _one(field, value)


def _one(field: FieldDescriptor, value: Any) -> Any:
    if field.cpp_type == _MESSAGE:
        return as_json(value)
    if field.cpp_type == _ENUM:
        assert field.enum_type is not None  # noqa: S101  # an enum has one
        return field.enum_type.values_by_number[value].name
    return value.decode("latin-1") if isinstance(value, bytes) else value
