"""The audit log: who asked for what, and what became of it. Each line carries a hash over the line before it.

    <state_dir>/<engine>.audit.jsonl
    {"sequence":1,...,"hash":h1}   h1 = SHA-256(64 zeros + line 1 without its hash)
    {"sequence":2,...,"hash":h2}   h2 = SHA-256(h1       + line 2 without its hash)

A line is on disk before anybody is told of it. Whoever appends holds flock(2) on the file, so that the control process
and a command at the host may both do so. A process that was killed in a write leaves a line without an end: nobody was
told of it, and the next to append sets it aside. Lines can be changed or left out only by changing every hash behind
them: keep the last hash elsewhere (`hotctl audit verify` prints it) and the file is evidence.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from hotctl.errors import AuditError

NO_HASH = "0" * 64
TAIL_BYTES = 64 << 10  # that hold at least the last line: longer ones are refused
LINE_BYTES_MAX = 48 << 10

# What a line tells.
INTENT = "intent"  # somebody may, and is about to
OUTCOME = "outcome"  # what became of it
PENDING = "pending"  # it waits for a second person
REFUSED = "refused"  # it was not done, and why
OBSERVED = "observed"  # it was done elsewhere: a kill at the host, a signal


class Record(Struct, frozen=True):
    """One line."""

    sequence: int  # from 1, dense
    time_ns: int  # since 1970
    kind: str
    identity: str = ""
    role: str = ""
    method: str = ""
    request_id: str = ""
    reason: str = ""
    detail: dict[str, Any] = {}
    hash: str = ""

    def body(self) -> bytes:
        """What is hashed: the line without its hash."""
        return _ENCODER.encode(msgspec.structs.replace(self, hash=""))


_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Record)


def audit_path(state_dir: str | Path, engine: str) -> Path:
    """Where an engine's audit log is."""
    return Path(state_dir) / f"{engine}.audit.jsonl"


def chained(previous: str, record: Record) -> str:
    """The hash of a record behind the one that `previous` is of."""
    return hashlib.sha256(previous.encode() + record.body()).hexdigest()


class AuditLog:
    """The file, for who appends to it and for who reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, *, sync: bool = True, **fields: Any) -> Record:
        """Add one line; returns it. `sync`: have it on disk before this returns; without, it survives this process
        but not a loss of power. Raises AuditError."""
        try:
            with self._locked() as descriptor:
                last = self._last(descriptor)
                sequence, previous = (last.sequence + 1, last.hash) if last else (1, NO_HASH)
                record = Record(sequence=sequence, time_ns=time.time_ns(), kind=kind, **fields)
                record = msgspec.structs.replace(record, hash=chained(previous, record))
                line = _ENCODER.encode(record) + b"\n"
                if len(line) > LINE_BYTES_MAX:
                    raise AuditError(f"{self.path}: a line of {len(line)} bytes is too long")
                _write(descriptor, line)
                if sync:
                    os.fdatasync(descriptor)
                return record
        except OSError as error:
            raise AuditError(f"{self.path}: cannot be written: {error.strerror}") from None

    def sync(self) -> None:
        """Have every line on disk."""
        try:
            with self._locked() as descriptor:
                os.fdatasync(descriptor)
        except OSError as error:
            raise AuditError(f"{self.path}: cannot be synced: {error.strerror}") from None

    @contextmanager
    def _locked(self) -> Iterator[int]:
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if new:  # a name is on disk only when its folder is
                folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
            yield descriptor
        finally:
            os.close(descriptor)

    def _last(self, descriptor: int) -> Record | None:
        """The last whole line; one without an end is set aside."""
        size = os.fstat(descriptor).st_size
        start = max(0, size - TAIL_BYTES)
        tail = os.pread(descriptor, size - start, start)
        if tail and not tail.endswith(b"\n"):
            whole = tail.rfind(b"\n") + 1
            if not whole and start:
                raise AuditError(f"{self.path}: its last line is no line of ours", next_step="hotctl audit verify")
            with self.path.with_name(f"{self.path.name}.torn").open("ab") as aside:
                aside.write(tail[whole:] + b"\n")
            os.ftruncate(descriptor, start + whole)
            tail = tail[:whole]
        if not tail:
            return None
        line = tail[:-1].rpartition(b"\n")[2]
        try:
            return _DECODER.decode(line)
        except msgspec.MsgspecError as error:
            raise AuditError(
                f"{self.path}: its last line is damaged: {error}", next_step="hotctl audit verify"
            ) from None

    def lines(self) -> Iterator[bytes]:
        """Every whole line as it stands, without its end; none when there is no file."""
        try:
            with self.path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield line[:-1]
        except FileNotFoundError:
            return

    def records(self) -> Iterator[Record]:
        """Every line, oldest first. Raises AuditError at one that is damaged."""
        for number, line in enumerate(self.lines(), start=1):
            try:
                yield _DECODER.decode(line)
            except msgspec.MsgspecError as error:
                raise AuditError(f"{self.path}:{number}: damaged: {error}", next_step="hotctl audit verify") from None


class Verdict(Struct, frozen=True):
    """Whether an audit log is whole."""

    whole: bool
    records: int  # that are
    head_hash: str  # of the last of those
    detail: str  # what is wrong with the one behind; empty when all are whole


def verify(path: Path, *, head: str = "") -> Verdict:
    """Check the chain from its first line to its last; `head` is a hash that must stand in it, as kept elsewhere."""
    previous, count, seen = NO_HASH, 0, not head
    for number, line in enumerate(AuditLog(path).lines(), start=1):
        try:
            record = _DECODER.decode(line)
        except msgspec.MsgspecError as error:
            return Verdict(False, count, previous, f"line {number} is no record: {error}")
        if record.sequence != number:
            return Verdict(False, count, previous, f"line {number} says that it is number {record.sequence}")
        if _ENCODER.encode(record) != line:
            return Verdict(False, count, previous, f"line {number} holds what no record holds")
        if record.hash != chained(previous, record):
            return Verdict(False, count, previous, f"line {number} does not hash to what it says: changed, or moved")
        previous, count = record.hash, number
        seen = seen or record.hash == head
    if not seen:
        return Verdict(False, count, previous, f"no line has the hash {head}: lines were cut off or made again")
    return Verdict(True, count, previous, "")


def _write(descriptor: int, line: bytes) -> None:
    """All of it; one write(2) where the system lets it be one."""
    while line:
        line = line[os.write(descriptor, line) :]
