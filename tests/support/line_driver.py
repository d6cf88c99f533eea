"""A MoldUDP64 line as tests drive it, and a retransmission server that answers on the loopback."""

from __future__ import annotations

import socket
import struct
import weakref
from typing import Any

from ffi import ffi, lib
from tests.support.memory import Memory, Ring

SESSION = b"SESSION001"
MILLISECOND_NS = 1_000_000
TIMEOUT_NS = 50 * MILLISECOND_NS
WAIT_NS = MILLISECOND_NS // 5
NOW_NS = 1_580_367_600_000_000_000

# Why a packet was not used, as docs/feed.md lists them.
REASONS = [
    lib.FEED_PACKETS_DUPLICATE,
    lib.FEED_PACKETS_MALFORMED,
    lib.FEED_PACKETS_OTHER_SESSION,
    lib.FEED_PACKETS_OLD_SESSION,
    lib.FEED_PACKETS_UNBELIEVED,
    lib.FEED_PACKETS_NO_STASH,
    lib.FEED_PACKETS_NO_ROOM,
    lib.FEED_PACKETS_WRONG_ANSWER,
    lib.FEED_PACKETS_LEFT,
]


def packet(sequence: int, messages: list[bytes], *, session: bytes = SESSION, count: int | None = None) -> bytes:
    """One packet; `count` lies about the number of messages when given."""
    header = struct.pack(">10sQH", session, sequence, len(messages) if count is None else count)
    return header + b"".join(struct.pack(">H", len(message)) + message for message in messages)


def heartbeat(sequence: int, *, session: bytes = SESSION) -> bytes:
    """No messages: the number of the next."""
    return packet(sequence, [], session=session)


def end_of_session(sequence: int, *, session: bytes = SESSION) -> bytes:
    """The session's last word."""
    return packet(sequence, [], session=session, count=lib.MOLD_END_OF_SESSION)


def close_all(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


class DrivenLine:
    """A line with a raw ring. `requests` holds what it asked of the retransmission server, as (first, count)."""

    def __init__(
        self,
        *,
        capacity: int = 4096,
        server: bool = True,
        timeout_ns: int = TIMEOUT_NS,
        sides: int = 1,
        wait_ns: int = WAIT_NS,
    ) -> None:
        self.memory = Memory(int(lib.line_bytes()))
        self.line = ffi.cast("line *", self.memory.pointer)
        self.raw = Ring("raw_event", "feed", capacity=capacity, dirty=True)
        self.writer = ffi.new("ring_writer *")
        self.raw.attach_writer(self.writer)
        self.page = ffi.new("stage_page *")
        self.clock = ffi.new("clock_page *")
        lib.clock_calibrate(self.clock, 0, 1)
        self.line.counter, self.line.clock = self.page.counter, self.clock
        self.line.gap_timeout_ns, self.line.request_interval_ns = timeout_ns, 5 * MILLISECOND_NS
        self.line.sides, self.line.gap_wait_ns, self.line.request_tries = sides, wait_ns, 3
        for index in range(2):
            self.line.side[index].socket = self.line.request_socket[index] = -1
        self.now_ns = NOW_NS
        self.sockets: list[socket.socket] = []
        if server:
            self.server, self.client = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.server.setblocking(False)
            self.line.request_socket[0] = self.client.fileno()
            self.sockets += [self.server, self.client]
        self._finalizer = weakref.finalize(self, close_all, self.sockets)  # a test that fails does not close

    def close(self) -> None:
        """Let go of the sockets."""
        close_all(self.sockets)

    def give(self, data: bytes, *, source: int = lib.LINE_A, step_ns: int = 1000) -> int:
        """One packet, a little later than the last. Returns how many messages were published."""
        self.now_ns += step_ns
        return int(lib.line_packet_in(self.line, self.writer, source, data, len(data), self.now_ns))

    def poll(self, *, step_ns: int = 0, packets_max: int = 1) -> int:
        """Let time pass; receive from sockets that there are."""
        self.now_ns += step_ns
        return int(lib.line_poll(self.line, self.writer, self.now_ns, packets_max))

    def requests(self) -> list[tuple[int, int]]:
        """What was asked for since the last call."""
        asked: list[tuple[int, int]] = []
        while True:
            try:
                data = self.server.recv(2048)
            except BlockingIOError:
                return asked
            assert len(data) == lib.MOLD_HEADER_SIZE
            session, sequence, count = struct.unpack(">10sQH", data)
            assert session == bytes(ffi.buffer(self.line.session))
            asked.append((sequence, count))

    def counter(self, index: int) -> int:
        return int(self.page.counter[index])

    def side(self, source: int) -> tuple[int, int, int, int, int]:
        """(packets, first, late, lost, silent) of one line."""
        start = lib.FEED_A_PACKETS + source * (lib.FEED_B_PACKETS - lib.FEED_A_PACKETS)
        packets, first, late, lost, silent = (self.counter(start + offset) for offset in range(5))
        return packets, first, late, lost, silent

    def check_fates(self) -> None:
        """Every packet, and every message in a sound packet, went exactly one way."""
        fates = [lib.FEED_PACKETS_USED, lib.FEED_HEARTBEATS, *REASONS, lib.FEED_PACKETS_HELD]
        assert self.counter(lib.FEED_PACKETS) == sum(self.counter(fate) for fate in fates)
        places = [self.line.stash[index] for index, number in enumerate(self.line.stash_sequence) if number]
        held = sum(place.count for place in places) + (self.line.doubt.count if self.line.doubt_held else 0)
        ways = [lib.FEED_MESSAGES_TAKEN, lib.FEED_DUPLICATES, lib.FEED_MESSAGES_DROPPED]
        assert self.counter(lib.FEED_MESSAGES_IN) == sum(self.counter(way) for way in ways) + held

    # ---- what came out ----

    def events(self) -> list[tuple[Any, ...]]:
        """Messages as (number, bytes), states as (type, number, total); long messages in one piece."""
        found: list[tuple[Any, ...]] = []
        for event in self.raw.events():
            kind, number = int(event["header"]["type"]), int(event["session_sequence"])
            data = event["bytes"].tobytes()[: int(event["length"])]
            if kind != lib.RAW_MESSAGE:
                total = int(event["total"])
                found.append((kind, number, bytes(data) if kind == lib.RAW_SESSION else total))
            elif event["offset"]:
                assert found[-1][0] == number and len(found[-1][1]) == event["offset"]
                found[-1] = (number, found[-1][1] + data)
            else:
                found.append((number, data))
        return found

    def messages(self) -> list[tuple[int, bytes]]:
        """Only the messages, in published order."""
        return [event for event in self.events() if len(event) == 2]

    def states(self) -> list[tuple[int, int, Any]]:
        """Only the states of the line."""
        return [event for event in self.events() if len(event) == 3]

    def reasons(self) -> list[int]:
        """Why each lost gap was given up: enum gap_reason."""
        lost = [event for event in self.raw.events() if event["header"]["type"] == lib.RAW_GAP_LOST]
        return [int(event["bytes"][0]) for event in lost]


def check_sequence(events: list[tuple[Any, ...]]) -> int:
    """Each message once and in order, each skip said by a RAW_GAP_LOST of that size, gaps in pairs.

    Returns how many messages were lost.
    """
    expected: int | None = None
    gap_open, lost = False, 0
    for event in events:
        if len(event) == 2:
            expected = event[0] if expected is None else expected
            assert event[0] == expected
            expected += 1
            continue
        kind, number, total = event
        if kind == lib.RAW_SESSION:
            expected, gap_open = number, False
        elif kind == lib.RAW_GAP:
            assert not gap_open and expected in (None, number)
            gap_open = True
        elif kind == lib.RAW_GAP_CLOSED:
            assert gap_open and expected in (None, number)
            gap_open = False
        elif kind == lib.RAW_GAP_LOST:
            assert gap_open and expected in (None, number) and total > 0
            gap_open, lost = False, lost + total
            expected = number + total if total < 2**32 - 1 else None  # the figure is saturated
    return lost
