"""SoupBinTCP server: logins, sequenced replay, heartbeats, logout and end of session.

    connect --> login (or a timeout) --> replay of the stream from the number asked for --> live
                                         unsequenced payloads go to the desk

One connection per account: a later login takes the session over, and the earlier connection is closed.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ffi import ffi, lib
from hotpath.errors import VenueError
from hotpath.venues.config import SimulatorConfig
from hotpath.venues.orders import Account, Desk, DropCopy
from hotpath.venues.tap import IN, OUT, Address, Tap

RECEIVE_BYTES = 65536
MESSAGES_MAX = 512  # of a stream, in one send
UNSENT_BYTES_MAX = 16 << 20  # a client that reads nothing for so long is dropped
PACKET_BYTES_MAX = 512  # of a client: longer is not OUCH
MILLISECOND_NS = 1_000_000


@dataclass(eq=False)
class Connection:
    """One accepted socket."""

    number: int
    socket: socket.socket
    client: Address
    server: Address
    heard_ns: int
    spoke_ns: int
    account: Account | DropCopy | None = None
    next_sequence: int = 1  # of the account's stream, to be sent next
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    closing: bool = False  # close once `unsent` has left


def soup(type_: int, payload: bytes = b"") -> bytes:
    """One packet."""
    target = ffi.new("uint8_t[]", lib.SOUP_HEADER_SIZE + len(payload))
    size = lib.soup_encode(type_, payload, len(payload), target, len(target))
    return bytes(ffi.buffer(target, size))


class SessionServer:
    """All order sessions over one listening socket. Nothing here blocks."""

    def __init__(
        self,
        config: SimulatorConfig,
        desk: Desk,
        tap: Tap,
        wrap: Callable[[socket.socket], socket.socket] = lambda accepted: accepted,
    ) -> None:
        self.config = config
        self.wrap = wrap  # of every accepted socket
        self.desk = desk
        self.tap = tap
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.listener.bind((config.order_host, config.order_port))
        except OSError as error:
            raise VenueError(f"order port {config.order_host}:{config.order_port}: {error.strerror}") from None
        self.listener.listen(16)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.connections: dict[int, Connection] = {}  # by file descriptor
        self.logins = 0
        self.counts = dict.fromkeys(("connections", "logins", "login_rejects", "timeouts", "bytes_in", "bytes_out"), 0)
        self._packet = ffi.new("soup_packet *")
        self._login = ffi.new("soup_login *")

    # ---- the loop's entry points -------------------------------------------------------------------

    def readers(self) -> list[int]:
        """Descriptors to wait on."""
        return [self.listener.fileno(), *self.connections]

    def writers(self) -> list[int]:
        """Descriptors with bytes that the kernel would not take at once."""
        return [fd for fd, connection in self.connections.items() if connection.unsent]

    def ready(self, fd: int, now_ns: int) -> None:
        """A descriptor became readable."""
        if fd == self.listener.fileno():
            self._accept(now_ns)
        elif fd in self.connections:
            self._receive(self.connections[fd], now_ns)

    def writable(self, fd: int) -> None:
        """A descriptor takes bytes again."""
        if fd in self.connections:
            self._flush(self.connections[fd])

    def publish(self, now_ns: int) -> None:
        """Send each session what its stream has grown by."""
        for connection in list(self.connections.values()):
            account = connection.account
            if account is None or connection.next_sequence > len(account.stream):
                continue
            while not connection.unsent and self._publish_some(connection, account, now_ns):
                pass

    def _publish_some(self, connection: Connection, account: Account | DropCopy, now_ns: int) -> int:
        """The next messages of its stream; how many there were."""
        fresh = account.stream.since(connection.next_sequence, limit=MESSAGES_MAX)
        if fresh:
            connection.next_sequence += len(fresh)
            self._send(connection, b"".join(soup(lib.SOUP_SEQUENCED, payload) for payload in fresh), now_ns)
        return len(fresh)

    def keep_alive(self, now_ns: int) -> None:
        """Heartbeats out; silent and half-open clients dropped."""
        for connection in list(self.connections.values()):
            silence_ms = (now_ns - connection.heard_ns) // MILLISECOND_NS
            limit = self.config.login_timeout_ms if connection.account is None else self.config.client_timeout_ms
            if silence_ms > limit:
                self.counts["timeouts"] += 1
                self._close(connection)
            elif connection.account and now_ns - connection.spoke_ns >= self.config.heartbeat_ms * MILLISECOND_NS:
                self._send(connection, soup(lib.SOUP_SERVER_HEARTBEAT), now_ns)

    def end_sessions(self, now_ns: int) -> None:
        """End of session to all; their connections close once it has left."""
        self.publish(now_ns)
        for connection in list(self.connections.values()):
            account = connection.account
            if account is not None:
                while self._publish_some(connection, account, now_ns):
                    pass
                self._send(connection, soup(lib.SOUP_END_OF_SESSION), now_ns)
            connection.closing = True
            self._flush(connection)

    def disconnect_all(self) -> None:
        """Cut every connection, as a network would."""
        for connection in list(self.connections.values()):
            self._close(connection)

    def close(self) -> None:
        """Cut what is left and stop listening."""
        for connection in list(self.connections.values()):
            self._close(connection, orders_live_on=True)
        self.listener.close()

    # ---- bytes -------------------------------------------------------------------------------------

    def _accept(self, now_ns: int) -> None:
        try:
            accepted, client = self.listener.accept()
        except OSError:
            return  # it went away between the poll and now
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.counts["connections"] += 1
        connection = Connection(
            self.counts["connections"],
            self.wrap(accepted),
            client,
            accepted.getsockname(),
            heard_ns=now_ns,
            spoke_ns=now_ns,
        )
        self.connections[accepted.fileno()] = connection

    def _receive(self, connection: Connection, now_ns: int) -> None:
        try:
            data = connection.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        self.counts["bytes_in"] += len(data)
        self.tap.session(
            direction=IN, connection=connection.number, data=data, client=connection.client, server=connection.server
        )
        if connection.closing:
            return
        connection.heard_ns = now_ns
        connection.received += data
        self._parse(connection, now_ns)

    def _parse(self, connection: Connection, now_ns: int) -> None:
        """Every whole packet in the buffer."""
        data = bytes(connection.received)
        source = ffi.from_buffer(data)
        position, packet = 0, self._packet
        while not connection.closing:
            status = lib.soup_parse(source + position, len(data) - position, packet)
            if status == lib.SOUP_NEED_MORE:
                break
            if status != lib.SOUP_OK or packet.size > PACKET_BYTES_MAX:
                self._close(connection)
                return
            self._handle(connection, packet, now_ns)
            position += packet.size
        del connection.received[:position]
        if len(connection.received) > PACKET_BYTES_MAX:
            self._close(connection)  # it announces a packet longer than any it may send

    def _handle(self, connection: Connection, packet: Any, now_ns: int) -> None:
        if connection.account is None:
            if packet.type == lib.SOUP_LOGIN_REQUEST:
                self._log_in(connection, packet, now_ns)
            elif packet.type != lib.SOUP_DEBUG:
                self._close(connection)
        elif packet.type == lib.SOUP_UNSEQUENCED:
            payload = bytes(ffi.buffer(packet.payload, packet.length))
            if isinstance(connection.account, DropCopy):
                self._answer_copy(connection, connection.account, payload, now_ns)
            else:
                self.desk.receive(connection.account, payload)
        elif packet.type == lib.SOUP_LOGOUT_REQUEST:
            self._close(connection)

    def _answer_copy(self, connection: Connection, copy: DropCopy, payload: bytes, now_ns: int) -> None:
        """Positions, behind every execution that they count."""
        self.desk.deliver(self.desk.market.take_reports())
        while self._publish_some(connection, copy, now_ns):
            pass
        answer = [soup(lib.SOUP_UNSEQUENCED, each) for each in copy.answer(payload)]
        self._send(connection, b"".join(answer), now_ns)

    def _send(self, connection: Connection, data: bytes, now_ns: int) -> None:
        connection.spoke_ns = now_ns
        connection.unsent += data
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        while connection.unsent:
            try:
                sent = connection.socket.send(connection.unsent)
            except BlockingIOError:
                break
            except OSError:
                self._close(connection)
                return
            self.counts["bytes_out"] += sent
            self.tap.session(
                direction=OUT,
                connection=connection.number,
                data=bytes(connection.unsent[:sent]),
                client=connection.client,
                server=connection.server,
            )
            del connection.unsent[:sent]
        if len(connection.unsent) > UNSENT_BYTES_MAX or (connection.closing and not connection.unsent):
            self._close(connection)

    def _close(self, connection: Connection, *, orders_live_on: bool = False) -> None:
        if self.connections.pop(connection.socket.fileno(), None) is None:
            return
        connection.socket.close()
        account, connection.account = connection.account, None
        if isinstance(account, Account) and account.config.cancel_on_disconnect and not orders_live_on:
            self.desk.cancel_all(account)

    # ---- logins ------------------------------------------------------------------------------------

    def _log_in(self, connection: Connection, packet: Any, now_ns: int) -> None:
        login = self._login
        if lib.soup_login_decode(packet, login) != lib.SOUP_OK:
            self._close(connection)
            return
        username, password, session = (
            bytes(ffi.buffer(getattr(login, name))).decode("ascii", "replace").strip().upper()
            for name in ("username", "password", "session")
        )
        account: Account | DropCopy | None = self.desk.accounts.get(username) or self.desk.copies.get(username)
        if account is None or account.config.password.upper() != password:
            self._reject_login(connection, b"A", now_ns)
        elif session not in ("", self.config.session.upper()) or login.sequence > len(account.stream) + 1:
            self._reject_login(connection, b"S", now_ns)
        else:
            self._welcome(connection, account, int(login.sequence), now_ns)

    def _reject_login(self, connection: Connection, reason: bytes, now_ns: int) -> None:
        self.counts["login_rejects"] += 1
        connection.closing = True
        self._send(connection, soup(lib.SOUP_LOGIN_REJECTED, reason), now_ns)

    def _welcome(self, connection: Connection, account: Account | DropCopy, sequence: int, now_ns: int) -> None:
        for other in list(self.connections.values()):
            if other.account is account:
                self._close(other, orders_live_on=True)  # the same client, come back before its old cut was seen
        self.counts["logins"] += 1
        connection.account = account
        connection.next_sequence = sequence or len(account.stream) + 1
        target = ffi.new("uint8_t[64]")
        size = lib.soup_accept_encode(
            self.config.session.rjust(10).encode(), connection.next_sequence, target, len(target)
        )
        self._send(connection, bytes(ffi.buffer(target, size)), now_ns)


def wait(readers: list[int], writers: list[int], timeout_s: float) -> tuple[list[int], list[int]]:
    """Descriptors that are ready; select, whose time-out is finer than epoll's millisecond."""
    with contextlib.suppress(InterruptedError):
        ready, writable, _ = select.select(readers, writers, [], timeout_s)
        return ready, writable
    return [], []
