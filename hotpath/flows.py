"""The MoldUDP64 flows of a packet capture, and which of them a replay follows.

    capture --index_packets--> UDP packets --by address and port--> flows --of one session--> A, B, answers

A flow is what was sent to one address and port. The busiest is line A; another that carries at least half as much of
the same session is line B, its copy; the rest of that session are answers of a retransmission server.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.captures import MappedFile, index_packets
from hotpath.errors import CaptureError

FIRST_BLOCK = lib.MOLD_HEADER_SIZE
LOCATES = 65536


@dataclass(frozen=True)
class Flow:
    """What was sent to one address and port: `members` index the packets of the capture, in file order."""

    target: str
    port: int
    sessions: frozenset[bytes]
    messages: int
    members: NDArray[np.int64]

    def __str__(self) -> str:
        sessions = ", ".join(sorted(each.decode("ascii", "replace").strip() for each in self.sessions))
        return f"{self.target}:{self.port} ({self.messages:,} messages of session {sessions})"


@dataclass(frozen=True)
class FeedPackets:
    """The packets that a replay gives to its line, dtype of pcap_packet, and the enum line_source of each."""

    packets: NDArray[np.void]
    sides: NDArray[np.uint8]
    lines: int

    @property
    def first_time_ns(self) -> int:
        """Of the first packet, by the capturing machine's clock."""
        return int(self.packets["time_ns"][0])


def mold_flows(file: MappedFile, packets: NDArray[np.void]) -> list[Flow]:
    """Every flow with at least one sound MoldUDP64 packet, the busiest first."""
    headers = np.zeros(len(packets), dtype=dtype_of("mold_header"))
    verdicts = np.zeros(len(packets), dtype=np.uint8)
    traffic = ffi.new("itch_traffic[]", LOCATES)
    lib.itch_packets_scan(
        file.pointer,
        ffi.cast("pcap_packet *", packets.ctypes.data),
        len(packets),
        ffi.cast("mold_header *", headers.ctypes.data),
        ffi.cast("uint8_t *", verdicts.ctypes.data),
        ffi.new("itch_scan *"),
        traffic,
    )
    sound = verdicts == lib.MOLD_OK
    ends = np.zeros(len(packets), dtype=[("version", "u1"), ("address", "V16"), ("port", "<u2")])
    ends["version"], ends["address"], ends["port"] = (
        packets["ip_version"],
        _raw(packets["target"]),
        packets["target_port"],
    )
    counts = np.where(headers["count"] == lib.MOLD_END_OF_SESSION, 0, headers["count"]).astype(np.int64)
    flows = []
    for end in {bytes(each) for each in ends[sound]}:
        members = np.flatnonzero((ends == np.frombuffer(end, ends.dtype)[0]) & (packets["kind"] == lib.PACKET_UDP))
        known = members[sound[members]]
        address = packets["target"][known[0]].tobytes()
        host = ipaddress.ip_address(address[:4] if packets["ip_version"][known[0]] == 4 else address)
        flows.append(
            Flow(
                target=f"[{host}]" if host.version == 6 else str(host),
                port=int(packets["target_port"][known[0]]),
                sessions=frozenset(headers["session"][known].tolist()),
                messages=int(counts[known].sum()),
                members=members,
            )
        )
    return sorted(flows, key=lambda flow: (-flow.messages, flow.port, flow.target))


def _raw(addresses: NDArray[Any]) -> NDArray[np.void]:
    """16 bytes of each address as one value that compares."""
    return np.ascontiguousarray(addresses).view("V16").reshape(len(addresses))


def feed_packets(file: MappedFile, ports: Sequence[int] = ()) -> FeedPackets:
    """The packets to replay: of the given ports (A, then B), or of the only session that there is.

    Raises CaptureError when the capture has no such flow, or several sessions and nobody says which.
    """
    index = index_packets(file, partial=True)
    flows = mold_flows(file, index.packets)
    if not flows:
        raise CaptureError(f"{file.path}: holds no MoldUDP64 packet", next_step=f"hotpath inspect {file.path}")
    chosen = _by_port(file, flows, ports) if ports else _only_session(file, flows)
    members = np.concatenate([flow.members for flow, _ in chosen])
    sides = np.concatenate([np.full(len(flow.members), side, np.uint8) for flow, side in chosen])
    order = np.argsort(members, kind="stable")
    return FeedPackets(
        packets=np.ascontiguousarray(index.packets[members[order]]),
        sides=np.ascontiguousarray(sides[order]),
        lines=len({side for _, side in chosen if side != lib.LINE_ANSWER}),
    )


def _by_port(file: MappedFile, flows: list[Flow], ports: Sequence[int]) -> list[tuple[Flow, int]]:
    chosen = []
    for side, port in enumerate(ports):
        found = [flow for flow in flows if flow.port == port]
        if not found:
            raise CaptureError(f"{file.path}: no MoldUDP64 packet was sent to port {port}; found {_listed(flows)}")
        chosen += [(flow, side) for flow in found]
    return chosen


def _only_session(file: MappedFile, flows: list[Flow]) -> list[tuple[Flow, int]]:
    first, *others = flows
    strangers = [flow for flow in others if not flow.sessions & first.sessions]
    if strangers:
        raise CaptureError(
            f"{file.path}: several feeds: {_listed(flows)}",
            next_step=f"choose one: hotpath replay {file.path} --port {first.port}",
        )
    chosen = [(first, int(lib.LINE_A))]
    for flow in others:
        copy = flow.messages * 2 >= first.messages and len(chosen) == 1
        chosen.append((flow, int(lib.LINE_B if copy else lib.LINE_ANSWER)))
    return chosen


def _listed(flows: list[Flow]) -> str:
    return "; ".join(str(flow) for flow in flows)


def flow_messages(file: MappedFile, packets: NDArray[np.void]) -> Iterator[bytes]:
    """Each message of MoldUDP64 packets, in file order, copies included; packets that are none are passed over."""
    walker, header = ffi.new("mold_walker *"), ffi.new("mold_header *")
    for start, length in zip(packets["payload_offset"].tolist(), packets["payload_length"].tolist(), strict=True):
        payload = file.pointer + start
        if lib.mold_parse(payload, length, header) != lib.MOLD_OK or lib.mold_check(payload, length) != lib.MOLD_OK:
            continue
        lib.mold_walk(walker, payload, length, header.count)
        while lib.mold_next(walker):
            yield bytes(ffi.buffer(walker.bytes, walker.length))
