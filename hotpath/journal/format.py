"""What a journal's folder holds, and how its bytes are told apart.

    <run>/run.json, instruments.npy        what the processes agreed on; their hashes are the beginning of each chain
    <run>/<ring>.<first>.events            journal_head 4,096 bytes, then records of 128 bytes: a slot each, its stamp
                                           replaced by the low half of sequence + 1 and a CRC-32C
    <run>/<ring>.<first>.events.zst        the same, closed and compressed: the head as it is, then a zstd frame
    <run>/<ring>.<first>.chain             journal_block 96 bytes, one for each 512 records
    <run>/<ring>.spare                     zeros, the next segment
    <run>/end.json                         written at the orderly end: events, losses and chain of each ring

`<first>` is the sequence of the first record, 12 digits. A segment begins where the one before ends; where it does
not, what lies between was overwritten before the journal read it. The structs stand in ffi/include/journal.h.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ffi import ffi, lib
from ffi.dtypes import dtype_of, layout_hash
from hotpath.errors import JournalError

MAGIC = int.from_bytes(b"HPJRNL01", "little")
FORMAT: int = lib.JOURNAL_FORMAT
HEAD_BYTES: int = lib.JOURNAL_HEAD_BYTES
RECORD_BYTES: int = lib.JOURNAL_RECORD_BYTES
BLOCK_RECORDS: int = lib.JOURNAL_BLOCK_RECORDS
BLOCK_BYTES = BLOCK_RECORDS * RECORD_BYTES
ENTRY = dtype_of("journal_block")
HEAD = dtype_of("journal_head")
SEGMENT = re.compile(r"([a-z_.]+)\.(\d{12,})\.events(\.zst)?")
RUN_FILE, INSTRUMENTS_FILE, END_FILE = "run.json", "instruments.npy", "end.json"
OTHER_FORMAT = "read it with the release that wrote it, or a later one"

EVENT_OF_RING = {
    "raw": "raw_event",
    "norm": "norm_event",
    "signal": "signal_event",
    "cmd": "cmd_event",
    "exec": "exec_event",
    "reject": "exec_event",
    "adjust": "adjustment_event",
    "changes": "limits_change",
    "intake": "request_event",
    "models": "model_change",
    "decision": "decision_event",
}


def event_type(ring: str) -> str:
    """Name of the struct in a ring's slots."""
    return EVENT_OF_RING.get(ring, "turn_event")


class RingEnd(Struct, frozen=True):
    """How one ring's journal ended."""

    events: int  # recorded
    lost: int  # overwritten before they were read
    chain: str  # its last value, in hex


class End(Struct, frozen=True):
    """What an orderly end leaves."""

    rings: dict[str, RingEnd]
    repaired: bool = False  # the run was cut off; somebody closed it at its last good records


@dataclass(frozen=True)
class SegmentHead:
    """The head of a segment, checked."""

    ring: str
    record_type: str
    first_sequence: int
    lost_before: int
    run_epoch: int
    layout_hash: int
    created_time_ns: int
    chain_before: bytes
    dtype: np.dtype[Any]  # of its records, as the build that wrote them had it


# ---- the fields of a record ----------------------------------------------------------------------------


def schema_of(dtype: np.dtype[Any]) -> bytes:
    """Every field of a record as JSON: [["header.type", "u1", 40], ...]."""
    return msgspec.json.encode(_flat_fields(dtype, "", 0))


def _flat_fields(dtype: np.dtype[Any], prefix: str, base: int) -> list[tuple[str, str, int]]:
    found = []
    for name, (kind, offset, *_) in (dtype.fields or {}).items():
        if kind.fields:
            found += _flat_fields(kind, f"{prefix}{name}.", base + offset)
        else:
            found.append((prefix + name, _type_code(kind), base + offset))
    return found


def _type_code(kind: np.dtype[Any]) -> str:
    """ "u4", or "u1*64" of an array."""
    if kind.subdtype is None:
        return kind.str[1:]
    base, shape = kind.subdtype
    return f"{base.str[1:]}*{shape[0]}"


def dtype_from(schema: bytes, *, record_bytes: int) -> np.dtype[Any]:
    """The dtype that a schema describes. Raises ValueError when it describes none."""
    return _nested(msgspec.json.decode(schema, type=list[tuple[str, str, int]]), record_bytes)


def _nested(fields: list[tuple[str, str, int]], size: int | None) -> np.dtype[Any]:
    names: dict[str, list[tuple[str, str, int]]] = {}
    for name, code, offset in fields:
        head, _, rest = name.partition(".")
        names.setdefault(head, []).append((rest, code, offset))
    formats: list[np.dtype[Any]] = []
    offsets = []
    for members in names.values():
        offset = members[0][2]
        offsets.append(offset)
        if members[0][0]:
            formats.append(_nested([(rest, code, at - offset) for rest, code, at in members], None))
        else:
            base, _, count = members[0][1].partition("*")
            formats.append(np.dtype((np.dtype(f"<{base}"), (int(count),))) if count else np.dtype(f"<{base}"))
    described: dict[str, Any] = {"names": list(names), "formats": formats, "offsets": offsets}
    described["itemsize"] = size or max(at + kind.itemsize for at, kind in zip(offsets, formats, strict=True))
    return np.dtype(described)  # type: ignore[call-overload, no-any-return]


def converted(records: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Records of another build in this build's dtype, by the names of their fields; what they lack is 0."""
    if records.dtype == dtype:
        return records
    target = np.zeros(len(records), dtype)
    _copy_fields(records, target)
    return target


def _copy_fields(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    for name in target.dtype.names or ():
        if name not in (source.dtype.names or ()):
            continue
        if target[name].dtype.fields:
            _copy_fields(source[name], target[name])
        elif target[name].ndim == 2:
            width = min(source[name].shape[1], target[name].shape[1])
            target[name][:, :width] = source[name][:, :width]
        else:
            target[name] = source[name]


# ---- heads, names and chains ---------------------------------------------------------------------------


def segment_path(folder: Path, ring: str, first_sequence: int) -> Path:
    """Where the segment that begins with this sequence lies."""
    return folder / f"{ring}.{first_sequence:012d}.events"


def segment_files(folder: Path) -> dict[str, dict[int, Path]]:
    """The segments of each ring by first sequence; a packed one gives way to what it was made of."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = SEGMENT.fullmatch(path.name)
        if match is not None:
            found.setdefault(match[1], {}).setdefault(int(match[2]), path)
    return found


def ring_files(folder: Path, ring: str) -> list[Path]:
    """The segments of one ring, in order."""
    return [path for _, path in sorted(segment_files(folder).get(ring, {}).items())]


def chain_path(segment: Path) -> Path:
    """The chain file of a segment, compressed or not."""
    return segment.with_name(segment.name.removesuffix(".zst").removesuffix(".events") + ".chain")


def crc32c(data: bytes | memoryview | npt.NDArray[Any]) -> int:
    """CRC-32C of some bytes."""
    view = ffi.from_buffer(data)
    return int(lib.journal_crc32c(0, view, len(view)))


def head_bytes(
    ring: str, *, first_sequence: int, lost_before: int, run_epoch: int, created_time_ns: int, chain_before: bytes
) -> bytes:
    """The head of a new segment."""
    record = event_type(ring)
    schema = schema_of(dtype_of(record))
    head = np.zeros(1, HEAD)
    for name, value in {
        "magic": MAGIC,
        "format": FORMAT,
        "record_bytes": RECORD_BYTES,
        "block_records": BLOCK_RECORDS,
        "schema_bytes": len(schema),
        "run_epoch": run_epoch,
        "layout_hash": layout_hash(),
        "first_sequence": first_sequence,
        "lost_before": lost_before,
        "created_time_ns": created_time_ns,
        "ring": ring.encode(),
        "record_type": record.encode(),
        "chain_before": np.frombuffer(chain_before, np.uint8),
        "schema": schema,
    }.items():
        head[name] = value
    head["crc"] = crc32c(head.tobytes()[:-4])
    return head.tobytes()


def parse_head(path: Path, data: bytes) -> SegmentHead:
    """The head of a segment. Raises JournalError when it is none, damaged, or of a format not known here."""
    if len(data) < HEAD_BYTES:
        raise JournalError(f"{path}: {len(data)} bytes are no head of a segment")
    head = np.frombuffer(data, HEAD, 1)[0]
    if int(head["magic"]) != MAGIC:
        raise JournalError(f"{path}: is no segment of a journal: it begins with {data[:8]!r}")
    if int(head["format"]) > FORMAT:
        raise JournalError(f"{path}: format {head['format']}, known here is {FORMAT}", next_step=OTHER_FORMAT)
    if crc32c(data[: HEAD_BYTES - 4]) != int(head["crc"]):
        raise JournalError(f"{path}: its head is damaged: the checksum does not hold", next_step=VERIFY)
    if (int(head["record_bytes"]), int(head["block_records"])) != (RECORD_BYTES, BLOCK_RECORDS):
        raise JournalError(f"{path}: records of {head['record_bytes']} bytes, known here are {RECORD_BYTES}")
    return SegmentHead(
        ring=head["ring"].decode(),
        record_type=head["record_type"].decode(),
        first_sequence=int(head["first_sequence"]),
        lost_before=int(head["lost_before"]),
        run_epoch=int(head["run_epoch"]),
        layout_hash=int(head["layout_hash"]),
        created_time_ns=int(head["created_time_ns"]),
        chain_before=head["chain_before"].tobytes(),
        dtype=dtype_from(bytes(head["schema"])[: int(head["schema_bytes"])], record_bytes=RECORD_BYTES),
    )


VERIFY = "hotpath journal verify FOLDER says what is left"


def read_head(path: Path) -> SegmentHead:
    """The head of the segment in this file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return parse_head(path, os.pread(descriptor, HEAD_BYTES, 0))
    finally:
        os.close(descriptor)


def chain_seed(folder: Path, ring: str) -> bytes:
    """What a ring's chain begins with: hashes of what the run's processes agreed on."""
    seed = hashlib.sha256(f"hotpath journal {FORMAT} {ring}\n".encode())
    for name in (RUN_FILE, INSTRUMENTS_FILE):
        seed.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return seed.digest()


def chain_entry(
    before: bytes, block_hash: bytes, *, first_sequence: int, times_ns: tuple[int, int], count: int
) -> bytes:
    """One entry of the chain file; its chain value is the last 32 bytes."""
    entry = np.zeros(1, ENTRY)
    entry["first_sequence"], entry["count"] = first_sequence, count
    entry["first_time_ns"], entry["last_time_ns"] = times_ns
    entry["block_hash"] = np.frombuffer(block_hash, np.uint8)
    entry["chain_hash"] = np.frombuffer(hashlib.sha256(before + block_hash).digest(), np.uint8)
    entry["crc"] = _entry_crc(entry)
    return entry.tobytes()


def _entry_crc(entry: npt.NDArray[Any]) -> int:
    bare = entry.copy()
    bare["crc"] = 0
    return crc32c(bare.tobytes())


def read_chain(path: Path) -> npt.NDArray[Any]:
    """The good entries of a chain file, up to the first that is not."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return np.empty(0, ENTRY)
    entries = np.frombuffer(data, ENTRY, len(data) // ENTRY.itemsize)
    for index in range(len(entries)):
        if not int(entries[index]["count"]) or _entry_crc(entries[index : index + 1]) != int(entries[index]["crc"]):
            return entries[:index]
    return entries
