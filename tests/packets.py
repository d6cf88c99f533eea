"""Captures made for tests: Ethernet frames around payloads, and the pcap files that hold them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

SOURCE = bytes([10, 1, 1, 1])
TARGET = bytes([10, 1, 1, 2])
UDP, TCP = 17, 6
TCP_PSH_ACK = 0x18


def checksum(data: bytes) -> int:
    """The Internet checksum of whole bytes."""
    words: tuple[int, ...] = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(payload: bytes, *, ether_type: int = 0x0800, tags: Iterable[int] = ()) -> bytes:
    """A frame; ``tags`` are the ethertypes of the VLAN tags, outermost first."""
    head = bytes(6) + b"\x02" + bytes(5)
    for tag in tags:
        head += struct.pack("!HH", tag, 7)
    return head + struct.pack("!H", ether_type) + payload


def ipv4(protocol: int, payload: bytes, *, fragment: int = 0) -> bytes:
    """An IPv4 packet with a right checksum."""
    total = 20 + len(payload)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 1, fragment, 64, protocol, 0, SOURCE, TARGET)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(protocol: int, payload: bytes) -> bytes:
    """An IPv6 packet without extension headers."""
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    return head + b"\xfd" + bytes(14) + b"\x01" + b"\xfd" + bytes(14) + b"\x02" + payload


def udp(payload: bytes, *, source_port: int = 20000, target_port: int = 26477) -> bytes:
    """A UDP datagram without a checksum, which IPv4 allows."""
    return struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0) + payload


def tcp(payload: bytes, *, sequence: int, source_port: int, target_port: int, flags: int = TCP_PSH_ACK) -> bytes:
    """A TCP segment without a checksum: readers are told not to look."""
    head = struct.pack("!HHIIBBHHH", source_port, target_port, sequence % 2**32, 1, 5 << 4, flags, 65535, 0, 0)
    return head + payload


def pcap(frames: Iterable[bytes], *, order: str = "<", nanosecond: bool = True, link_type: int = 1) -> bytes:
    """A capture file; frame k is stamped k seconds and k units after the epoch. ``order`` as struct names it."""
    magic = 0xA1B23C4D if nanosecond else 0xA1B2C3D4
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)]
    for index, frame in enumerate(frames):
        parts.append(struct.pack(f"{order}IIII", index, index, len(frame), len(frame)) + frame)
    return b"".join(parts)


def udp_frame(payload: bytes, *, tags: Iterable[int] = ()) -> bytes:
    return ethernet(ipv4(UDP, udp(payload)), tags=tags)


def tcp_frame(payload: bytes, *, sequence: int, source_port: int, target_port: int) -> bytes:
    segment = tcp(payload, sequence=sequence, source_port=source_port, target_port=target_port)
    return ethernet(ipv4(TCP, segment))


def mold_packet(messages: Iterable[bytes], *, sequence: int = 1, session: bytes = b"TEST000001") -> bytes:
    """A MoldUDP64 packet, made in plain Python."""
    blocks = [len(message).to_bytes(2, "big") + message for message in messages]
    return session + struct.pack("!QH", sequence, len(blocks)) + b"".join(blocks)


def soup_packet(soup_type: bytes, payload: bytes = b"") -> bytes:
    """A SoupBinTCP packet, made in plain Python."""
    return struct.pack("!H", 1 + len(payload)) + soup_type + payload
