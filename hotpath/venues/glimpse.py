"""The snapshot service, as GLIMPSE 5.0 gives it: where the books stand now, for whoever missed how they came to.

    connect --> login --> directory, trading state and live orders of every instrument, in queue order,
                          then the number of the first message that they do not hold --> logout, or silence

Each login gets a snapshot of the instant at which it came: what the feed publishes from then on continues it
without a hole. SoupBinTCP sequenced packets, numbered from 1 in each connection.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from ffi import ffi, lib
from hotpath.errors import VenueError
from hotpath.venues.config import SimulatorConfig
from hotpath.venues.market import DIRECTORY_DETAIL, Market
from hotpath.venues.sessions import soup

RECEIVE_BYTES = 4096
LOGIN_BYTES_MAX = 512
STATE_LETTERS = {
    lib.STATE_TRADING: "T",
    lib.STATE_HALTED: "H",
    lib.STATE_PAUSED: "P",
    lib.STATE_QUOTATION: "Q",
}
MILLISECOND_NS = 1_000_000


@dataclass(eq=False)
class Client:
    """One connection: not yet logged in, being sent its snapshot, or idle."""

    socket: socket.socket
    heard_ns: int
    spoke_ns: int
    logged_in: bool = False
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    closing: bool = False  # once `unsent` has left


class GlimpseServer:
    """Snapshots of the market's books over one listening socket. Nothing here blocks."""

    def __init__(self, config: SimulatorConfig, market: Market) -> None:
        self.config = config
        self.market = market
        self.clients: dict[int, Client] = {}  # by file descriptor
        self.counts = dict.fromkeys(("snapshots_out", "snapshot_messages_out", "snapshot_login_rejects"), 0)
        self.listener: socket.socket | None = None
        self.port: int | None = None
        self._packet, self._login = ffi.new("soup_packet *"), ffi.new("soup_login *")
        if config.glimpse_port < 0:
            return
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.listener.bind((config.glimpse_host, config.glimpse_port))
        except OSError as error:
            raise VenueError(f"snapshot port {config.glimpse_host}:{config.glimpse_port}: {error.strerror}") from None
        self.listener.listen(8)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]

    # ---- the loop's entry points -------------------------------------------------------------------

    def readers(self) -> list[int]:
        """Descriptors to wait on."""
        return [self.listener.fileno(), *self.clients] if self.listener else []

    def writers(self) -> list[int]:
        """Descriptors with bytes that the kernel would not take at once."""
        return [fd for fd, client in self.clients.items() if client.unsent]

    def ready(self, fd: int, now_ns: int) -> None:
        """A descriptor became readable."""
        if self.listener and fd == self.listener.fileno():
            self._accept(now_ns)
        elif fd in self.clients:
            self._receive(self.clients[fd], now_ns)

    def writable(self, fd: int) -> None:
        """A descriptor takes bytes again."""
        if fd in self.clients:
            self._flush(self.clients[fd])

    def keep_alive(self, now_ns: int) -> None:
        """Heartbeats out; silent clients dropped."""
        for client in list(self.clients.values()):
            if (now_ns - client.heard_ns) // MILLISECOND_NS > self.config.client_timeout_ms:
                self._close(client)
            elif client.logged_in and now_ns - client.spoke_ns >= self.config.heartbeat_ms * MILLISECOND_NS:
                self._send(client, soup(lib.SOUP_SERVER_HEARTBEAT), now_ns)

    def close(self) -> None:
        """Cut what is left and stop listening."""
        for client in list(self.clients.values()):
            self._close(client)
        if self.listener:
            self.listener.close()

    # ---- bytes -------------------------------------------------------------------------------------

    def _accept(self, now_ns: int) -> None:
        assert self.listener is not None, "somebody accepted it"
        try:
            accepted, _ = self.listener.accept()
        except OSError:
            return  # it went away between the poll and now
        accepted.setblocking(False)
        self.clients[accepted.fileno()] = Client(accepted, heard_ns=now_ns, spoke_ns=now_ns)

    def _receive(self, client: Client, now_ns: int) -> None:
        try:
            data = client.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(client)
            return
        client.heard_ns = now_ns
        client.received += data
        while not client.closing and self._take_packet(client, now_ns):
            pass
        if len(client.received) > LOGIN_BYTES_MAX:
            self._close(client)  # it announces a packet longer than any it may send

    def _take_packet(self, client: Client, now_ns: int) -> bool:
        """One whole packet of the client; False when none is whole."""
        data, packet = bytes(client.received), self._packet
        source = ffi.from_buffer(data)
        status = lib.soup_parse(source, len(data), packet)
        if status == lib.SOUP_NEED_MORE:
            return False
        if status != lib.SOUP_OK or packet.type == lib.SOUP_LOGOUT_REQUEST:
            self._close(client)
            client.closing = True
            return False
        if packet.type == lib.SOUP_LOGIN_REQUEST and not client.logged_in:
            self._log_in(client, packet, now_ns)
        del client.received[: packet.size]
        return True

    def _send(self, client: Client, data: bytes | bytearray, now_ns: int) -> None:
        client.spoke_ns = now_ns
        client.unsent += data
        self._flush(client)

    def _flush(self, client: Client) -> None:
        while client.unsent:
            try:
                sent = client.socket.send(client.unsent)
            except BlockingIOError:
                return
            except OSError:
                self._close(client)
                return
            del client.unsent[:sent]
        if client.closing:
            self._close(client)

    def _close(self, client: Client) -> None:
        if self.clients.pop(client.socket.fileno(), None) is not None:
            client.socket.close()

    # ---- snapshots ---------------------------------------------------------------------------------

    def _log_in(self, client: Client, packet: Any, now_ns: int) -> None:
        login = self._login
        if lib.soup_login_decode(packet, login) != lib.SOUP_OK:
            self._close(client)
            client.closing = True
            return
        username, password, session = (
            bytes(ffi.buffer(getattr(login, name))).decode("ascii", "replace").strip().upper()
            for name in ("username", "password", "session")
        )
        known = (self.config.glimpse_username.upper(), self.config.glimpse_password.upper())
        if (username, password) != known or session not in ("", self.config.session.upper()):
            self.counts["snapshot_login_rejects"] += 1
            client.closing = True
            self._send(client, soup(lib.SOUP_LOGIN_REJECTED, b"A" if (username, password) != known else b"S"), now_ns)
            return
        client.logged_in = True
        target = ffi.new("uint8_t[64]")
        size = lib.soup_accept_encode(self.config.session.rjust(10).encode(), 1, target, len(target))
        self._send(client, bytes(ffi.buffer(target, size)) + self.snapshot(), now_ns)

    def snapshot(self) -> bytes:
        """Every packet of a snapshot of this instant."""
        market = self.market
        time_ns = market.now_ns - self.config.midnight_ns
        named = sorted(market.symbols.items(), key=lambda item: item[1])
        packets = bytearray()
        for name, instrument in named:
            packets += self._about(name, instrument, time_ns)
        orders = int(lib.book_order_count(market.live_book()))
        buffer = ffi.new("uint8_t[]", orders * lib.GLIMPSE_ORDER_BYTES + 1)
        written, size = 0, ffi.new("uint64_t *")
        for name, instrument in named:
            terms = ffi.new("glimpse_instrument *", {"time_ns": time_ns, "locate": market.locate_of(instrument)})
            terms.stock = name.ljust(8).encode()
            room = len(buffer) - written
            status = lib.glimpse_orders(market.live_book(), instrument, terms, buffer + written, room, size)
            if status != lib.GLIMPSE_OK:
                raise VenueError(f"snapshot: an order of {name} does not fit its message (status {status})")
            written += size[0]
        packets += ffi.buffer(buffer, written)
        packets += _packet("G", order_ref=int(lib.publisher_next_sequence(market.publisher)))
        self.counts["snapshots_out"] += 1
        self.counts["snapshot_messages_out"] += 2 * len(named) + orders + 1
        return bytes(packets)

    def _about(self, name: str, instrument: int, time_ns: int) -> bytes:
        """The directory entry and the trading state of one instrument."""
        head = {"time_ns": time_ns, "locate": self.market.locate_of(instrument), "stock": name.ljust(8).encode()}
        state = STATE_LETTERS.get(self.market.trading_state(instrument), "T")
        return _packet("R", **head, detail=DIRECTORY_DETAIL, number=(100, 0)) + _packet("H", **head, event=ord(state))


def _packet(type_: str, **fields: Any) -> bytes:
    """One sequenced packet around one ITCH message, by the names of its fields in itch_message."""
    message = ffi.new("itch_message *", {"type": ord(type_)})
    ffi.buffer(ffi.addressof(message, "detail"))[:] = b" " * ffi.sizeof(message.detail)
    for name, value in fields.items():
        if name == "detail":
            ffi.buffer(ffi.addressof(message, "detail"))[: len(value)] = value
        elif name == "number":
            message.number[0 : len(value)] = value
        else:
            setattr(message, name, value)
    target = ffi.new("uint8_t[64]")
    length = lib.itch_encode(message, target, len(target))
    if not length:
        raise VenueError(f"snapshot: an ITCH message of type {type_} cannot be encoded: {fields}")
    return soup(lib.SOUP_SEQUENCED, bytes(ffi.buffer(target, length)))
