"""The venue's field tables, written out a second time and independently of the C lists.

Each message is a list of fields as its specification prints them, name@offset(length), and the place in our
structure where each must turn up. ``compose`` builds the bytes in plain Python: what the C encoders must write,
and what the C decoders must read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from ffi import ffi

ASCII = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 "
SIDES = "BSTE"


@dataclass(frozen=True)
class Field:
    """One field: where it lies on the wire, and where in our structure. Text is ASCII; numbers are big-endian.
    ``letters`` are the only values allowed, where the codec judges them."""

    name: str
    offset: int
    size: int
    place: str
    is_text: bool = False
    letters: str = ""


@dataclass(frozen=True)
class Message:
    """One type: its wire length without an appendage, and its fields after the type byte."""

    type: str
    length: int
    fields: tuple[Field, ...]


def number(name: str, offset: int, size: int, place: str = "", letters: str = "") -> Field:
    return Field(name, offset, size, place or name, letters=letters)


def text(name: str, offset: int, size: int, place: str = "") -> Field:
    return Field(name, offset, size, place or name, is_text=True)


def _table(*messages: Message) -> dict[str, Message]:
    return {message.type: message for message in messages}


# ---- ITCH 5.0 --------------------------------------------------------------------------------------------------------

HEAD = (number("locate", 1, 2), number("tracking", 3, 2), number("time", 5, 6, "time_ns"))


def _itch(letter: str, length: int, *fields: Field) -> Message:
    return Message(letter, length, HEAD + fields)


def _add(letter: str, length: int, *more: Field) -> Message:
    return _itch(
        letter,
        length,
        number("ref", 11, 8, "order_ref"),
        number("side", 19, 1, letters="BS"),
        number("shares", 20, 4),
        text("stock", 24, 8),
        number("price", 32, 4),
        *more,
    )


ITCH = _table(
    _itch("S", 12, number("event", 11, 1)),
    _itch(
        "R",
        39,
        text("stock", 11, 8),
        text("mkt_category", 19, 1, "detail[0]"),
        text("fin_status", 20, 1, "detail[1]"),
        number("round_lot", 21, 4, "number[0]"),
        text("round_lots_only", 25, 1, "detail[2]"),
        text("issue_class", 26, 1, "detail[3]"),
        text("issue_subtype", 27, 2, "detail[4]"),
        text("authenticity", 29, 1, "detail[6]"),
        text("ssr_threshold", 30, 1, "detail[7]"),
        text("ipo_flag", 31, 1, "detail[8]"),
        text("luld_tier", 32, 1, "detail[9]"),
        text("etp_flag", 33, 1, "detail[10]"),
        number("etp_leverage", 34, 4, "number[1]"),
        text("inverse", 38, 1, "detail[11]"),
    ),
    _itch(
        "H",
        25,
        text("stock", 11, 8),
        number("state", 19, 1, "event"),
        text("reserved", 20, 1, "detail[4]"),
        text("reason", 21, 4, "detail[0]"),
    ),
    _itch("Y", 20, text("stock", 11, 8), number("action", 19, 1, "event")),
    _itch(
        "L",
        26,
        text("mpid", 11, 4),
        text("stock", 15, 8),
        number("primary_mm", 23, 1, "event"),
        text("mm_mode", 24, 1, "detail[0]"),
        text("state", 25, 1, "detail[1]"),
    ),
    _itch(
        "V",
        35,
        number("level1", 11, 8, "number[0]"),
        number("level2", 19, 8, "number[1]"),
        number("level3", 27, 8, "number[2]"),
    ),
    _itch("W", 12, number("breached_level", 11, 1, "event")),
    _itch(
        "K",
        28,
        text("stock", 11, 8),
        number("release_time", 19, 4, "number[0]"),
        text("qualifier", 23, 1, "detail[0]"),
        number("ipo_price", 24, 4, "price"),
    ),
    _itch(
        "J",
        35,
        text("stock", 11, 8),
        number("ref", 19, 4, "price"),
        number("upper", 23, 4, "number[0]"),
        number("lower", 27, 4, "number[1]"),
        number("extension", 31, 4, "number[2]"),
    ),
    _itch("h", 21, text("stock", 11, 8), number("market", 19, 1, "event"), text("action", 20, 1, "detail[0]")),
    _add("A", 36),
    _add("F", 40, text("attribution", 36, 4, "mpid")),
    _itch("E", 31, number("ref", 11, 8, "order_ref"), number("shares", 19, 4), number("match", 23, 8)),
    _itch(
        "C",
        36,
        number("ref", 11, 8, "order_ref"),
        number("shares", 19, 4),
        number("match", 23, 8),
        number("printable", 31, 1, letters="YN"),
        number("price", 32, 4),
    ),
    _itch("X", 23, number("ref", 11, 8, "order_ref"), number("cancelled", 19, 4, "shares")),
    _itch("D", 19, number("ref", 11, 8, "order_ref")),
    _itch(
        "U",
        35,
        number("old_ref", 11, 8, "order_ref"),
        number("new_ref", 19, 8),
        number("shares", 27, 4),
        number("price", 31, 4),
    ),
    _add("P", 44, number("match", 36, 8)),
    _itch(
        "Q",
        40,
        number("shares", 11, 8),
        text("stock", 19, 8),
        number("price", 27, 4),
        number("match", 31, 8),
        number("cross_type", 39, 1),
    ),
    _itch("B", 19, number("match", 11, 8)),
    _itch(
        "I",
        50,
        number("paired", 11, 8, "shares"),
        number("imbalance", 19, 8, "number[0]"),
        text("direction", 27, 1, "detail[0]"),
        text("stock", 28, 8),
        number("far", 36, 4, "number[1]"),
        number("near", 40, 4, "number[2]"),
        number("ref", 44, 4, "price"),
        number("cross_type", 48, 1),
        text("price_var", 49, 1, "detail[1]"),
    ),
    _itch("N", 20, text("stock", 11, 8), number("interest", 19, 1, "event")),
    _itch(
        "O",
        48,
        text("stock", 11, 8),
        text("eligible", 19, 1, "detail[0]"),
        number("min", 20, 4, "number[0]"),
        number("max", 24, 4, "number[1]"),
        number("near_px", 28, 4, "number[2]"),
        number("near_time", 32, 8, "number[3]"),
        number("lower", 40, 4, "number[4]"),
        number("upper", 44, 4, "number[5]"),
    ),
)

# ---- OUCH 5.0 --------------------------------------------------------------------------------------------------------

OUCH50_ORDERS = _table(
    Message(
        "O",
        47,
        (
            number("userref", 1, 4, "user_ref"),
            number("side", 5, 1),
            number("qty", 6, 4, "quantity"),
            text("symbol", 10, 8),
            number("price", 18, 8),
            number("tif", 26, 1, "time_in_force"),
            number("display", 27, 1),
            number("capacity", 28, 1),
            number("iso", 29, 1),
            number("cross", 30, 1),
            text("clordid", 31, 14, "cl_ord_id"),
        ),
    ),
    Message(
        "U",
        40,
        (
            number("orig", 1, 4, "previous_ref"),
            number("new", 5, 4, "user_ref"),
            number("qty", 9, 4, "quantity"),
            number("price", 13, 8),
            number("tif", 21, 1, "time_in_force"),
            number("display", 22, 1),
            number("iso", 23, 1),
            text("clordid", 24, 14, "cl_ord_id"),
        ),
    ),
    Message("X", 9, (number("userref", 1, 4, "user_ref"), number("qty", 5, 4, "quantity"))),
    Message("M", 10, (number("userref", 1, 4, "user_ref"), number("side", 5, 1), number("qty", 6, 4, "quantity"))),
    Message("Q", 1, ()),
)
OUCH50_ORDERS_APPENDED = "OU"
OUCH50_ORDERS_MAY_APPEND = "XQ"

_TS = number("ts", 1, 8, "time_ns")
_REF = number("userref", 9, 4, "user_ref")
_FILL50 = (
    number("qty", 13, 4, "quantity"),
    number("price", 17, 8),
    number("liq", 25, 1, "liquidity"),
    number("match", 26, 8),
)

OUCH50_REPORTS = _table(
    Message("S", 10, (_TS, number("event", 9, 1))),
    Message(
        "A",
        64,
        (
            _TS,
            _REF,
            number("side", 13, 1, letters=SIDES),
            number("qty", 14, 4, "quantity"),
            text("symbol", 18, 8),
            number("price", 26, 8),
            number("tif", 34, 1, "time_in_force"),
            number("display", 35, 1),
            number("order_ref", 36, 8),
            number("capacity", 44, 1),
            number("iso", 45, 1),
            number("cross", 46, 1),
            number("state", 47, 1, letters="LD"),
            text("clordid", 48, 14, "cl_ord_id"),
        ),
    ),
    Message(
        "U",
        68,
        (
            _TS,
            number("orig", 9, 4, "previous_ref"),
            number("new", 13, 4, "user_ref"),
            number("side", 17, 1, letters=SIDES),
            number("qty", 18, 4, "quantity"),
            text("symbol", 22, 8),
            number("price", 30, 8),
            number("tif", 38, 1, "time_in_force"),
            number("display", 39, 1),
            number("order_ref", 40, 8),
            number("capacity", 48, 1),
            number("iso", 49, 1),
            number("cross", 50, 1),
            number("state", 51, 1, letters="LD"),
            text("clordid", 52, 14, "cl_ord_id"),
        ),
    ),
    Message("C", 18, (_TS, _REF, number("decrement", 13, 4, "quantity"), number("reason", 17, 1))),
    Message(
        "D",
        31,
        (
            _TS,
            _REF,
            number("decrement", 13, 4, "quantity"),
            number("reason", 17, 1),
            number("prevented", 18, 4),
            number("exec_px", 22, 8, "price"),
            number("liq", 30, 1, "liquidity"),
        ),
    ),
    Message("E", 36, (_TS, _REF, *_FILL50)),
    Message("F", 49, (_TS, _REF, *_FILL50, number("reason", 34, 1), text("clordid", 35, 14, "cl_ord_id"))),
    Message(
        "B", 36, (_TS, _REF, number("match", 13, 8), number("reason", 21, 1), text("clordid", 22, 14, "cl_ord_id"))
    ),
    Message("J", 29, (_TS, _REF, number("reason", 13, 2), text("clordid", 15, 14, "cl_ord_id"))),
    Message("P", 13, (_TS, _REF)),
    Message("I", 13, (_TS, _REF)),
    Message("T", 30, (_TS, _REF, number("price", 13, 8), number("display", 21, 1), number("order_ref", 22, 8))),
    Message("M", 18, (_TS, _REF, number("side", 13, 1, letters=SIDES), number("qty", 14, 4, "quantity"))),
    Message("R", 16, (_TS, _REF, number("reason", 13, 1))),
    Message("Q", 13, (_TS, number("next_userref", 9, 4, "user_ref"))),
)
OUCH50_REPORTS_APPENDED = "AUER"

# Tag: name of the value, bytes of it.
APPENDAGE_NUMBERS = {
    1: ("secondary_ref", 8),
    3: ("min_quantity", 4),
    4: ("customer_type", 1),
    5: ("max_floor", 4),
    6: ("price_type", 1),
    7: ("peg_offset", 4),
    9: ("discretion_price", 8),
    10: ("discretion_price_type", 1),
    11: ("discretion_peg_offset", 4),
    12: ("post_only", 1),
    13: ("random_reserves", 4),
    15: ("expire_time", 4),
    16: ("trade_now", 1),
    17: ("handle_inst", 1),
    18: ("bbo_weight", 1),
    19: ("reference_price", 8),
    20: ("reference_price_type", 1),
    22: ("display_quantity", 4),
    23: ("display_price", 8),
}
APPENDAGE_TEXTS = {2: ("firm", 4), 14: ("route", 4)}
APPENDAGE_SIGNED = (7, 11)

# ---- OUCH 4.2 --------------------------------------------------------------------------------------------------------

_TOKEN = text("token", 9, 14)


def _resting42(*more: Field) -> tuple[Field, ...]:
    return (
        _TS,
        _TOKEN,
        number("side", 23, 1, letters=SIDES),
        number("shares", 24, 4, "quantity"),
        text("stock", 28, 8, "symbol"),
        number("price", 36, 4),
        number("tif", 40, 4, "tif_seconds"),
        text("firm", 44, 4),
        number("display", 48, 1),
        number("order_ref", 49, 8),
        number("capacity", 57, 1),
        number("iso", 58, 1),
        number("min_qty", 59, 4, "min_quantity"),
        number("cross", 63, 1),
        number("state", 64, 1, letters="LD"),
        *more,
    )


_FILL42 = (
    number("shares", 23, 4, "quantity"),
    number("price", 27, 4),
    number("liquidity", 31, 1),
    number("match", 32, 8),
)

OUCH42_ORDERS = _table(
    Message(
        "O",
        49,
        (
            text("token", 1, 14),
            number("side", 15, 1),
            number("shares", 16, 4, "quantity"),
            text("stock", 20, 8, "symbol"),
            number("price", 28, 4),
            number("tif", 32, 4, "tif_seconds"),
            text("firm", 36, 4),
            number("display", 40, 1),
            number("capacity", 41, 1),
            number("iso", 42, 1),
            number("min_qty", 43, 4, "min_quantity"),
            number("cross", 47, 1),
            number("customer", 48, 1),
        ),
    ),
    Message(
        "U",
        47,
        (
            text("existing", 1, 14, "previous_token"),
            text("replacement", 15, 14, "token"),
            number("shares", 29, 4, "quantity"),
            number("price", 33, 4),
            number("tif", 37, 4, "tif_seconds"),
            number("display", 41, 1),
            number("iso", 42, 1),
            number("min_qty", 43, 4, "min_quantity"),
        ),
    ),
    Message("X", 19, (text("token", 1, 14), number("shares", 15, 4, "quantity"))),
    Message("M", 20, (text("token", 1, 14), number("side", 15, 1), number("shares", 16, 4, "quantity"))),
)

OUCH42_REPORTS = _table(
    Message("S", 10, (_TS, number("event", 9, 1))),
    Message("A", 66, _resting42(number("bbo_weight", 65, 1))),
    Message("U", 80, _resting42(text("prev_token", 65, 14, "previous_token"), number("bbo_weight", 79, 1))),
    Message("C", 28, (_TS, _TOKEN, number("decrement", 23, 4, "quantity"), number("reason", 27, 1))),
    Message(
        "D",
        37,
        (
            _TS,
            _TOKEN,
            number("decrement", 23, 4, "quantity"),
            number("reason", 27, 1),
            number("prevented_qty", 28, 4, "prevented"),
            number("exec_price", 32, 4, "price"),
            number("liquidity", 36, 1),
        ),
    ),
    Message("E", 40, (_TS, _TOKEN, *_FILL42)),
    Message(
        "G",
        45,
        (
            _TS,
            _TOKEN,
            *_FILL42,
            number("ref_price", 40, 4, "reference_price"),
            number("ref_type", 44, 1, "reference_type"),
        ),
    ),
    Message("F", 41, (_TS, _TOKEN, *_FILL42, number("reason", 40, 1))),
    Message("B", 32, (_TS, _TOKEN, number("match", 23, 8), number("reason", 31, 1))),
    Message("J", 24, (_TS, _TOKEN, number("reason", 23, 1))),
    Message("P", 23, (_TS, _TOKEN)),
    Message("I", 23, (_TS, _TOKEN)),
    Message("T", 36, (_TS, _TOKEN, number("price", 23, 4), number("display", 27, 1), number("order_ref", 28, 8))),
    Message("M", 28, (_TS, _TOKEN, number("side", 23, 1, letters=SIDES), number("shares", 24, 4, "quantity"))),
)

# ---- bytes and structures --------------------------------------------------------------------------------------------

Value = int | bytes


def compose(message: Message, values: Mapping[str, Value], *, appended: bool = False) -> bytes:
    """The bytes of a message; ``values`` by field name, an absent one is 0 or spaces. With ``appended`` room is left
    out for the two length bytes that end the fixed part."""
    length = message.length - 2 if appended else message.length
    target = bytearray(length)
    target[0] = ord(message.type)
    for field in message.fields:
        value = values.get(field.name, b"" if field.is_text else 0)
        if isinstance(value, bytes):
            target[field.offset : field.offset + field.size] = value.ljust(field.size)
        else:
            target[field.offset : field.offset + field.size] = value.to_bytes(field.size, "big")
    return bytes(target)


def place_of(structure: Any, place: str) -> tuple[Any, str, int]:
    """The structure, the member and the index that a place such as ``detail[2]`` names."""
    found = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", place)
    assert found is not None
    return structure, found[1], int(found[2]) if found[2] else -1


def store(structure: Any, field: Field, value: Value) -> None:
    """Put a value where the field belongs."""
    owner, member, index = place_of(structure, field.place)
    if isinstance(value, bytes):
        start = max(index, 0)
        ffi.buffer(getattr(owner, member))[start : start + field.size] = value.ljust(field.size)
    elif index >= 0:
        getattr(owner, member)[index] = value
    else:
        setattr(owner, member, value)


def load(structure: Any, field: Field) -> Value:
    """What stands where the field belongs."""
    owner, member, index = place_of(structure, field.place)
    if field.is_text:
        start = max(index, 0)
        return bytes(ffi.buffer(getattr(owner, member))[start : start + field.size])
    return int(getattr(owner, member)[index] if index >= 0 else getattr(owner, member))


def fill(structure: Any, message: Message, values: Mapping[str, Value]) -> None:
    """Put a whole message into a zeroed structure."""
    structure.type = ord(message.type)
    for field in message.fields:
        store(structure, field, values[field.name])


def read(structure: Any, message: Message) -> dict[str, Value]:
    """A whole message out of a structure."""
    return {field.name: load(structure, field) for field in message.fields}


def field_values(field: Field) -> st.SearchStrategy[Value]:
    """Any value that the field may bear."""
    if field.letters:
        return st.sampled_from([ord(letter) for letter in field.letters])
    if field.is_text:
        return st.text(ASCII, min_size=field.size, max_size=field.size).map(str.encode)
    return st.integers(0, (1 << 8 * field.size) - 1)


def message_values(message: Message) -> st.SearchStrategy[dict[str, Value]]:
    """Any values of all its fields."""
    return st.fixed_dictionaries({field.name: field_values(field) for field in message.fields})


def plain_values(message: Message) -> dict[str, Value]:
    """One value for each field, each different from its neighbours' and none of them zero."""
    values: dict[str, Value] = {}
    for position, field in enumerate(message.fields):
        if field.letters:
            values[field.name] = ord(field.letters[0])
        elif field.is_text:
            values[field.name] = bytes(ord("A") + (position + at) % 26 for at in range(field.size))
        else:
            values[field.name] = int.from_bytes(
                bytes(1 + (16 * position + at) % 127 for at in range(field.size)), "big"
            )
    return values
