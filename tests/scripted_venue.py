"""A venue for tests of the gateway: SoupBinTCP and OUCH 5.0 in plain Python, written from the field tables
and sharing no line with the codecs in C, so that it is their oracle too. It runs when pumped, in the test's
own thread, and does what the test tells it: refuse, fall silent, cut the line after any byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

TIME_NS = 34_200_000_000_000


@dataclass(frozen=True)
class WireOrder:
    """One order message as it came over the wire."""

    type: str
    user_ref: int
    previous_ref: int = 0
    side: str = ""
    quantity: int = 0
    symbol: str = ""
    price: int = 0
    time_in_force: str = ""
    client_order_id: str = ""


@dataclass
class Held:
    """An order that rests at the venue."""

    order: WireOrder
    leaves: int


def parse_order(message: bytes) -> WireOrder:
    kind = chr(message[0])
    if kind == "O":
        ref, side, quantity, symbol, price = struct.unpack_from(">IcI8sQ", message, 1)
        text = message[31:45].decode()
        assert len(message) == 47 + struct.unpack_from(">H", message, 45)[0]
        return WireOrder("O", ref, 0, side.decode(), quantity, symbol.decode().rstrip(), price, chr(message[26]), text)
    if kind == "U":
        previous, ref, quantity, price = struct.unpack_from(">IIIQ", message, 1)
        return WireOrder("U", ref, previous, "", quantity, "", price, chr(message[21]), message[24:38].decode())
    if kind == "X":
        ref, quantity = struct.unpack_from(">II", message, 1)
        return WireOrder("X", ref, quantity=quantity)
    if kind == "Q":
        return WireOrder("Q", 0)
    raise AssertionError(f"no such order message: {message!r}")


def accepted(order: WireOrder, *, order_ref: int = 900, state: str = "L") -> bytes:
    return struct.pack(
        ">cQIcI8sQccQcccc14sH",
        b"A", TIME_NS, order.user_ref, order.side.encode(), order.quantity, order.symbol.encode().ljust(8), order.price,
        b"0", b"Y", order_ref, b"P", b"N", b"N", state.encode(), order.client_order_id.encode(), 0,
    )  # fmt: skip


def replaced(order: WireOrder, original: WireOrder, *, quantity: int, state: str = "L") -> bytes:
    return struct.pack(
        ">cQIIcI8sQccQcccc14sH",
        b"U", TIME_NS, order.previous_ref, order.user_ref, original.side.encode(), quantity,
        original.symbol.encode().ljust(8), order.price, b"0", b"Y", 901, b"P", b"N", b"N", state.encode(),
        order.client_order_id.encode(), 0,
    )  # fmt: skip


def canceled(user_ref: int, quantity: int, reason: str = "U") -> bytes:
    return struct.pack(">cQIIc", b"C", TIME_NS, user_ref, quantity, reason.encode())


def executed(user_ref: int, quantity: int, price: int, match: int) -> bytes:
    return struct.pack(">cQIIQcQH", b"E", TIME_NS, user_ref, quantity, price, b"R", match, 0)


def rejected(user_ref: int, reason: int) -> bytes:
    return struct.pack(">cQIH14s", b"J", TIME_NS, user_ref, reason, b"X" * 14)


def broken(user_ref: int, match: int) -> bytes:
    return struct.pack(">cQIQc14s", b"B", TIME_NS, user_ref, match, b"E", b"X" * 14)


def corrected(user_ref: int, quantity: int, price: int, match: int) -> bytes:
    return struct.pack(">cQIIQcQc14s", b"F", TIME_NS, user_ref, quantity, price, b"R", match, b"E", b"X" * 14)


def system_event(code: str) -> bytes:
    return struct.pack(">cQc", b"S", TIME_NS, code.encode())


def query_answer(next_ref: int) -> bytes:
    return struct.pack(">cQI", b"Q", TIME_NS, next_ref)


def packet(kind: str, payload: bytes = b"") -> bytes:
    return struct.pack(">H", len(payload) + 1) + kind.encode() + payload


class ScriptedVenue:
    """One session of one account. `stream` is the sequenced stream so far; message n is stream[n - 1]."""

    def __init__(self, *, port: int = 0) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(8)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.session = "       DAY"
        self.stream: list[bytes] = []
        self.wire: list[WireOrder] = []  # everything received, in order, over all connections
        self.live: dict[int, Held] = {}  # by user_ref
        self.next_ref = 1
        self.next_match = 1
        self.logins: list[bytes] = []
        self.heartbeats = 0
        self.logouts = 0
        self.login_answer: Callable[[bytes], bytes] | None = None
        self.answers_orders = True
        self.answers_query = True
        self.reads = True
        self.cut_after: int | None = None  # close each connection when so many more bytes have been sent
        self.drop_inbound_after: int | None = None  # close before treating so many more order messages
        self.fill_on_accept = False
        self.connection: socket.socket | None = None
        self._inbound = b""
        self._outbound = b""
        self._told = 0  # messages of the stream given to this connection

    # ---- the line --------------------------------------------------------------------------------

    def pump(self) -> None:
        """Accept, read, answer, write: whatever can be done without waiting."""
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            pass
        else:
            self.drop()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = connection
        self._read()
        self._write()

    def drop(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self._inbound = b""
        self._outbound = b""
        self._told = -1

    def close(self) -> None:
        self.drop()
        self.listener.close()

    def _read(self) -> None:
        if self.connection is None or not self.reads:
            return
        try:
            received = self.connection.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            received = b""
        if not received:
            self.drop()
            return
        self._inbound += received
        while len(self._inbound) >= 3:
            (length,) = struct.unpack_from(">H", self._inbound)
            if len(self._inbound) < 2 + length:
                return
            kind, payload = chr(self._inbound[2]), self._inbound[3 : 2 + length]
            self._inbound = self._inbound[2 + length :]
            self._packet(kind, payload)  # may close the line, which empties the buffer

    def _write(self) -> None:
        if self.connection is None:
            return
        if self._told >= 0:
            for message in self.stream[self._told :]:
                self._outbound += packet("S", message)
            self._told = len(self.stream)
        data = self._outbound if self.cut_after is None else self._outbound[: self.cut_after]
        if data:
            try:
                sent = self.connection.send(data)
            except BlockingIOError:
                return
            except ConnectionError:
                self.drop()
                return
            self._outbound = self._outbound[sent:]
            if self.cut_after is not None:
                self.cut_after -= sent
        if self.cut_after == 0:
            self.drop()
            self.cut_after = None

    def say(self, data: bytes) -> None:
        """Put raw bytes on the line."""
        self._outbound += data

    def connection_receive_bytes(self, size: int) -> None:
        """Make the receive buffer small, so that the other side's writes soon do not fit."""
        assert self.connection is not None
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    # ---- the session -----------------------------------------------------------------------------

    def _packet(self, kind: str, payload: bytes) -> None:
        if kind == "R":
            self.heartbeats += 1
        elif kind == "O":
            self.logouts += 1
            self.drop()
        elif kind == "L":
            self._login(payload)
        elif kind == "U":
            if self.drop_inbound_after is not None:
                if self.drop_inbound_after == 0:
                    self.drop_inbound_after = None
                    self.drop()
                    return
                self.drop_inbound_after -= 1
            self._order(parse_order(payload))
        else:
            raise AssertionError(f"no such packet: {kind}")

    def _login(self, payload: bytes) -> None:
        assert len(payload) == 46
        self.logins.append(payload)
        if self.login_answer is not None:
            self.say(self.login_answer(payload))
            return
        requested = int(payload[26:46])
        sequence = requested or len(self.stream) + 1
        self.say(packet("A", self.session.encode() + str(sequence).rjust(20).encode()))
        self._told = sequence - 1

    def _order(self, order: WireOrder) -> None:
        self.wire.append(order)
        if order.type == "Q":
            if self.answers_query:
                self.stream.append(query_answer(self.next_ref))
            return
        if not self.answers_orders:
            return
        if order.type == "X":
            held = self.live.pop(order.user_ref, None)
            if held is not None:
                self.stream.append(canceled(order.user_ref, held.leaves))
            return
        if order.user_ref < self.next_ref:
            return  # a number used before is ignored
        self.next_ref = order.user_ref + 1
        if order.type == "O":
            self.live[order.user_ref] = Held(order, order.quantity)
            self.stream.append(accepted(order))
            if self.fill_on_accept:
                self.fill(order.user_ref, order.quantity)
            return
        held = self.live.pop(order.previous_ref, None)
        if held is None:
            return  # a replacement of a dead order is ignored
        self.live[order.user_ref] = Held(replace(held.order, user_ref=order.user_ref), order.quantity)
        self.stream.append(replaced(order, held.order, quantity=order.quantity))

    def fill(self, user_ref: int, quantity: int, *, price: int = 1_000_000) -> None:
        """Execute so many shares of a live order."""
        held = self.live[user_ref]
        held.leaves -= quantity
        if held.leaves <= 0:
            del self.live[user_ref]
        self.stream.append(executed(user_ref, quantity, price, self.next_match))
        self.next_match += 1

    def new_orders(self) -> list[WireOrder]:
        """New orders and replacements received."""
        return [order for order in self.wire if order.type in "OU"]
