"""A journal copied to another disk as it grows: ``hotpath journal ship``, and what it says on the wire.

    shipper                                   receiver (receive.py)
      {"ship": 1, "run": NAME}           ->     takes the run's folder, alone
                                         <-   {"have": {file: bytes}}            what it holds: go on from there
      {"file", "offset", "size", "crc"}  ->     size bytes follow
                                         <-   {"synced": {file: bytes}}          on its disk

Only good records travel: a copy never holds a torn one. Lag is what was written here and is not yet on the other
disk, in events and in time; it stands in ship.json beside the journal, where `hotpath journal stat` finds it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import ssl
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hotpath.errors import JournalError
from hotpath.journal import format as layout
from hotpath.journal.format import END_FILE, HEAD_BYTES, INSTRUMENTS_FILE, RECORD_BYTES, RUN_FILE
from hotpath.journal.reader import Journal, Segment

VERSION = 1
PIECE = 1 << 20
LINE_MAX = 1 << 20
POLL_SECONDS = 0.05
STATUS_SECONDS = 0.5
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
STATUS_FILE = "ship.json"
INTENTS = "intents"
LOCK = ".lock"  # of a copy: whoever writes it holds it
SECOND_NS = 10**9


class Stream(Protocol):
    """Both directions of a connection."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...
    def write(self, data: bytes, /) -> int: ...
    def flush(self) -> None: ...


@dataclass(frozen=True)
class Peer:
    """The other side, and how it is known."""

    host: str
    port: int
    certificate: Path | None = None  # of this side, for TLS
    key: Path | None = None
    authority: Path | None = None  # that signed the other side's

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted, and both sides show who they are."""
        return self.certificate is not None

    def context(self, *, server: bool) -> ssl.SSLContext:
        """Both sides must show a certificate of the authority. Raises JournalError when a file is missing."""
        if self.certificate is None or self.key is None or self.authority is None:
            raise JournalError("TLS needs --cert, --key and --ca together")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except (OSError, ssl.SSLError) as error:
            raise JournalError(f"TLS: {error}") from None
        return context

    def refuse_open(self) -> None:
        """Raise JournalError for a plain connection that leaves this machine."""
        try:
            local = ipaddress.ip_address(socket.gethostbyname(self.host)).is_loopback
        except OSError as error:
            raise JournalError(f"{self.host}: {error}") from None
        if not local and not self.tls:
            raise JournalError(
                f"{self.host}: is another machine, and the connection would be open to read",
                next_step="give --cert, --key and --ca, or name 127.0.0.1 and a tunnel of your own",
            )


def parse_address(text: str) -> tuple[str, int]:
    """ "host:port". Raises JournalError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise JournalError(f"{text!r} is no HOST:PORT")
    return host.strip("[]"), int(port)


def send_line(stream: Stream, message: dict[str, Any]) -> None:
    """One message."""
    stream.write(json.dumps(message).encode() + b"\n")


def read_line(stream: Stream) -> dict[str, Any] | None:
    """The next message; None at the end. Raises JournalError when it is none."""
    line = stream.readline(LINE_MAX)
    if not line:
        return None
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict) or not line.endswith(b"\n"):
        raise JournalError(f"the other side speaks another language: {line[:40]!r}")
    return message


@dataclass
class Lag:
    """How far the copy is behind."""

    events: int = 0
    bytes: int = 0
    seconds: float = 0.0  # since the oldest event that is not on the other disk was published
    longest_seconds: float = 0.0
    connected: bool = False
    alert: bool = False
    shipped_bytes: int = 0
    updated_time_ns: int = 0


@dataclass
class Shipper:
    """Copies one run's folder until it has ended, or for ever while it goes on."""

    folder: Path
    peer: Peer
    alert_seconds: float = 5.0
    lag: Lag = field(default_factory=Lag)
    _have: dict[str, int] = field(default_factory=dict)  # sent
    _synced: dict[str, int] = field(default_factory=dict)  # on the other disk
    _told = 0.0

    def run(self, *, follow: bool = True) -> Lag:
        """Ship until the run's orderly end is on the other disk; with `follow` false, what is there now.

        A connection that is lost is made again; the copy goes on where it was.
        """
        failures = 0
        while True:
            try:
                self._session(follow=follow)
                self._tell(Journal(self.folder), force=True)
                return self.lag
            except (OSError, ssl.SSLError) as error:
                self.lag.connected = False
                if not follow:
                    raise JournalError(f"{self.peer.host}:{self.peer.port}: {error}") from None
                self._tell(Journal(self.folder), force=True)
                if not failures:
                    print(f"journal: ship: {self.peer.host}:{self.peer.port}: {error}; trying again", file=sys.stderr)
                time.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1

    def _session(self, *, follow: bool) -> None:
        with socket.create_connection((self.peer.host, self.peer.port), timeout=10) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wrapped: socket.socket = plain
            if self.peer.tls:
                wrapped = self.peer.context(server=False).wrap_socket(plain, server_hostname=self.peer.host)
            with wrapped, wrapped.makefile("rwb") as stream:
                send_line(stream, {"ship": VERSION, "run": self.folder.name})
                stream.flush()
                answer = read_line(stream) or {}
                if "have" not in answer:
                    raise JournalError(f"the receiver refused: {answer.get('refused', 'it closed the connection')}")
                self._have = {str(name): int(size) for name, size in answer["have"].items()}
                self._synced = dict(self._have)
                self.lag.connected = True
                self._copy(stream, follow=follow)

    def _copy(self, stream: Stream, *, follow: bool) -> None:
        journal = Journal(self.folder)
        while True:
            ended = journal.ended
            sent = self._send_round(stream, journal)
            self._tell(journal)
            if sent:
                journal.refresh()
                continue
            if ended and self._send_end(stream):
                continue
            if ended or not follow:
                return
            time.sleep(POLL_SECONDS)
            journal.refresh()

    def _send_round(self, stream: Stream, journal: Journal) -> bool:
        """Everything that is new, each file up to a bound; whether there was anything."""
        sent = False
        for name in (INSTRUMENTS_FILE, RUN_FILE):
            sent |= self._send_plain(stream, self.folder / name)
        for ring in journal.rings:
            for segment in journal.segments(ring):
                sent |= self._send_segment(stream, segment)
        return sent

    def _send_segment(self, stream: Stream, segment: Segment) -> bool:
        name = segment.path.name.removesuffix(".zst")
        size = HEAD_BYTES + segment.count * RECORD_BYTES
        begin = self._have.get(name, 0)
        sent = begin < size
        if sent and segment.compressed:
            with segment.path.open("rb") as file:
                data = file.read(HEAD_BYTES) + segment.raw().tobytes()
            for at in range(begin, size, PIECE):
                self._send_piece(stream, name, at, data[at : min(at + PIECE, size)])
        elif sent:
            with segment.path.open("rb") as file:
                for at in range(begin, size, PIECE):
                    self._send_piece(stream, name, at, os.pread(file.fileno(), min(PIECE, size - at), at))
        chain = layout.chain_path(segment.path)
        entries = layout.read_chain(chain)
        entries = entries[
            entries["first_sequence"] + entries["count"] <= segment.next
        ]  # none of records yet to be sent
        good = len(entries) * layout.ENTRY.itemsize
        begin = self._have.get(chain.name, 0)
        if begin < good:
            self._send_piece(stream, chain.name, begin, entries.tobytes()[begin:good])
            sent = True
        return sent

    def _send_plain(self, stream: Stream, path: Path) -> bool:
        begin = self._have.get(path.name, 0)
        if not path.exists() or begin >= path.stat().st_size:
            return False
        data = path.read_bytes()
        for at in range(begin, len(data), PIECE):
            self._send_piece(stream, path.name, at, data[at : at + PIECE])
        return True

    def _send_end(self, stream: Stream) -> bool:
        """The intents, then the end, once all the rest is there."""
        return self._send_plain(stream, self.folder / INTENTS) | self._send_plain(stream, self.folder / END_FILE)

    def _send_piece(self, stream: Stream, name: str, offset: int, data: bytes) -> None:
        """Send, and wait until it is on the other disk."""
        send_line(stream, {"file": name, "offset": offset, "size": len(data), "crc": layout.crc32c(data)})
        stream.write(data)
        stream.flush()
        answer = read_line(stream)
        if answer is None:
            raise ConnectionError("the receiver closed the connection")
        if "synced" not in answer:
            raise JournalError(f"the receiver refused: {answer.get('refused', answer)}")
        self._have[name] = offset + len(data)
        self._synced.update({str(file): int(size) for file, size in answer["synced"].items()})
        self.lag.shipped_bytes += len(data)

    def _tell(self, journal: Journal, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._told < STATUS_SECONDS:
            return
        self._told = now
        journal.refresh()
        self._measure(journal)
        lag = self.lag
        late = lag.seconds > self.alert_seconds
        if late != lag.alert:
            lag.alert = late
            what = f"the copy is {lag.seconds:.1f} s behind ({lag.events:,} events)" if late else "the copy caught up"
            print(f"journal: ship: {what}", file=sys.stderr, flush=True)
        draft = self.folder / f"{STATUS_FILE}.draft"
        draft.write_text(json.dumps({**lag.__dict__, "to": f"{self.peer.host}:{self.peer.port}"}))
        os.rename(draft, self.folder / STATUS_FILE)

    def _measure(self, journal: Journal) -> None:
        """Events here that are not there, and how old the oldest of them is."""
        events, oldest_ns = 0, 0
        for ring in journal.rings:
            for segment in journal.segments(ring):
                there = (self._synced.get(segment.path.name.removesuffix(".zst"), 0) - HEAD_BYTES) // RECORD_BYTES
                missing = segment.count - max(0, there)
                if missing > 0:
                    events += missing
                    first = segment.records()[max(0, there)]
                    time_ns = int(first["header"]["publish_time_ns"])
                    oldest_ns = min(oldest_ns or time_ns, time_ns)
        now_ns = time.time_ns()
        self.lag.events = events
        self.lag.bytes = events * RECORD_BYTES
        self.lag.seconds = max(0.0, (now_ns - oldest_ns) / SECOND_NS) if oldest_ns else 0.0
        self.lag.longest_seconds = max(self.lag.longest_seconds, self.lag.seconds)
        self.lag.updated_time_ns = now_ns
