"""A tap on the order session's wire: passes it on, keeps every byte, and knows what had arrived at any instant.

    gateway --TCP--> [kernel | tap] --TCP--> venue            the tap stands where the venue's host would

`mark` takes down, for each connection, how many bytes this host's kernel has of it, read or not. A new order or a
replacement of which a byte arrives after the mark is late, however long the tap, or the venue behind it, does not read.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import select
import socket
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

RECEIVE_BYTES = 65536
POLL_SECONDS = 0.01
SOUP_UNSEQUENCED = ord("U")
ORDERS = (ord("O"), ord("U"))  # OUCH: a new order, a replacement


@dataclass(eq=False)
class Line:
    """One connection of the gateway's."""

    client: socket.socket
    server: socket.socket
    stream: bytearray = field(default_factory=bytearray)  # all that came from the gateway
    arrived: int | None = None  # of it at the mark; None: the connection is younger
    open: bool = True
    _parsed: int = 0
    orders: int = 0  # whole frames of new orders and replacements

    def take(self, data: bytes) -> None:
        """More of the stream."""
        self.stream += data
        for _, end, is_order in frames(self.stream, self._parsed):
            self._parsed = end
            self.orders += is_order


def frames(stream: bytes | bytearray, start: int = 0) -> Iterator[tuple[int, int, bool]]:
    """Every whole packet from `start` on: where it begins and ends, and whether it is a new order or a replacement."""
    at = start
    while at + 3 <= len(stream):
        end = at + 2 + int.from_bytes(stream[at : at + 2], "big")
        if end > len(stream):
            return
        yield at, end, end > at + 3 and stream[at + 2] == SOUP_UNSEQUENCED and stream[at + 3] in ORDERS
        at = end


class WireTap:
    """Listens on loopback and passes each connection on to `server`; a thread of its own does it."""

    def __init__(self, server: tuple[str, int], *, receive_bytes: int = 0) -> None:
        """`receive_bytes`: the kernel's room for what is not read; 0: the system's."""
        self.reading = True
        self.lines: list[Line] = []
        self._server = server
        self._lock = threading.Lock()
        self._over = False
        self._listener = socket.socket()
        if receive_bytes:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join()
        self._listener.close()
        for line in self.lines:
            line.client.close()
            line.server.close()

    # ---- what is known -----------------------------------------------------------------------------

    @property
    def orders(self) -> int:
        """New orders and replacements so far, whole ones."""
        return sum(line.orders for line in self.lines)

    def mark(self) -> None:
        """From here on every order byte is late."""
        with self._lock:
            for line in self.lines:
                line.arrived = len(line.stream) + (_unread(line.client) if line.open else 0)

    def unmark(self) -> None:
        """What has arrived until now is forgotten, and nothing is late."""
        with self._lock:
            for line in self.lines:
                line.arrived = None

    def late(self) -> list[str]:
        """Orders of which a byte arrived after the mark; call it once everything that there is has been read."""
        found = []
        for number, line in enumerate(self.lines):
            arrived = line.arrived or 0
            for start, end, is_order in frames(line.stream):
                if is_order and end > arrived:
                    frame = line.stream[start:end].hex()
                    found.append(f"connection {number}, bytes {start} to {end}, mark at {arrived}: {frame}")
        return found

    def drained(self) -> bool:
        """Whether all that has arrived was read."""
        with self._lock:
            return all(not line.open or not _unread(line.client) for line in self.lines)

    # ---- the wire ----------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._over:
            watched = [self._listener]
            for line in self.lines:
                if line.open:
                    watched += [line.server, line.client] if self.reading else [line.server]
            ready, _, _ = select.select(watched, [], [], POLL_SECONDS)
            if self._listener in ready:
                self._accept()
            for line in self.lines:
                if line.open and line.client in ready and self.reading:
                    self._from_gateway(line)
                if line.open and line.server in ready:
                    self._from_venue(line)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._server, timeout=5)
        except OSError:
            client.close()
            return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(1.0)
        server.settimeout(1.0)
        with self._lock:
            self.lines.append(Line(client, server))

    def _from_gateway(self, line: Line) -> None:
        with self._lock:
            try:
                data = line.client.recv(RECEIVE_BYTES)
            except OSError:  # reset: all that had arrived was read before this is told
                data = b""
            line.take(data)
            if not data:
                self._close(line)
                return
        with contextlib.suppress(OSError):  # a venue that is gone hears no more; what came is kept
            line.server.sendall(data)

    def _from_venue(self, line: Line) -> None:
        try:
            data = line.server.recv(RECEIVE_BYTES)
            if data:
                line.client.sendall(data)
        except OSError:
            data = b""
        if not data:
            with self._lock:
                if not self.reading or _unread(line.client):
                    return  # what the gateway still said is read first
                self._close(line)

    def _close(self, line: Line) -> None:
        line.open = False
        line.client.close()
        line.server.close()


def _unread(connection: socket.socket) -> int:
    """Bytes that the kernel has and nobody has read."""
    found = array.array("i", [0])
    try:
        fcntl.ioctl(connection.fileno(), termios.FIONREAD, found)
    except OSError:
        return 0
    return max(0, found[0])
