"""A venue's counterparty written from the specifications with struct alone: it shares no code with the
engine or the simulator, so that both can be tested against it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE_S = 20.0


class Venue:
    """The simulator in a process of its own, stopped at the end."""

    def __init__(self, **settings: Any) -> None:
        arguments = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        command = [sys.executable, "-m", "hotpath.venues"]
        for argument in arguments:
            command += ["--set", argument]
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed in stop)
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=dict(os.environ)
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(PATIENCE_S)
            self.errors.seek(0)
            raise AssertionError(f"the simulator did not start: {self.errors.read().decode()}")
        self.ready: dict[str, Any] = json.loads(line)
        self.summary: dict[str, Any] = {}

    def finish(self, *, kill: bool = True) -> dict[str, Any]:
        """Its summary: after SIGTERM, or after its own end."""
        if not self.summary:
            if kill:
                self.process.send_signal(signal.SIGTERM)
            out, _ = self.process.communicate(timeout=PATIENCE_S)
            self.errors.seek(0)
            assert self.process.returncode == 0, self.errors.read().decode()
            self.errors.close()
            self.summary = json.loads(out.splitlines()[-1])
        return self.summary

    def control(self, **command: Any) -> dict[str, Any]:
        """One command over the control port."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(PATIENCE_S)
            s.sendto(json.dumps(command).encode(), ("127.0.0.1", self.ready["control_port"]))
            answer: dict[str, Any] = json.loads(s.recv(4096))
            return answer

    def __enter__(self) -> Venue:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.errors.close()


class FeedReader:
    """MoldUDP64: collects messages in order, asks again for what is missing."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.messages: list[bytes] = []
        self.packets = 0
        self.ended = False
        self.recovered = 0

    @staticmethod
    def unpack(packet: bytes) -> tuple[str, int, int, list[bytes]]:
        """(session, sequence, count, messages); every byte is accounted for."""
        session, sequence, count = struct.unpack_from(">10sQH", packet)
        position, messages = 20, []
        for _ in range(0 if count == 0xFFFF else count):
            (length,) = struct.unpack_from(">H", packet, position)
            messages.append(packet[position + 2 : position + 2 + length])
            position += 2 + length
        assert position == len(packet)
        return session.decode(), sequence, count, messages

    def read_to_end(self, ready: dict[str, Any]) -> list[bytes]:
        """Until end of session, gaps filled; then the whole stream."""
        deadline = time.monotonic() + PATIENCE_S
        self.socket.settimeout(0.2)
        while not self.ended:
            assert time.monotonic() < deadline, "no end of session"
            with contextlib.suppress(TimeoutError):
                self._take(self.socket.recv(2048), ready)
        return self.messages

    def _take(self, packet: bytes, ready: dict[str, Any]) -> None:
        session, sequence, count, messages = self.unpack(packet)
        assert session == ready["session"].ljust(10)
        self.packets += 1
        if sequence > len(self.messages) + 1:
            self.recover(sequence - 1, ready)
        skip = len(self.messages) + 1 - sequence
        self.messages += messages[skip:]
        self.ended = self.ended or count == 0xFFFF

    def recover(self, last: int, ready: dict[str, Any]) -> None:
        """Ask for every message up to `last` that is missing, also those yet to come."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.05)
            while len(self.messages) < last:
                first = len(self.messages) + 1
                request = struct.pack(
                    ">10sQH", ready["session"].ljust(10).encode(), first, min(last - first + 1, 60000)
                )
                s.sendto(request, (ready["retransmission_host"], ready["retransmission_port"]))
                with contextlib.suppress(TimeoutError):
                    _, sequence, _, messages = self.unpack(s.recv(2048))
                    if sequence == first:
                        self.messages += messages
                        self.recovered += len(messages)
                        continue
                time.sleep(0.01)

    def __enter__(self) -> FeedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@contextlib.contextmanager
def venue_and_feed(**settings: Any) -> Iterator[tuple[Venue, FeedReader]]:
    """A simulator whose feed someone reads."""
    with FeedReader() as reader, Venue(feed_port=reader.port, **settings) as venue:
        yield venue, reader


class OrderClient:
    """SoupBinTCP client."""

    def __init__(
        self,
        ready: dict[str, Any],
        *,
        username: str = "HOTPTH",
        password: str = "simulator",
        session: str = "",
        sequence: int = 1,
    ) -> None:
        self.socket = socket.create_connection((ready["order_host"], ready["order_port"]), PATIENCE_S)
        self.buffer = b""
        self.stream: list[bytes] = []
        login = f"{username:6}{password:10}{session:10}{sequence:20}".encode()
        self.packet(b"L", login)
        self.answer = self.read()

    def packet(self, type_: bytes, payload: bytes = b"") -> None:
        """Send one packet."""
        self.socket.sendall(struct.pack(">H", 1 + len(payload)) + type_ + payload)

    def read(self, timeout_s: float = PATIENCE_S) -> tuple[bytes, bytes]:
        """The next packet; (b"", b"") when the venue has closed the connection."""
        while True:
            if len(self.buffer) >= 2:
                (length,) = struct.unpack_from(">H", self.buffer)
                if len(self.buffer) >= 2 + length:
                    packet, self.buffer = self.buffer[2 : 2 + length], self.buffer[2 + length :]
                    return packet[:1], packet[1:]
            if not select.select([self.socket], [], [], timeout_s)[0]:
                raise TimeoutError("the venue says nothing")
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return b"", b""
            self.buffer += data

    def message(self, kind: str = "") -> bytes:
        """The next sequenced message, or the next of some kind; heartbeats are passed over."""
        while True:
            type_, payload = self.read()
            assert type_ in (b"S", b"H"), (type_, payload)
            if type_ == b"S":
                self.stream.append(payload)
                if not kind or payload[:1] == kind.encode():
                    return payload

    def close(self) -> None:
        """Cut the connection."""
        self.socket.close()

    def __enter__(self) -> OrderClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def enter50(
    user_ref: int,
    *,
    side: str,
    quantity: int,
    symbol: str,
    price: int,
    tif: str = "0",
    cl_ord_id: str = "",
    appendage: bytes = b"",
) -> bytes:
    """OUCH 5.0 Enter Order."""
    return (
        struct.pack(
            ">cIcI8sQccccc14sH",
            b"O",
            user_ref,
            side.encode(),
            quantity,
            symbol.ljust(8).encode(),
            price,
            tif.encode(),
            b"Y",
            b"P",
            b"N",
            b"N",
            cl_ord_id.ljust(14).encode(),
            len(appendage),
        )
        + appendage
    )


def replace50(previous: int, user_ref: int, *, quantity: int, price: int, tif: str = "0") -> bytes:
    """OUCH 5.0 Replace Order."""
    return struct.pack(
        ">cIIIQccc14sH", b"U", previous, user_ref, quantity, price, tif.encode(), b"Y", b"N", b" " * 14, 0
    )


def cancel50(user_ref: int, remaining: int = 0) -> bytes:
    """OUCH 5.0 Cancel Order."""
    return struct.pack(">cII", b"X", user_ref, remaining)


def enter42(token: str, *, side: str, quantity: int, symbol: str, price: int, tif: int = 99998) -> bytes:
    """OUCH 4.2 Enter Order."""
    return struct.pack(
        ">c14scI8sII4scccIcc",
        b"O",
        token.ljust(14).encode(),
        side.encode(),
        quantity,
        symbol.ljust(8).encode(),
        price,
        tif,
        b"FIRM",
        b"Y",
        b"P",
        b"N",
        0,
        b"N",
        b" ",
    )


def replace42(token: str, new_token: str, *, quantity: int, price: int, tif: int = 99998) -> bytes:
    """OUCH 4.2 Replace Order."""
    return struct.pack(
        ">c14s14sIIIccI",
        b"U",
        token.ljust(14).encode(),
        new_token.ljust(14).encode(),
        quantity,
        price,
        tif,
        b"Y",
        b"N",
        0,
    )


def cancel42(token: str, remaining: int = 0) -> bytes:
    """OUCH 4.2 Cancel Order."""
    return struct.pack(">c14sI", b"X", token.ljust(14).encode(), remaining)
