"""Venue bytes in words: an ITCH message, an order frame of OUCH behind its SoupBinTCP header."""

from __future__ import annotations

from typing import Any

from ffi import ffi, lib
from hotpath.explain.story import WireBytes

SOUP_HEADER = 3  # length and type
PRICE_UNITS = 10_000  # of ITCH and OUCH: a price is in parts of so many of the currency
ITCH_NAMES = {
    "A": "add order", "F": "add order with attribution", "E": "order executed", "C": "order executed with price",
    "X": "order cancel", "D": "order delete", "U": "order replace", "P": "trade", "Q": "cross trade",
    "B": "broken trade", "S": "system event", "R": "stock directory", "H": "trading action",
    "Y": "short sale restriction", "L": "market participant position", "I": "imbalance", "N": "retail interest",
}  # fmt: skip
OUCH_NAMES = {"O": "enter order", "U": "replace order", "X": "cancel order", "M": "modify order"}


def price_units(price: int) -> str:
    """A wire price as money: 5853300 is "585.3300"."""
    return f"{price // PRICE_UNITS}.{price % PRICE_UNITS:04d}"


def time_of_day(time_ns: int) -> str:
    """Nanoseconds since midnight as 09:30:00.000000123."""
    seconds, rest = divmod(time_ns, 10**9)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:09d}"


def itch_words(message: bytes) -> WireBytes:
    """An ITCH 5.0 message; one that cannot be read is shown as bytes alone."""
    decoded = ffi.new("itch_message *")
    if not message or lib.itch_decode(message, len(message), decoded) != lib.ITCH_OK:
        return WireBytes(hex=message.hex(), says="not a message of ITCH 5.0", fields={})
    fields: dict[str, str | int] = {"locate": int(decoded.locate), "time": time_of_day(int(decoded.time_ns))}
    for name in ("order_ref", "new_ref", "match", "shares"):
        _put(fields, name, int(getattr(decoded, name)))
    if decoded.price:
        fields["price"] = price_units(int(decoded.price))
    for name in ("side", "printable", "event"):
        _put(fields, name, _letter(getattr(decoded, name)))
    for name in ("stock", "mpid"):
        _put(fields, name, ffi.string(getattr(decoded, name)).decode("ascii", "replace").strip())
    kind = _letter(decoded.type)
    return WireBytes(hex=message.hex(), says=f"ITCH 5.0 {kind}: {ITCH_NAMES.get(kind, 'message')}", fields=fields)


def order_words(frame: bytes, *, kind: int) -> WireBytes:
    """An order frame as it left: `kind` is enum venue_kind."""
    version, decode = ("4.2", lib.ouch42_decode_order) if kind == lib.VENUE_OUCH42 else ("5.0", lib.ouch50_decode_order)
    decoded = ffi.new("ouch_order *")
    message = frame[SOUP_HEADER:]
    if decode(message, len(message), decoded) != lib.OUCH_OK:
        return WireBytes(hex=frame.hex(), says="not an order of OUCH", fields={})
    letter = _letter(decoded.type)
    fields: dict[str, str | int] = {"user_ref": int(decoded.user_ref)}
    _put(fields, "previous_ref", int(decoded.previous_ref))
    _put(fields, "side", _letter(decoded.side))
    if decoded.quantity or letter == "X":
        fields["quantity"] = int(decoded.quantity)
    _put(fields, "symbol", ffi.string(decoded.symbol, 8).decode("ascii", "replace").strip())
    if decoded.price:
        fields["price"] = price_units(int(decoded.price))
    if letter != "X":
        _put(fields, "time_in_force", _letter(decoded.time_in_force))
        _put(fields, "display", _letter(decoded.display))
        _put(fields, "capacity", _letter(decoded.capacity))
    return WireBytes(
        hex=frame.hex(), says=f"OUCH {version} {letter}: {OUCH_NAMES.get(letter, 'message')}", fields=fields
    )


def _letter(code: Any) -> str:
    value = code if isinstance(code, int) else ord(code)
    return chr(value) if 0x20 < value < 0x7F else ""


def _put(fields: dict[str, str | int], name: str, value: str | int) -> None:
    """Fields that the message does not have are left out."""
    if value:
        fields[name] = value
