"""The simulator's drop copy: a second SoupBinTCP session of an account, which reports and never trades.

This is the simulator's own protocol. A public standard for it would be FIX 4.4 (ExecutionReport 8, RequestForPositions
AN, PositionReport AP); the session here is the one that its orders use, and the messages are these, big-endian:

    sequenced, venue to client
        X  execution   kind(1: E executed, B broken, F corrected) time(8, ns since midnight) account(6)
                       reference(14: the order's ClOrdID, or its token in OUCH 4.2) symbol(8)
                       side(1: B or S) quantity(4) price(8, 1/10000) match(8)
    unsequenced
        P  request     number(4): positions, please
        L  line        number(4) symbol(8) lots(8, signed; short below 0)
        Z  end         number(4) executions(8): lines count X messages up to this number, lines(4)

Positions are of the day and of what the account brought into it. A position that is flat has no line.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

EXECUTION = struct.Struct(">ccQ6s14s8scIQQ")
REQUEST = struct.Struct(">cI")
LINE = struct.Struct(">cI8sq")
END = struct.Struct(">cIQI")


@dataclass(frozen=True)
class CopyExecution:
    """One execution as the venue reports it: what happened, or that it did not, or at which other price."""

    kind: str  # "E", "B", "F"
    time_ns: int
    account: str
    reference: str
    symbol: str
    side: str  # "B", "S"
    quantity: int
    price: int
    match: int

    def encode(self) -> bytes:
        """The message."""
        return EXECUTION.pack(
            b"X",
            self.kind.encode(),
            self.time_ns,
            self.account.encode().ljust(6),
            self.reference.encode().ljust(14),
            self.symbol.encode().ljust(8),
            self.side.encode(),
            self.quantity,
            self.price,
            self.match,
        )


@dataclass(frozen=True)
class CopyLine:
    """A position that is not flat."""

    request: int
    symbol: str
    lots: int


@dataclass(frozen=True)
class CopyEnd:
    """The last word of an answer: what it counted."""

    request: int
    executions: int
    lines: int


def decode(payload: bytes) -> CopyExecution | CopyLine | CopyEnd | None:
    """A message of the venue; None when it is none of these."""
    try:
        match payload[:1]:
            case b"X":
                _, kind, time_ns, account, reference, symbol, side, quantity, price, match = EXECUTION.unpack(payload)
                texts = (text.decode("ascii").rstrip() for text in (kind, account, reference, symbol, side))
                kind, account, reference, symbol, side = texts
                if kind not in ("E", "B", "F") or side not in ("B", "S"):
                    return None
                return CopyExecution(kind, time_ns, account, reference, symbol, side, quantity, price, match)
            case b"L":
                _, request, symbol, lots = LINE.unpack(payload)
                return CopyLine(request, symbol.decode("ascii").rstrip(), lots)
            case b"Z":
                _, request, executions, lines = END.unpack(payload)
                return CopyEnd(request, executions, lines)
    except (struct.error, UnicodeDecodeError):
        return None
    return None


def encode_request(number: int) -> bytes:
    """Ask for positions."""
    return REQUEST.pack(b"P", number)


def decode_request(payload: bytes) -> int | None:
    """The number of a request; None when it is none."""
    return int(REQUEST.unpack(payload)[1]) if len(payload) == REQUEST.size and payload[:1] == b"P" else None


def encode_positions(request: int, positions: dict[str, int], *, executions: int) -> list[bytes]:
    """The answer: a line for each that is not flat, then the end."""
    lines = [LINE.pack(b"L", request, symbol.encode().ljust(8), lots) for symbol, lots in positions.items() if lots]
    return [*lines, END.pack(b"Z", request, executions, len(lines))]
