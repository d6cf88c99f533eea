"""A wire tap: every byte in and out of the order sessions, and the whole wire as packets.

tap file:  | time_ns u64 | direction u8 (0 in, 1 out) | connection u32 | length u32 | bytes |   little-endian
pcap file: raw IPv4 packets, nanosecond stamps; TCP and UDP headers are made up, the payload is the wire's
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

RECORD = struct.Struct("<QBII")
PCAP_MAGIC_NS = 0xA1B23C4D
PCAP_RAW_IP = 101
TCP_PAYLOAD_MAX = 1400
IP_TCP, IP_UDP = 6, 17
IN, OUT = 0, 1

Address = tuple[str, int]


class TapRecord(NamedTuple):
    """One read or write of an order session's socket."""

    time_ns: int
    direction: int
    connection: int
    data: bytes


def read_tap(path: str | Path) -> Iterator[TapRecord]:
    """The records of a tap file, the last one only if it is whole."""
    data = Path(path).read_bytes()
    position = 0
    while position + RECORD.size <= len(data):
        time_ns, direction, connection, length = RECORD.unpack_from(data, position)
        position += RECORD.size
        if position + length > len(data):
            return
        yield TapRecord(time_ns, direction, connection, data[position : position + length])
        position += length


class Tap:
    """Appends to the tap file and the pcap file; either may be absent. Flushed at every write of the tap, so
    that it is the truth even when the process is killed."""

    def __init__(self, tap_path: str, pcap_path: str) -> None:
        self._tap: BinaryIO | None = Path(tap_path).open("ab", buffering=0) if tap_path else None  # noqa: SIM115
        self._pcap: BinaryIO | None = None
        self._tcp_sequence: dict[tuple[Address, Address], int] = {}
        if pcap_path:
            self._pcap = Path(pcap_path).open("wb")  # noqa: SIM115
            self._pcap.write(struct.pack("<IHHiIII", PCAP_MAGIC_NS, 2, 4, 0, 0, 65535, PCAP_RAW_IP))

    @property
    def wants_packets(self) -> bool:
        """Whether UDP payloads are worth handing over."""
        return self._pcap is not None

    def session(self, *, direction: int, connection: int, data: bytes, client: Address, server: Address) -> None:
        """Bytes of an order session, as read or as written."""
        now = time.time_ns()
        if self._tap is not None:
            self._tap.write(RECORD.pack(now, direction, connection, len(data)) + data)
        if self._pcap is None:
            return
        source, target = (client, server) if direction == IN else (server, client)
        for start in range(0, len(data), TCP_PAYLOAD_MAX):
            piece = data[start : start + TCP_PAYLOAD_MAX]
            sequence = self._tcp_sequence.get((source, target), 1)
            acknowledged = self._tcp_sequence.get((target, source), 1)
            self._tcp_sequence[source, target] = (sequence + len(piece)) & 0xFFFFFFFF
            header = struct.pack(">HHIIBBHHH", source[1], target[1], sequence, acknowledged, 5 << 4, 0x18, 65535, 0, 0)
            self._packet(now, IP_TCP, source[0], target[0], header + piece)

    def datagram(self, source: Address, target: Address, data: bytes | memoryview) -> None:
        """One UDP payload."""
        header = struct.pack(">HHHH", source[1], target[1], 8 + len(data), 0)
        self._packet(time.time_ns(), IP_UDP, source[0], target[0], header + data)

    def _packet(self, now: int, protocol: int, source: str, target: str, body: bytes) -> None:
        if self._pcap is None:
            return
        length = 20 + len(body)
        header = struct.pack(
            ">BBHHHBBH4s4s",
            0x45,
            0,
            length,
            0,
            0x4000,
            64,
            protocol,
            0,
            socket.inet_aton(source),
            socket.inet_aton(target),
        )
        total = sum(struct.unpack(">10H", header))
        total = (total & 0xFFFF) + (total >> 16)
        checksum = ~(total + (total >> 16)) & 0xFFFF
        packet = header[:10] + struct.pack(">H", checksum) + header[12:] + body
        self._pcap.write(struct.pack("<IIII", now // 10**9, now % 10**9, len(packet), len(packet)) + packet)

    def close(self) -> None:
        """Flush and close both files."""
        for file in (self._tap, self._pcap):
            if file is not None:
                file.close()
        self._tap = self._pcap = None
