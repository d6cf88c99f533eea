"""Each field of each message lies where the venue's table says, and is read from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ffi import ffi, lib
from tests import wire_tables
from tests.wire_tables import Message

Codec = tuple[str, Callable[..., int], Callable[..., int]]

ITCH: Codec = ("itch_message *", lib.itch_encode, lib.itch_decode)
OUCH50_ORDER: Codec = ("ouch_order *", lib.ouch50_encode_order, lib.ouch50_decode_order)
OUCH50_REPORT: Codec = ("ouch_report *", lib.ouch50_encode_report, lib.ouch50_decode_report)
OUCH42_ORDER: Codec = ("ouch_order *", lib.ouch42_encode_order, lib.ouch42_decode_order)
OUCH42_REPORT: Codec = ("ouch_report *", lib.ouch42_encode_report, lib.ouch42_decode_report)

APPENDED = {OUCH50_ORDER: wire_tables.OUCH50_ORDERS_APPENDED, OUCH50_REPORT: wire_tables.OUCH50_REPORTS_APPENDED}
MAY_APPEND = {OUCH50_ORDER: wire_tables.OUCH50_ORDERS_MAY_APPEND}

TABLES = {
    "itch": (ITCH, wire_tables.ITCH),
    "ouch50-order": (OUCH50_ORDER, wire_tables.OUCH50_ORDERS),
    "ouch50-report": (OUCH50_REPORT, wire_tables.OUCH50_REPORTS),
    "ouch42-order": (OUCH42_ORDER, wire_tables.OUCH42_ORDERS),
    "ouch42-report": (OUCH42_REPORT, wire_tables.OUCH42_REPORTS),
}
CASES = [
    pytest.param(codec, message, id=f"{name}-{message.type}")
    for name, (codec, table) in TABLES.items()
    for message in table.values()
]


def wire_bytes(codec: Codec, message: Message, values: dict[str, wire_tables.Value]) -> bytes:
    """The message as it stands on the wire, with an empty appendage where one must follow."""
    if message.type in APPENDED.get(codec, ""):
        return wire_tables.compose(message, values, appended=True) + b"\0\0"
    return wire_tables.compose(message, values)


@pytest.mark.parametrize(("codec", "message"), CASES)
def test_fields_fill_the_message_without_overlap(codec: Codec, message: Message) -> None:
    taken = [0] * message.length
    taken[0] = 1
    for field in message.fields:
        for at in range(field.offset, field.offset + field.size):
            taken[at] += 1
    if message.type in APPENDED.get(codec, ""):
        taken[-2:] = [1, 1]
    assert taken == [1] * message.length


@pytest.mark.parametrize(("codec", "message"), CASES)
def test_encoder_writes_each_field_at_its_offset(codec: Codec, message: Message) -> None:
    struct, encode, _ = codec
    values = wire_tables.plain_values(message)
    structure = ffi.new(struct)
    wire_tables.fill(structure, message, values)
    expected = wire_bytes(codec, message, values)
    target = ffi.new("uint8_t[128]")
    assert encode(structure, target, 128) == len(expected)
    assert bytes(target[0 : len(expected)]) == expected


@pytest.mark.parametrize(("codec", "message"), CASES)
def test_decoder_reads_each_field_from_its_offset(codec: Codec, message: Message) -> None:
    struct, _, decode = codec
    values = wire_tables.plain_values(message)
    wire = wire_bytes(codec, message, values)
    structure = ffi.new(struct)
    assert decode(wire, len(wire), structure) == 0
    assert chr(structure.type) == message.type
    assert wire_tables.read(structure, message) == values


@pytest.mark.parametrize(("codec", "message"), CASES)
def test_every_other_length_is_refused(codec: Codec, message: Message) -> None:
    struct, _, decode = codec
    wire = wire_bytes(codec, message, wire_tables.plain_values(message))
    structure = ffi.new(struct)
    for length in range(len(wire) + 4):
        if length == len(wire) or (length == len(wire) + 2 and message.type in MAY_APPEND.get(codec, "")):
            continue
        assert decode((wire + b"\0\0\0\0")[:length], length, structure) == lib.ITCH_BAD_LENGTH == lib.OUCH_BAD_LENGTH


@pytest.mark.parametrize(("codec", "message"), CASES)
def test_encoder_declines_what_does_not_fit(codec: Codec, message: Message) -> None:
    struct, encode, _ = codec
    values = wire_tables.plain_values(message)
    structure = ffi.new(struct)
    wire_tables.fill(structure, message, values)
    length = len(wire_bytes(codec, message, values))
    for capacity in range(length):
        assert encode(structure, ffi.new("uint8_t[]", max(capacity, 1)), capacity) == 0


@pytest.mark.parametrize(("codec", "message"), CASES)
def test_encoder_declines_a_number_too_large_for_its_field(codec: Codec, message: Message) -> None:
    struct, encode, _ = codec
    target = ffi.new("uint8_t[128]")
    for field in message.fields:
        structure = ffi.new(struct)
        wire_tables.fill(structure, message, wire_tables.plain_values(message))
        if field.is_text or field.size == 8:
            continue
        try:
            wire_tables.store(structure, field, 1 << 8 * field.size)
        except OverflowError:  # our own field is no wider than the wire's
            continue
        assert encode(structure, target, 128) == 0, field.name


@pytest.mark.parametrize("protocol", TABLES)
def test_types_that_the_protocol_lacks_are_unknown(protocol: str) -> None:
    (struct, encode, decode), table = TABLES[protocol]
    known = set(table) | ({"G"} if protocol == "itch" else set())
    structure = ffi.new(struct)
    target = ffi.new("uint8_t[128]")
    for letter in range(256):
        if chr(letter) in known:
            continue
        assert decode(bytes([letter]) * 19, 19, structure) == lib.ITCH_UNKNOWN_TYPE == lib.OUCH_UNKNOWN_TYPE
        structure.type = letter
        assert encode(structure, target, 128) == 0


def test_itch_lengths_are_the_tables() -> None:
    lengths: dict[str, Any] = {chr(letter): lib.itch_length(letter) for letter in range(256) if lib.itch_length(letter)}
    assert lengths == {message.type: message.length for message in wire_tables.ITCH.values()} | {"G": 21}
