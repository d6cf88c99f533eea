"""One look at an engine, between `hotpath.stat` and the wire: one mapping, both ways, by the names of the fields.

A field that only one side has is an error at once, so that the two can never say different things.
"""

from __future__ import annotations

import types
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from google.protobuf.message import Message

from hotctl.v1 import snapshot_pb2
from hotpath.stat import EngineStat

T = TypeVar("T", bound=msgspec.Struct)


def to_wire(stat: EngineStat) -> snapshot_pb2.Snapshot:
    """A snapshot as it is sent."""
    message = snapshot_pb2.Snapshot()
    fill(message, stat)
    return message


def from_wire(message: snapshot_pb2.Snapshot) -> EngineStat:
    """A snapshot as it was before it was sent."""
    return read(message, EngineStat)


def fill(message: Message, source: msgspec.Struct) -> None:
    """Set every field of a message from a struct's field of the same name; None stays unset."""
    for name in source.__struct_fields__:
        value = getattr(source, name)
        if value is None:
            continue
        if isinstance(value, msgspec.Struct):
            fill(getattr(message, name), value)
            getattr(message, name).SetInParent()
        elif isinstance(value, dict):
            target = getattr(message, name)
            for key, entry in value.items():
                if isinstance(entry, msgspec.Struct):
                    fill(target[key], entry)
                else:
                    target[key] = entry
        elif isinstance(value, list | tuple):
            for entry in value:
                if isinstance(entry, msgspec.Struct):
                    fill(getattr(message, name).add(), entry)
                else:
                    getattr(message, name).append(entry)
        else:
            setattr(message, name, value)


def read(message: Message, kind: type[T]) -> T:
    """A struct of what a message holds."""
    hints = get_type_hints(kind)
    return kind(**{name: _value(message, name, hints[name]) for name in kind.__struct_fields__})


def _value(message: Any, name: str, hint: Any) -> Any:
    if get_origin(hint) in (types.UnionType,) or type(None) in get_args(hint):
        if not message.HasField(name):
            return None
        hint = next(each for each in get_args(hint) if each is not type(None))
    value = getattr(message, name)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return read(value, hint)
    if get_origin(hint) is dict:
        entry = get_args(hint)[1]
        nested = isinstance(entry, type) and issubclass(entry, msgspec.Struct)
        return {key: read(each, entry) if nested else each for key, each in value.items()}
    if get_origin(hint) in (list, tuple):
        entry = get_args(hint)[0]
        nested = isinstance(entry, type) and issubclass(entry, msgspec.Struct)
        return get_origin(hint)(read(each, entry) if nested else each for each in value)
    return value
