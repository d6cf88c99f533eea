"""log.jsonl: every change of a registry, one line each, in a chain of hashes; it only grows.

    {"sequence": 7, "time": ..., "who": ..., "what": "alias", ..., "previous": hash of line 6, "hash": of this line}

A line that was changed, taken out or put in breaks the chain at that place. What can be taken off unseen is the end;
the aliases name the last line that moved them, and whoever keeps a copy of the last hash sees the rest.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from hotpath.registry.errors import RegistryError

LOG_FILE = "log.jsonl"
SEED = hashlib.sha256(b"hotpath registry 1").hexdigest()


class Identity(Struct, frozen=True):
    """Who did something, in which role."""

    user: str
    role: str = ""


class Entry(Struct, frozen=True, omit_defaults=True):
    """One line. `what`: admitted, refused, alias, repaired."""

    sequence: int
    time: str
    who: Identity
    what: str
    model: str = ""
    version: str = ""
    alias: str = ""
    before: str = ""
    reason: str = ""
    gate: str = ""
    previous: str = ""
    hash: str = ""


def hash_of(entry: Entry) -> str:
    """Of all but the hash itself."""
    bare = msgspec.structs.replace(entry, hash="")
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()


def read_log(path: Path) -> tuple[list[Entry], str]:
    """The lines as far as they hold, and what is wrong with the next one; empty when nothing is."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], ""
    entries: list[Entry] = []
    previous = SEED
    for number, line in enumerate(data.split(b"\n")):
        if not line:
            if number == data.count(b"\n"):
                break
            return entries, f"line {number + 1} is empty"
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            torn = number == data.count(b"\n")
            return entries, "its last line was cut off" if torn else f"line {number + 1} cannot be read"
        if (entry.sequence, entry.previous, entry.hash) != (number, previous, hash_of(entry)):
            return entries, f"line {number + 1} was changed, or one before it was taken out or put in"
        entries.append(entry)
        previous = entry.hash
    if data and not data.endswith(b"\n"):
        return entries[:-1], "its last line was cut off"
    return entries, ""


def append(path: Path, entry: Entry) -> Entry:
    """Add one line, on disk when this returns; sequence, time and hashes are filled in. The caller has the lock.

    A last line that a dead writer left half is set aside first. Raises RegistryError for a log that does not hold.
    """
    entries, trouble = read_log(path)
    if trouble == "its last line was cut off":
        _cut(path, entries)
    elif trouble:
        raise RegistryError(f"{path}: {trouble}", next_step="restore it from a copy; nothing is admitted until then")
    whole = msgspec.structs.replace(
        entry,
        sequence=len(entries),
        time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        previous=entries[-1].hash if entries else SEED,
    )
    whole = msgspec.structs.replace(whole, hash=hash_of(whole))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, msgspec.json.encode(whole) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return whole


def _cut(path: Path, entries: list[Entry]) -> None:
    data = path.read_bytes()
    whole = b"".join(line + b"\n" for line in data.split(b"\n")[: len(entries)])
    path.with_name(f"{path.name}.torn").write_bytes(data[len(whole) :])
    with path.open("r+b") as file:
        file.truncate(len(whole))
        os.fsync(file.fileno())
