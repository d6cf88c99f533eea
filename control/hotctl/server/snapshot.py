"""One look at an engine, between `hotpath.stat` and the wire: one mapping, both ways, by the names of the fields.

A field that only one side has is an error at once, so that the two can never say different things.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from google.protobuf.message import Message

from hotctl.v1 import snapshot_pb2
from hotpath.stat import SIDES, EngineStat, hop_names
from hotpath.topology import STAGES, ring_table

T = TypeVar("T", bound=msgspec.Struct)
V = TypeVar("V")


def to_wire(stat: EngineStat) -> snapshot_pb2.Snapshot:
    """A snapshot as it is sent."""
    message = snapshot_pb2.Snapshot()
    fill(message, stat)
    return message


def from_wire(message: snapshot_pb2.Snapshot) -> EngineStat:
    """A snapshot as it was before it was sent; what the path orders is in its order, which maps on the wire lose."""
    stat = read(message, EngineStat)
    rings = [ring.name for ring in ring_table(paper=True, journal=True, tap=True, ingress=True, seats=list(stat.seats))]
    return msgspec.structs.replace(
        stat,
        stages=_in_order(stat.stages, STAGES),
        hops=_in_order(stat.hops, hop_names().values()),
        rings=_in_order(stat.rings, rings),
        sides=_in_order(stat.sides, SIDES),
        seats=_in_order(stat.seats, ()),
        mode_words=_in_order(stat.mode_words, ()),
        switches=_in_order(stat.switches, ()),
    )


def _in_order(found: dict[str, V], names: Iterable[str]) -> dict[str, V]:
    """As `names` has it; what it does not have by name."""
    return {name: found[name] for name in dict.fromkeys([*names, *sorted(found)]) if name in found}


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
    hints = _hints(kind)
    return kind(**{name: _value(message, name, hints[name]) for name in kind.__struct_fields__})


@cache
def _hints(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(kind)


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
