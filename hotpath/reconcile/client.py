"""A session that listens to a drop copy: logs in from message 1, keeps itself alive, asks for positions.

Nothing here waits longer than it is told to; a lost connection is taken up again after RETRY_SECONDS.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator

from hotpath.reconcile.wire import CopyEnd, CopyExecution, CopyLine, decode, encode_request

RETRY_SECONDS = 0.5
HEARTBEAT_SECONDS = 1.0
SILENCE_SECONDS = 5.0
LOGIN_BYTES = 49
PACKET_BYTES_MAX = 1 << 16
RECEIVE_BYTES = 1 << 16


class CopyClient:
    """Iterate over `poll` for what the venue says; `up` while it is heard."""

    def __init__(self, host: str, port: int, *, username: str, password: str) -> None:
        self._address = (host, port)
        self._login = f"{username:<6}{password:<10}{'':<10}".encode()
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._unsent = bytearray()
        self._retry_at = self._heard = self._spoke = 0.0
        self._requests = 0
        self.up = False
        self.trouble = "not connected yet"
        self.executions = 0  # number of the last one heard
        self.logins = 0

    def fileno(self) -> int:
        """Of the socket; -1 when there is none."""
        return self._socket.fileno() if self._socket else -1

    def ask(self) -> int:
        """Ask for positions; the number that the answer will bear, 0 when nobody can be asked."""
        if not self.up:
            return 0
        self._requests += 1
        self._queue(b"U", encode_request(self._requests))
        self._flush()
        return self._requests

    def poll(self, seconds: float) -> Iterator[CopyExecution | CopyLine | CopyEnd]:
        """What came within so long. An execution's number is `executions`, once it is given out."""
        now = time.monotonic()
        if self._socket is None:
            if now < self._retry_at:
                time.sleep(min(seconds, self._retry_at - now))
                return
            self._connect(now)
        if self._socket is None:
            return
        ready, writable, _ = select.select([self._socket], [self._socket] if self._unsent else [], [], seconds)
        if writable:
            self._flush()
        if ready:
            self._receive()
        yield from self._packets()
        self._keep_alive(time.monotonic())

    def close(self) -> None:
        """Leave; the venue sees the end of the connection."""
        self._drop("closed")

    # ---- the line ----------------------------------------------------------------------------------

    def _connect(self, now: float) -> None:
        line = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        line.setblocking(False)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            line.connect(self._address)
        except BlockingIOError:
            pass
        except OSError as error:
            line.close()
            self._retry_at, self.trouble = now + RETRY_SECONDS, f"connection refused: {error.strerror}"
            return
        self._socket, self._heard, self._spoke, self.executions = line, now, now, 0
        self._queue(b"L", self._login + b"1".rjust(20))

    def _drop(self, why: str) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self.up, self.trouble = None, False, why
        self._retry_at = time.monotonic() + RETRY_SECONDS
        self._received.clear()
        self._unsent.clear()

    def _queue(self, kind: bytes, payload: bytes = b"") -> None:
        self._unsent += struct.pack(">H", len(payload) + 1) + kind + payload

    def _flush(self) -> None:
        if self._socket is None:
            return
        try:
            del self._unsent[: self._socket.send(self._unsent)]
            self._spoke = time.monotonic()
        except BlockingIOError:
            pass
        except OSError as error:
            self._drop(f"connection lost: {error.strerror}")

    def _receive(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(f"connection lost: {error.strerror}")
            return
        if not data:
            self._drop("the venue ended the connection")
            return
        self._heard = time.monotonic()
        self._received += data

    def _keep_alive(self, now: float) -> None:
        if self._socket is None:
            return
        if now - self._heard > SILENCE_SECONDS:
            self._drop(f"nothing heard for {SILENCE_SECONDS:g} s")
        elif self.up and now - self._spoke > HEARTBEAT_SECONDS:
            self._queue(b"R")
            self._flush()

    # ---- packets -----------------------------------------------------------------------------------

    def _packets(self) -> Iterator[CopyExecution | CopyLine | CopyEnd]:
        while len(self._received) >= 3:
            (length,) = struct.unpack_from(">H", self._received)
            if length == 0:
                self._drop("bytes that are no packet")
                return
            if len(self._received) < 2 + length:
                return
            kind, payload = self._received[2:3], bytes(self._received[3 : 2 + length])
            del self._received[: 2 + length]
            yield from self._packet(bytes(kind), payload)

    def _packet(self, kind: bytes, payload: bytes) -> Iterator[CopyExecution | CopyLine | CopyEnd]:
        if kind == b"A":
            self.up, self.trouble = True, ""
            self.logins += 1
        elif kind == b"J":
            self._drop(f"login refused ({payload[:1].decode('ascii', 'replace')})")
        elif kind == b"Z":
            self._drop("the venue ended the session")
        elif kind in (b"S", b"U"):
            message = decode(payload)
            if message is None:
                self._drop("a message that cannot be understood")
                return
            if kind == b"S":
                self.executions += 1
            yield message
