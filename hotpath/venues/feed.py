"""The feed's sockets: MoldUDP64 packets out, heartbeats, end of session, and retransmission on request.

publisher --> flush -+-> UDP to feed_address:feed_port (unicast or multicast)
                     '-> the same packets again, to feed_b_address:feed_b_port: the second line
request (20 bytes: session, sequence, count) --> one packet, unicast to whoever asked
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path
from typing import Any

from ffi import ffi, lib
from hotpath.errors import VenueError
from hotpath.venues.config import SimulatorConfig
from hotpath.venues.tap import Address, Tap

BUFFER_BYTES = 1 << 20
PACKETS_MAX = 1024
REQUESTS_PER_TURN = 256
SEND_BUFFER_BYTES = 4 << 20
HEARTBEAT_NS = 1_000_000_000


def free_udp_port(host: str) -> int:
    """A port that nothing on this host listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Line:
    """One copy of the feed: a socket and where it sends."""

    def __init__(self, address: str, port: int, *, interface: str) -> None:
        multicast = ipaddress.ip_address(socket.gethostbyname(address)).is_multicast
        picked = port or free_udp_port("127.0.0.1" if multicast else address)
        self.target: Address = (address, picked)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if multicast:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        self.socket.bind((interface if multicast else "", 0))

    @property
    def source(self) -> Address:
        """What a capture of the wire shows as the sender."""
        return ("127.0.0.1", int(self.socket.getsockname()[1]))


class Feed:
    """Sends what the market has published and answers requests for it. Nothing here blocks."""

    def __init__(self, config: SimulatorConfig, publisher: Any, tap: Tap) -> None:
        self.config = config
        self.publisher = publisher
        self.tap = tap
        self.requests = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.requests.setblocking(False)
        try:
            self.lines = [Line(config.feed_address, config.feed_port, interface=config.feed_interface)]
            if config.feed_b_port >= 0:
                address = config.feed_b_address or config.feed_address
                self.lines.append(Line(address, config.feed_b_port, interface=config.feed_b_interface))
            self.requests.bind((config.retransmission_host, config.retransmission_port))
        except OSError as error:
            raise VenueError(f"feed or retransmission socket: {error.strerror}") from None
        self.retransmission_port: int = self.requests.getsockname()[1]
        self.spoke_ns = 0
        self.counts = dict.fromkeys(
            ("packets_out", "feed_bytes_out", "heartbeats_out", "unsent_packets", "requests_in", "requests_answered"), 0
        )
        self._buffer = ffi.new("uint8_t[]", BUFFER_BYTES)
        self._view = memoryview(ffi.buffer(self._buffer))
        self._sizes = ffi.new("uint32_t[]", PACKETS_MAX)

    def flush(self, now_ns: int) -> None:
        """Send all that was published since the last call."""
        while True:
            count = lib.publisher_flush(self.publisher, self._buffer, BUFFER_BYTES, self._sizes, PACKETS_MAX)
            position = 0
            for size in self._sizes[0:count]:
                self._send(self._view[position : position + size])
                position += size
            if count:
                self.spoke_ns = now_ns
            if count < PACKETS_MAX // 2:
                return

    def keep_alive(self, now_ns: int) -> None:
        """A heartbeat when nothing was sent for a second."""
        if now_ns - self.spoke_ns >= HEARTBEAT_NS:
            self.signal(0, now_ns)
            self.counts["heartbeats_out"] += 1

    def signal(self, count: int, now_ns: int) -> None:
        """A packet with no message: 0 heartbeat, MOLD_END_OF_SESSION."""
        size = lib.publisher_signal(self.publisher, count, self._buffer)
        self._send(self._view[:size])
        self.spoke_ns = now_ns

    def _send(self, packet: memoryview) -> None:
        """The same bytes down every line."""
        for line in self.lines:
            try:
                line.socket.sendto(packet, line.target)
            except OSError:
                self.counts["unsent_packets"] += 1  # lost, as on any network: a receiver asks again
                continue
            self.counts["packets_out"] += 1
            self.counts["feed_bytes_out"] += len(packet)
            if self.tap.wants_packets:
                self.tap.datagram(line.source, line.target, packet)

    def answer(self) -> None:
        """Serve the requests that wait, a bounded number."""
        session = self.config.session.ljust(10).encode()
        for _ in range(REQUESTS_PER_TURN):
            try:
                request, sender = self.requests.recvfrom(64)
            except OSError:
                return
            self.counts["requests_in"] += 1
            if len(request) != lib.MOLD_HEADER_SIZE or request[:10] != session:
                continue
            sequence, count = struct.unpack_from(">QH", request, 10)
            size = lib.publisher_packet(self.publisher, sequence, count, self._buffer, BUFFER_BYTES)
            if not size:
                continue
            try:
                self.requests.sendto(self._view[:size], sender)
            except OSError:
                continue  # the requester is gone or its buffer full: it will ask again
            self.counts["requests_answered"] += 1
            if self.tap.wants_packets:
                self.tap.datagram(("127.0.0.1", self.retransmission_port), sender, self._view[:size])

    def write_published(self, path: Path) -> None:
        """All messages that the store still has, in order, as a length-prefixed ITCH file."""
        sequence = int(lib.publisher_oldest_sequence(self.publisher))
        with path.open("wb") as file:
            while size := lib.publisher_packet(self.publisher, sequence, 0xFFFE, self._buffer, BUFFER_BYTES):
                file.write(self._view[lib.MOLD_HEADER_SIZE : size])  # a packet's blocks are the file's records
                sequence += struct.unpack_from(">H", self._view, 18)[0]

    def close(self) -> None:
        """Close every socket."""
        for line in self.lines:
            line.socket.close()
        self.requests.close()
