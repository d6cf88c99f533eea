"""Recorded feeds: files of length-prefixed ITCH messages, and packet captures.

    MappedFile --index_messages--> offsets of ITCH messages            (uint64 array, made in C)
               --index_packets---> frames, payloads, ports, stamps     (structured array, made in C)
                                   --reassemble--> TCP byte streams, one for each direction

Files are mapped, not read: an array of offsets stands for the messages, and C reads them in place. What
cannot be read raises ``CaptureError`` with the file, the offset and what was found there.
"""

from __future__ import annotations

import enum
import ipaddress
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.errors import CaptureError

FRAME_HEADER_SIZE = 2  # the length before each ITCH message
INDEX_BATCH = 1 << 20
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
GZIP_MAGIC = b"\x1f\x8b"
TCP_SYN = 0x02
SEQUENCE_SPACE = 1 << 32


class CaptureFormat(enum.StrEnum):
    """What a file holds, by its first bytes."""

    ITCH = "itch"
    PCAP = "pcap"


READABLE = "name a capture: length-prefixed ITCH messages, or pcap"


class MappedFile:
    """A file mapped read-only: ``bytes`` for NumPy, ``pointer`` for C. A context manager; views die with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.size = file.seek(0, 2)
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None
        except OSError as error:
            raise CaptureError(
                f"{path}: {error.strerror or error}",
                next_step=READABLE,
            ) from None
        self.bytes: NDArray[np.uint8] = np.frombuffer(self._map or b"", dtype=np.uint8)
        self.pointer: Any = ffi.from_buffer("uint8_t[]", self.bytes)

    def __enter__(self) -> MappedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the mapping; it is unmapped when the last array that looks into it is gone."""
        self.pointer = ffi.NULL
        self.bytes = np.empty(0, dtype=np.uint8)
        self._map = None

    def error(self, offset: int, what: str, *, next_step: str = "") -> CaptureError:
        """The error of this file at this byte."""
        return CaptureError(f"{self.path}: at byte {offset} of {self.size}: {what}", next_step=next_step)


def detect_format(file: MappedFile) -> CaptureFormat:
    """Which of the formats a file is in. Raises CaptureError when it is none of them."""
    head = file.bytes[:4].tobytes()
    if head == PCAPNG_MAGIC:
        raise file.error(0, "a pcapng capture", next_step="convert it: editcap -F nsecpcap IN OUT")
    if head[:2] == GZIP_MAGIC:
        raise file.error(0, "compressed with gzip", next_step="decompress it first: gunzip FILE")
    format_found = ffi.new("pcap_format *")
    if lib.pcap_open(file.pointer, file.size, format_found) == lib.PCAP_OK:
        return CaptureFormat.PCAP
    if file.size == 0:
        raise file.error(0, "the file is empty", next_step=READABLE)
    if file.size > FRAME_HEADER_SIZE:
        length = int.from_bytes(head[:FRAME_HEADER_SIZE], "big")
        if length == lib.itch_length(int(file.bytes[FRAME_HEADER_SIZE])):
            return CaptureFormat.ITCH
    raise file.error(
        0, f"neither a length-prefixed ITCH message nor a pcap header: {head.hex(' ')}", next_step=READABLE
    )


# ---- files of ITCH messages ------------------------------------------------------------------------------------------


def index_messages(file: MappedFile, *, partial: bool = False) -> NDArray[np.uint64]:
    """Offsets of the messages (behind their lengths), in file order, up to the end mark if there is one.

    Raises CaptureError when the file ends inside a frame, or goes on behind its end mark; with
    ``partial`` such a tail is left out instead.
    """
    batches: list[NDArray[np.uint64]] = []
    consumed = ffi.new("uint64_t *")
    at = 0
    while True:
        batch = np.empty(min(INDEX_BATCH, (file.size - at) // FRAME_HEADER_SIZE + 1), dtype=np.uint64)
        target = ffi.cast("uint64_t *", batch.ctypes.data)
        count = lib.itch_file_index(file.pointer + at, file.size - at, target, len(batch), consumed)
        batches.append(batch[:count] + np.uint64(at))
        at += consumed[0]
        if count < len(batch):
            break
    if not partial:
        check_tail(file, at)
    return np.concatenate(batches)


def check_tail(file: MappedFile, at: int) -> None:
    """Raise CaptureError unless nothing but an end mark stands from ``at`` on."""
    tail = file.bytes[at:]
    if len(tail) == 0 or tail.tobytes() == b"\0\0":
        return
    if len(tail) >= FRAME_HEADER_SIZE and tail[0] == tail[1] == 0:
        raise file.error(at, f"{len(tail) - FRAME_HEADER_SIZE} bytes follow the end mark")
    raise file.error(
        at,
        f"the last message is cut short: {len(tail)} bytes are left",
        next_step=f"hotpath inspect {file.path} tells what is whole; head -c {at} of it is a whole file",
    )


def message_lengths(file: MappedFile, offsets: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Length in bytes of each message."""
    at = offsets.astype(np.int64)
    return file.bytes[at - 2].astype(np.uint32) * np.uint32(256) + file.bytes[at - 1].astype(np.uint32)


def itch_messages(path: Path) -> Iterator[bytes]:
    """Each message of a file, copied: for tests and small tools."""
    with MappedFile(path) as file:
        offsets = index_messages(file)
        for offset, length in zip(offsets.tolist(), message_lengths(file, offsets).tolist(), strict=True):
            yield file.bytes[offset : offset + length].tobytes()


# ---- packet captures -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PacketIndex:
    """The frames of a capture. ``packets`` has the dtype of pcap_packet; ``consumed`` bytes of the file are whole
    records, and ``tail`` says what stands after them, empty when nothing does."""

    packets: NDArray[np.void]
    consumed: int
    tail: str


def index_packets(file: MappedFile, *, partial: bool = False) -> PacketIndex:
    """Every frame of a pcap file, down to the UDP or TCP payload where it has one.

    Raises CaptureError when its frames are of a kind that is not read, or it ends inside a record; with ``partial``
    the tail is described instead.
    """
    format_found = ffi.new("pcap_format *")
    if lib.pcap_open(file.pointer, file.size, format_found) != lib.PCAP_OK:
        raise file.error(0, f"not a pcap file header: {file.bytes[:4].tobytes().hex(' ')}")
    if not lib.pcap_link_known(format_found.link_type):
        raise file.error(
            20, f"link type {format_found.link_type}; Ethernet, raw IP, loopback and Linux cooked are read"
        )
    batches: list[NDArray[np.void]] = []
    count, consumed = ffi.new("uint64_t *"), ffi.new("uint64_t *", lib.PCAP_FILE_HEADER_SIZE)
    while True:
        room = (file.size - consumed[0]) // lib.PCAP_RECORD_HEADER_SIZE + 1
        batch = np.empty(min(INDEX_BATCH, room), dtype=dtype_of("pcap_packet"))
        target = ffi.cast("pcap_packet *", batch.ctypes.data)
        status = lib.pcap_index(format_found, file.pointer, file.size, consumed[0], target, len(batch), count, consumed)
        batches.append(batch[: count[0]])
        if status != lib.PCAP_OK or count[0] < len(batch):
            break
    tail = _describe_tail(status, left=file.size - consumed[0])
    if tail and not partial:
        raise file.error(consumed[0], tail)
    return PacketIndex(packets=np.concatenate(batches), consumed=consumed[0], tail=tail)


def _describe_tail(status: int, *, left: int) -> str:
    if status == lib.PCAP_CUT:
        return f"the last record is cut short: {left} bytes are left"
    if status == lib.PCAP_BAD_RECORD:
        return f"a record of impossible length; {left} bytes are unread"
    return ""


def payload_of(file: MappedFile, packet: np.void) -> bytes:
    """The UDP or TCP payload of one packet, copied."""
    start = int(packet["payload_offset"])
    return file.bytes[start : start + int(packet["payload_length"])].tobytes()


# ---- TCP -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TcpStream:
    """One direction of one connection. ``runs`` are stretches of bytes without a hole; between two of them
    bytes are missing, ``missing_bytes`` in total. ``repeated_bytes`` came more than once."""

    source: str
    target: str
    first_time_ns: int
    runs: tuple[bytes, ...]
    missing_bytes: int
    repeated_bytes: int


def reassemble(file: MappedFile, packets: NDArray[np.void]) -> list[TcpStream]:
    """The TCP streams of a capture, in order of appearance, each put in order by sequence number.
    A stream may span 2 GiB: beyond that sequence numbers no longer tell before from after."""
    segments: dict[tuple[str, str], list[np.void]] = {}
    for packet in packets[packets["kind"] == lib.PACKET_TCP]:
        ends = (_end_of(packet, "source"), _end_of(packet, "target"))
        segments.setdefault(ends, []).append(packet)
    return [_join(file, source, target, found) for (source, target), found in segments.items()]


def _end_of(packet: np.void, end: str) -> str:
    address = packet[end].tobytes()
    host = ipaddress.ip_address(address[:4] if packet["ip_version"] == 4 else address)
    shown = f"[{host}]" if host.version == 6 else str(host)
    return f"{shown}:{int(packet[f'{end}_port'])}"


def _join(file: MappedFile, source: str, target: str, segments: list[np.void]) -> TcpStream:
    """Order the segments by their distance from the first, which may be negative and may wrap."""
    origin = int(segments[0]["tcp_sequence"])
    placed: list[tuple[int, bytes]] = []
    for segment in segments:
        distance = (int(segment["tcp_sequence"]) - origin + SEQUENCE_SPACE // 2) % SEQUENCE_SPACE - SEQUENCE_SPACE // 2
        distance += bool(int(segment["tcp_flags"]) & TCP_SYN)  # a SYN takes a number of its own
        placed.append((distance, payload_of(file, segment)))
    placed = sorted((entry for entry in placed if entry[1]), key=lambda entry: entry[0])
    runs: list[bytearray] = []
    missing = repeated = 0
    expected = 0
    for position, data in placed:
        if not runs or position > expected:
            missing += position - expected if runs else 0
            runs.append(bytearray())
            expected = position
        fresh = data[expected - position :]
        repeated += len(data) - len(fresh)
        runs[-1] += fresh
        expected += len(fresh)
    return TcpStream(
        source=source,
        target=target,
        first_time_ns=int(segments[0]["time_ns"]),
        runs=tuple(bytes(run) for run in runs),
        missing_bytes=missing,
        repeated_bytes=repeated,
    )
