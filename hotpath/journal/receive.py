"""``hotpath journal receive``: takes copies of growing journals, each run into a folder of its own.

What comes over the wire is trusted only as far as it is checked: names are those of a journal's files, pieces follow
each other, none is larger than a megabyte, and its checksum holds. A piece is acknowledged when it is on this disk.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

from hotpath.errors import JournalError
from hotpath.journal import format as layout
from hotpath.journal.format import END_FILE, INSTRUMENTS_FILE, RUN_FILE
from hotpath.journal.ship import INTENTS, LOCK, PIECE, VERSION, Peer, Stream, read_line, send_line
from hotpath.journal.writer import sync_folder

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
FILE_NAME = re.compile(r"[a-z_.]{1,40}\.\d{12,20}\.(events|chain)")
PLAIN_FILES = {RUN_FILE, INSTRUMENTS_FILE, END_FILE, INTENTS}
FILE_BYTES_MAX = 1 << 34
IDLE_SECONDS = 60.0


class Receiver:
    """Listens; one thread a connection."""

    def __init__(self, root: Path, peer: Peer) -> None:
        """`peer`: where to listen; port 0 is any. Raises JournalError."""
        peer.refuse_open()
        self.root = root
        self._context = peer.context(server=True) if peer.tls else None
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._socket = socket.create_server((peer.host, peer.port))
        except OSError as error:
            raise JournalError(f"{peer.host}:{peer.port}: cannot be listened on: {error.strerror}") from None
        self.port = int(self._socket.getsockname()[1])

    def serve(self) -> None:
        """Until `close`."""
        while True:
            try:
                plain, address = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(plain, address), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _connection(self, plain: socket.socket, address: Any) -> None:
        plain.settimeout(IDLE_SECONDS)
        try:
            wrapped = self._context.wrap_socket(plain, server_side=True) if self._context else plain
            with wrapped, wrapped.makefile("rwb") as stream:
                try:
                    self._take(stream)
                except JournalError as error:
                    send_line(stream, {"refused": str(error)})
                    stream.flush()
                    raise
        except (OSError, ssl.SSLError, JournalError) as error:
            print(f"journal: receive: {address[0]}: {error}", file=sys.stderr, flush=True)
        finally:
            plain.close()

    def _take(self, stream: Stream) -> None:
        hello = read_line(stream) or {}
        run = hello.get("run")
        if hello.get("ship") != VERSION or not isinstance(run, str) or not RUN_NAME.fullmatch(run):
            raise JournalError(f"no shipper of version {VERSION}")
        folder = self.root / run
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise JournalError(f"{run}: another shipper writes it") from None
            send_line(stream, {"have": held(folder)})
            stream.flush()
            while (message := read_line(stream)) is not None:
                name, size = take_piece(folder, message, stream)
                send_line(stream, {"synced": {name: size}})
                stream.flush()


def held(folder: Path) -> dict[str, int]:
    """Bytes of each file of a copy."""
    return {path.name: path.stat().st_size for path in folder.iterdir() if accepts(path.name)}


def accepts(name: str) -> bool:
    """Whether a file of this name belongs to a journal's copy."""
    return name in PLAIN_FILES or FILE_NAME.fullmatch(name) is not None


def take_piece(folder: Path, message: dict[str, Any], stream: Stream) -> tuple[str, int]:
    """Write one piece through to the disk; returns the file and its size. Raises JournalError."""
    name, offset, size, crc = (message.get(key) for key in ("file", "offset", "size", "crc"))
    if not isinstance(name, str) or not accepts(name):
        raise JournalError(f"{str(name)[:60]!r} is no file of a journal")
    if not isinstance(offset, int) or not isinstance(size, int) or not 0 < size <= PIECE:
        raise JournalError(f"{name}: a piece of {size} bytes at {offset}")
    path = folder / name
    present = path.stat().st_size if path.exists() else 0
    if offset != present or offset + size > FILE_BYTES_MAX:
        raise JournalError(f"{name}: a piece at {offset}, here are {present}")
    data = stream.read(size)
    if len(data) != size:
        raise JournalError(f"{name}: cut off in a piece")
    if layout.crc32c(data) != crc:
        raise JournalError(f"{name}: the checksum of a piece does not hold")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        written = 0
        while written < size:
            written += os.write(descriptor, data[written:])
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    if not present:
        sync_folder(folder)
    return name, offset + size
