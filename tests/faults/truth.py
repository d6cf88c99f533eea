"""The truth of a run, from the venue's wire tap and its own copy of the feed, in plain Python.

    tap  --> bytes of each connection --> SoupBinTCP --> orders in; the account's numbered stream out
    feed --> ITCH messages --> books

No codec of the engine takes part: field tables are written out below, from the protocols' own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hotpath.venues.tap import IN, TapRecord

ORDER_KINDS = b"OUX"
TICK_VALUE_MICROS = 100  # a ten-thousandth of a dollar
DEPTH_LEVELS = 5


@dataclass(frozen=True)
class OrderIn:
    """One whole order message as it reached the venue. `name`: user_ref (5.0) or token (4.2)."""

    frame: bytes  # transport header included
    kind: str
    name: bytes
    previous: bytes = b""


@dataclass(frozen=True)
class Execution:
    """What the stream says of one execution; `name` of its order."""

    name: bytes
    match: int
    quantity: int
    price: int


@dataclass
class Told:
    """One account's day, as the venue told it on the wire."""

    orders: list[OrderIn] = field(default_factory=list)  # in order of arrival, over all connections
    stream: dict[int, bytes] = field(default_factory=dict)  # sequenced messages by number
    connections: int = 0
    logins: int = 0
    contradictions: list[str] = field(default_factory=list)


def soup_packets(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(type, payload, whole frame) of every whole packet."""
    position = 0
    while position + 2 <= len(data):
        end = position + 2 + int.from_bytes(data[position : position + 2], "big")
        if end > len(data) or end < position + 3:
            return
        yield data[position + 2 : position + 3], data[position + 3 : end], data[position:end]
        position = end


def read_order(payload: bytes, frame: bytes, *, ouch50: bool) -> OrderIn | None:
    """An order message; None for other kinds."""
    kind = payload[:1]
    if kind not in (b"O", b"U", b"X"):
        return None
    size = 4 if ouch50 else 14
    first, second = payload[1 : 1 + size], payload[1 + size : 1 + 2 * size]
    if kind == b"U":
        return OrderIn(frame, "U", second, first)
    return OrderIn(frame, kind.decode(), first)


def read_told(records: Iterator[TapRecord] | list[TapRecord], *, ouch50: bool) -> Told:
    """Everything that passed over the wire, both ways."""
    told = Told()
    into: dict[int, bytearray] = {}
    out: dict[int, bytearray] = {}
    for record in records:
        side = into if record.direction == IN else out
        side.setdefault(record.connection, bytearray()).extend(record.data)
    told.connections = len(into | out)
    for connection in sorted(into | out):
        for kind, payload, frame in soup_packets(bytes(into.get(connection, b""))):
            order = read_order(payload, frame, ouch50=ouch50) if kind == b"U" else None
            if order is not None:
                told.orders.append(order)
        number = 0
        for kind, payload, _ in soup_packets(bytes(out.get(connection, b""))):
            if kind == b"A":
                told.logins += 1
                number = int(payload[10:30])
            elif kind == b"S":
                if told.stream.setdefault(number, payload) != payload:
                    told.contradictions.append(f"message {number} was told in two ways")
                number += 1
    return told


# ---- the stream, folded -----------------------------------------------------------------------------------


@dataclass
class Account:
    """What an account's stream comes to: each execution once, as it stands at the end."""

    position: dict[str, int] = field(default_factory=dict)  # lots by symbol
    cash_micros: int = 0
    bought: int = 0
    sold: int = 0
    executions: int = 0  # unique
    repeated: int = 0  # told again
    broken: int = 0
    corrected: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    reasons: set[int] = field(default_factory=set)  # of rejects


def _name(payload: bytes, *, ouch50: bool) -> bytes:
    """The order that a message is about; a replaced one's new name."""
    if not ouch50:
        return payload[9:23]
    return payload[13:17] if payload[:1] == b"U" else payload[9:13]


def _execution(payload: bytes, *, ouch50: bool) -> Execution:
    """E and F begin alike."""
    if ouch50:
        quantity, price = struct.unpack_from(">IQ", payload, 13)
        (match,) = struct.unpack_from(">Q", payload, 26)
    else:
        quantity, price = struct.unpack_from(">II", payload, 23)
        (match,) = struct.unpack_from(">Q", payload, 32)
    return Execution(_name(payload, ouch50=ouch50), match, quantity, price)


def fold(stream: dict[int, bytes], orders: list[OrderIn], *, ouch50: bool) -> Account:
    """Position, cash and counts after the whole stream. Side and symbol of an order are as it was entered."""
    account = Account()
    sides: dict[bytes, tuple[int, str]] = {}
    for order in orders:
        if order.kind == "O":
            payload = order.frame[3:]
            letter, stock = (payload[5:6], payload[10:18]) if ouch50 else (payload[15:16], payload[20:28])
            sides[order.name] = (1 if letter == b"B" else -1, stock.decode().rstrip())
        elif order.kind == "U" and order.previous in sides:
            sides[order.name] = sides[order.previous]
    standing: dict[tuple[bytes, int], Execution] = {}
    broken: set[tuple[bytes, int]] = set()
    for _, payload in sorted(stream.items()):
        kind = payload[:1].decode()
        account.kinds[kind] = account.kinds.get(kind, 0) + 1
        if kind in "EF":
            execution = _execution(payload, ouch50=ouch50)
            key = (execution.name, execution.match)
            if kind == "F":
                account.corrected += 1
                standing[key] = execution
            elif key in standing or key in broken:
                account.repeated += 1
            else:
                account.executions += 1
                standing[key] = execution
        elif kind == "B":
            offset = 13 if ouch50 else 23
            key = (_name(payload, ouch50=ouch50), struct.unpack_from(">Q", payload, offset)[0])
            standing.pop(key, None)
            account.broken += key not in broken  # even before it is told: then it will not count
            broken.add(key)
        elif kind == "J":
            offset, size = (13, 2) if ouch50 else (23, 1)
            account.reasons.add(int.from_bytes(payload[offset : offset + size], "big"))
    for execution in standing.values():
        sign, symbol = sides[execution.name]
        account.position[symbol] = account.position.get(symbol, 0) + sign * execution.quantity
        account.cash_micros -= sign * execution.quantity * execution.price * TICK_VALUE_MICROS
        if sign > 0:
            account.bought += execution.quantity
        else:
            account.sold += execution.quantity
    account.position = {symbol: lots for symbol, lots in account.position.items() if lots}
    return account


# ---- the feed ---------------------------------------------------------------------------------------------


def read_messages(path: Path) -> list[bytes]:
    """The messages of a length-prefixed file; number i + 1 is at i."""
    data = path.read_bytes()
    messages, position = [], 0
    while position + 2 <= len(data):
        length = data[position] << 8 | data[position + 1]
        messages.append(data[position + 2 : position + 2 + length])
        position += 2 + length
    return messages


@dataclass
class Resting:
    """One order of the public book."""

    locate: int
    side: int
    price: int
    quantity: int


Top = tuple[int, int, int, int, int, int]  # bid, ask, their quantities, the sums of the best five levels


def books(messages: list[bytes]) -> dict[int, Top]:
    """Top of the book by locate after these messages: orders in a dict, levels by sorting."""
    orders: dict[int, Resting] = {}
    locates: set[int] = set()
    for message in messages:
        kind = message[:1]
        locate = int.from_bytes(message[1:3], "big")
        locates.add(locate)
        if kind in (b"A", b"F"):
            ref, side, shares, price = (
                int.from_bytes(message[11:19], "big"),
                0 if message[19:20] == b"B" else 1,
                int.from_bytes(message[20:24], "big"),
                int.from_bytes(message[32:36], "big"),
            )
            orders[ref] = Resting(locate, side, price, shares)
        elif kind in (b"E", b"C", b"X"):
            ref = int.from_bytes(message[11:19], "big")
            orders[ref].quantity -= int.from_bytes(message[19:23], "big")
            if orders[ref].quantity <= 0:
                del orders[ref]
        elif kind == b"D":
            del orders[int.from_bytes(message[11:19], "big")]
        elif kind == b"U":
            old = orders.pop(int.from_bytes(message[11:19], "big"))
            price, shares = int.from_bytes(message[31:35], "big"), int.from_bytes(message[27:31], "big")
            orders[int.from_bytes(message[19:27], "big")] = Resting(old.locate, old.side, price, shares)
    return {locate: _top(orders, locate) for locate in locates if locate}


def _top(orders: dict[int, Resting], locate: int) -> Top:
    sides = []
    for side in (0, 1):
        levels: dict[int, int] = {}
        for order in orders.values():
            if order.locate == locate and order.side == side:
                levels[order.price] = levels.get(order.price, 0) + order.quantity
        best = sorted(levels.items(), reverse=side == 0)[:DEPTH_LEVELS]
        sides.append((*(best[0] if best else (0, 0)), sum(quantity for _, quantity in best)))
    (bid, bid_quantity, bid_depth), (ask, ask_quantity, ask_depth) = sides
    return bid, ask, bid_quantity, ask_quantity, bid_depth, ask_depth
