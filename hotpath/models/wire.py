"""Protobuf's wire format, read with bounds: what ONNX files are made of.

    message = field ...      field = key (varint: number << 3 | kind) + value
    kind 0 varint, 1 eight bytes, 2 length + bytes, 5 four bytes

The bytes are not trusted. A field that is not in the message's table is refused, and so is a singular one that comes
twice: other parsers merge or take the last, so that two readers of one file could see two models.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Literal

from hotpath.errors import ModelError

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
Field = tuple[str, Literal["one", "many", "skip"]]
Table = Mapping[int, Field]
Value = int | bytes
Message = dict[str, list[tuple[int, memoryview | int]]]

VARINT_BYTES_MAX = 10


def _varint(data: memoryview, at: int, where: str) -> tuple[int, int]:
    value = shift = 0
    for count in range(VARINT_BYTES_MAX):
        if at + count >= len(data):
            raise ModelError(f"{where}: truncated in a number")
        byte = data[at + count]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + count + 1
    raise ModelError(f"{where}: a number of more than 64 bits")


def _fields(data: memoryview, where: str) -> Iterator[tuple[int, int, memoryview | int]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at, where)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(data, at, where)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at, where)
        elif kind in (EIGHT, FOUR):
            size = 8 if kind == EIGHT else 4
        else:
            raise ModelError(f"{where}: wire kind {kind} of field {number}", next_step="the file is no ONNX model")
        if size > len(data) - at:
            raise ModelError(f"{where}: field {number} has {size} bytes, of which {len(data) - at} are there")
        yield number, kind, data[at : at + size]
        at += size


def read_message(data: memoryview, table: Table, where: str, *, fields_max: int) -> Message:
    """The message's fields by name, each a list of (wire kind, value); skipped ones are left out.

    Raises ModelError naming `where` for bytes that are no message, a field that is unknown, or one that comes twice."""
    found: Message = {}
    for count, (number, kind, value) in enumerate(_fields(data, where)):
        if count >= fields_max:
            raise ModelError(f"{where}: more than {fields_max} fields")
        if number not in table:
            raise ModelError(
                f"{where}: field {number} is not one that a model needs",
                next_step="export without extensions; a newer ONNX may have new fields",
            )
        name, times = table[number]
        if times == "skip":
            continue
        values = found.setdefault(name, [])
        if times == "one" and values:
            raise ModelError(f"{where}: {name} comes twice, and readers differ in which one counts")
        values.append((kind, value))
    return found


def _one(message: Message, name: str) -> tuple[int, memoryview | int] | None:
    values = message.get(name)
    return values[0] if values else None


def _wrong(where: str, name: str) -> ModelError:
    return ModelError(f"{where}: {name} has a wrong wire kind")


def integer(message: Message, name: str, where: str, *, default: int = 0) -> int:
    """A signed integer of 64 bits."""
    one = _one(message, name)
    if one is None:
        return default
    if not isinstance(one[1], int):
        raise _wrong(where, name)
    return one[1] - (1 << 64) if one[1] >> 63 else one[1]


def number(message: Message, name: str, where: str) -> float:
    """A float of 32 bits."""
    one = _one(message, name)
    if one is None:
        return 0.0
    if one[0] != FOUR or isinstance(one[1], int):
        raise _wrong(where, name)
    return float(struct.unpack("<f", one[1])[0])


def octets(message: Message, name: str, where: str) -> memoryview:
    """Bytes; empty when there are none."""
    one = _one(message, name)
    if one is None:
        return memoryview(b"")
    if one[0] != BYTES or isinstance(one[1], int):
        raise _wrong(where, name)
    return one[1]


def each_octets(message: Message, name: str, where: str) -> list[memoryview]:
    """Bytes of a repeated field."""
    found = []
    for kind, value in message.get(name, []):
        if kind != BYTES or isinstance(value, int):
            raise _wrong(where, name)
        found.append(value)
    return found


def text(data: memoryview, where: str, *, length_max: int = 1024) -> str:
    """UTF-8, of at most `length_max` bytes."""
    if len(data) > length_max:
        raise ModelError(f"{where}: a name of {len(data)} bytes (at most {length_max})")
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{where}: a name is not UTF-8") from error


def integers(message: Message, name: str, where: str, *, count_max: int) -> list[int]:
    """Signed integers, packed or one by one."""
    found: list[int] = []
    for kind, value in message.get(name, []):
        if isinstance(value, int):
            found.append(value)
        elif kind == BYTES:
            at = 0
            while at < len(value):
                one, at = _varint(value, at, where)
                found.append(one)
                if len(found) > count_max:
                    break
        else:
            raise _wrong(where, name)
        if len(found) > count_max:
            raise ModelError(f"{where}: {name} has more than {count_max} numbers")
    return [one - (1 << 64) if one >> 63 else one for one in found]


def packed(message: Message, name: str, where: str, *, each: int, count_max: int) -> bytes:
    """Numbers of `each` bytes, packed or one by one, as they stand."""
    parts = []
    size = 0
    for kind, value in message.get(name, []):
        if isinstance(value, int) or (kind == BYTES and len(value) % each) or (kind != BYTES and len(value) != each):
            raise _wrong(where, name)
        size += len(value)
        if size > each * count_max:
            raise ModelError(f"{where}: {name} has more than {count_max} numbers")
        parts.append(bytes(value))
    return b"".join(parts)
