"""The feed stage before a venue of the test's own: packets that may be lost, and a snapshot server on the loopback."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import msgspec

from ffi import ffi, lib
from hotpath.rings import CURSOR_BYTES
from hotpath.venues.config import SimulatorConfig
from hotpath.venues.glimpse import GlimpseServer
from hotpath.venues.market import CrowdMarket
from tests.support.feed_driver import DrivenFeed
from tests.support.line_driver import packet
from tests.support.memory import Memory, Ring

SESSION = b"SIM0000001"
MILLISECOND_NS = 1_000_000
PATIENCE_SECONDS = 20.0


class Venue:
    """A seeded market whose packets the test sends or loses, and its snapshot service."""

    def __init__(self, *, seed: int = 1, instruments: int = 3, **changes: Any) -> None:
        config = SimulatorConfig(seed=seed, instruments=instruments, live_orders=200, glimpse_port=0)
        self.config = msgspec.structs.replace(config, **changes)
        self.market = CrowdMarket(self.config)
        self.market.open_day()
        self.glimpse = GlimpseServer(self.config, self.market)
        self._buffer = ffi.new("uint8_t[]", 1 << 20)
        self._sizes = ffi.new("uint32_t[]", 1024)

    def packets(self, milliseconds: float = 0) -> list[bytes]:
        """What is published in the next stretch of the day."""
        if milliseconds:
            until = self.market.now_ns + round(milliseconds * MILLISECOND_NS)
            while not self.market.advance(until):
                pass
        made, position = [], 0
        count = lib.publisher_flush(self.market.publisher, self._buffer, 1 << 20, self._sizes, 1024)
        for size in self._sizes[0:count]:
            made.append(bytes(ffi.buffer(self._buffer + position, size)))
            position += size
        return made

    def heartbeat(self) -> bytes:
        """The number of the next message, as the line says it when it is quiet."""
        return bytes(ffi.buffer(self._buffer, lib.publisher_signal(self.market.publisher, 0, self._buffer)))

    def serve(self) -> None:
        """Whatever the snapshot service has to do now."""
        ready, writable, _ = select.select(self.glimpse.readers(), self.glimpse.writers(), [], 0)
        for fd in ready:
            self.glimpse.ready(fd, time.monotonic_ns())
        for fd in writable:
            self.glimpse.writable(fd)

    def queues(self) -> dict[tuple[int, int, int], list[tuple[int, int]]]:
        """Every order by instrument, side and price, in time priority."""
        return queues_of(self.market.live_book(), len(self.market.symbols))

    def close(self) -> None:
        """Let go of the sockets."""
        self.glimpse.close()


def queues_of(book: Any, instruments: int) -> dict[tuple[int, int, int], list[tuple[int, int]]]:
    """Every order of a book by instrument, side and price: (number, quantity), in time priority."""
    found = {}
    levels, orders = ffi.new("book_level[1024]"), ffi.new("book_order[1024]")
    for instrument in range(instruments):
        for side in (lib.SIDE_BUY, lib.SIDE_SELL):
            count = lib.book_depth(book, instrument, side, levels, 1024)
            for level in levels[0:count]:
                size = lib.book_queue(book, instrument, side, level.price_ticks, orders, 1024)
                assert size == level.orders
                queue = [(order.order_ref, order.quantity_lots) for order in orders[0:size]]
                found[instrument, side, level.price_ticks] = queue
    return found


class RecoveringFeed(DrivenFeed):
    """A feed with a line that is given its packets, and a client of the snapshot server at `port`."""

    def __init__(
        self,
        port: int,
        *,
        count: int = 3,
        timeout_ms: int = 5000,
        retry_ms: int = 1,
        hold_capacity: int = 8192,
        raw_capacity: int = 4096,
        snapshot_bytes: int = 1 << 20,
        password: bytes = b"simulator",
    ) -> None:
        super().__init__(symbol=b"I0", count=count, raw_capacity=raw_capacity, norm_capacity=1 << 15, located=False)
        self.line_memory = Memory(int(lib.line_bytes()))
        self.line = ffi.cast("line *", self.line_memory.pointer)
        self.line.counter, self.line.clock = self.context.page.counter, self.context.clock
        self.line.gap_timeout_ns = 0  # nobody can be asked: lost at once
        for side in range(2):
            self.line.side[side].socket = self.line.request_socket[side] = -1
        self.line.from_snapshot = 1
        self.snapshot = ffi.new("snapshot *")
        self.hold = Ring("raw_event", capacity=hold_capacity)
        cursor = Memory(CURSOR_BYTES, kind=lib.SEGMENT_CURSOR, capacity=1)
        self.hold.cursors["hold"] = cursor
        self.hold.attach_writer(ffi.addressof(self.snapshot, "hold"))
        self.hold.attach_reader(ffi.addressof(self.snapshot, "hold_out"), "hold")
        server = self.snapshot.config
        server.address, server.port = b"127.0.0.1", port
        server.username, server.password = b"HOTPTH", password.ljust(10)
        server.send_bytes, server.receive_bytes = 4096, 1 << 17
        server.heartbeat_ns = 1000 * MILLISECOND_NS
        server.silence_ns = server.connect_timeout_ns = server.login_timeout_ns = timeout_ms * MILLISECOND_NS
        self.buffers = ffi.new("uint8_t[]", server.send_bytes + server.receive_bytes)
        self.bytes = ffi.new("uint8_t[]", snapshot_bytes)
        self.snapshot.buffers, self.snapshot.bytes, self.snapshot.capacity = self.buffers, self.bytes, snapshot_bytes
        self.snapshot.timeout_ns = timeout_ms * MILLISECOND_NS
        self.snapshot.backoff_ns_min, self.snapshot.backoff_ns_max = retry_ms * MILLISECOND_NS, 1000 * MILLISECOND_NS
        self.snapshot.counter = self.context.page.counter
        self.feed.line, self.feed.snapshot = self.line, self.snapshot

    def receive(self, data: bytes) -> None:
        """One packet of the line."""
        target = lib.snapshot_target(self.snapshot, ffi.addressof(self.feed, "raw"))
        lib.line_packet_in(self.line, target, lib.LINE_A, data, len(data), lib.clock_now(self.context.clock))

    def step(self) -> None:
        """One turn, whose events and record everybody has read."""
        self.turn()
        self.norm.release("risk")
        self.context.records.release("journal")

    def until(self, condition: Callable[[], bool], what: str, *, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """Turn after turn until something that must happen has."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {what}; failures {self.failures()}"
            meanwhile()
            self.step()

    def settle(self) -> None:
        """Turns until nothing is left to do."""
        for _ in range(3):
            while self.feed.raw_in.next != self.feed.raw.next:
                self.step()
            self.step()

    def is_stale(self) -> bool:
        """Whether all the books are stale."""
        return bool(self.counter(lib.FEED_STALE))

    @property
    def idle(self) -> bool:
        """Live, with nothing held and nothing wanted."""
        return bool(self.snapshot.state == lib.SNAPSHOT_IDLE and self.feed.raw_in.next == self.feed.raw.next)

    def queues(self) -> dict[tuple[int, int, int], list[tuple[int, int]]]:
        """Every order of the feed's own book."""
        return queues_of(self.feed.book, int(self.feed.instrument_count))

    def failures(self) -> dict[str, int]:
        """Failed attempts by reason."""
        names = ("UNREACHABLE", "REFUSED", "CUT", "MALFORMED", "OTHER_SESSION", "WRONG_SEQUENCE", "SLOW", "NO_ROOM")
        counts = {name.lower(): self.counter(getattr(lib, f"FEED_SNAPSHOT_{name}")) for name in names}
        assert sum(counts.values()) == self.counter(lib.FEED_SNAPSHOT_FAILURES)
        return {name: count for name, count in counts.items() if count}

    def close(self) -> None:
        """Leave the server."""
        lib.snapshot_close(self.snapshot, lib.clock_now(self.context.clock))


def symbols_like(feed: RecoveringFeed, venue: Venue) -> None:
    """Name the feed's instruments as the venue does, before the first packet."""
    for name, instrument in venue.market.symbols.items():
        feed.entries[instrument].symbol = name.encode()


class ScriptedServer:
    """A snapshot server that sends what it is told to, one script a connection; None: say nothing at all."""

    def __init__(self, *scripts: bytes | None) -> None:
        self.scripts = list(scripts)
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(8)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.open: list[socket.socket] = []
        self.connections = 0

    def serve(self) -> None:
        """Accept who waits and give each its script; when the scripts are used up, the last one again."""
        try:
            accepted, _ = self.listener.accept()
        except BlockingIOError:
            return
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        if script is None:
            self.open.append(accepted)
            return
        accepted.sendall(script)
        accepted.shutdown(socket.SHUT_WR)
        self.open.append(accepted)

    def close(self) -> None:
        """Close everything."""
        for each in [*self.open, self.listener]:
            each.close()


def soup(kind: bytes, payload: bytes = b"") -> bytes:
    """One SoupBinTCP packet, made in plain Python."""
    return struct.pack(">H", 1 + len(payload)) + kind + payload


def accepted(session: bytes = SESSION, sequence: int = 1) -> bytes:
    """Login accepted."""
    return soup(b"A", session.rjust(10) + str(sequence).rjust(20).encode())


def end(sequence: int | bytes) -> bytes:
    """End of snapshot: the number of the first message after it."""
    digits = sequence if isinstance(sequence, bytes) else str(sequence).rjust(20).encode()
    return soup(b"S", b"G" + digits)


def live(sequence: int, *messages: bytes) -> bytes:
    """A packet of the line."""
    return packet(sequence, list(messages), session=SESSION)
