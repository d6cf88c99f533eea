"""The feed stage as tests drive it: a recorded feed or raw events in, norm events out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ffi import ffi, lib
from hotpath.stat import UNUSED_REASONS
from tests.support.memory import Memory, Ring
from tests.support.stages import Context, instruments


class DrivenFeed:
    """A feed with one instrument of the given locate, or several that are called I0, I1, ... with locates from 1;
    `filtered` are those left out. In virtual time."""

    def __init__(
        self,
        data: bytes = b"",
        *,
        locate: int = 13,
        raw_capacity: int = 4096,
        norm_capacity: int = 4096,
        batch_max: int = 256,
        orders_max: int = 20_000,
        symbol: bytes = b"AAPL",
        count: int = 1,
        filtered: Sequence[int] = (),
        located: bool = True,
    ) -> None:
        self.feed = ffi.new("feed_stage *")
        self.context = Context(self.feed.stage, lib.STAGE_FEED, now_ns=0)
        self.raw = Ring("raw_event", "feed", capacity=raw_capacity, dirty=True)
        self.norm = Ring("norm_event", "risk", capacity=norm_capacity, dirty=True)
        self.raw.attach_writer(ffi.addressof(self.feed, "raw"))
        self.raw.attach_reader(ffi.addressof(self.feed, "raw_in"), "feed")
        self.norm.attach_writer(ffi.addressof(self.feed, "norm"))
        config = ffi.new("book_config *", {"instruments": count, "orders_max": orders_max, "levels_max": orders_max})
        size = lib.book_bytes(config)
        self.book_memory = Memory(size, dirty=True)
        self.feed.book = lib.book_init(self.book_memory.pointer, size, config)
        one = {"venue_locate": locate, "symbol": symbol}  # as the recorded directory says
        self.entries = instruments(count, **(one if count == 1 else {}))
        for index in range(count):
            self.entries[index].flags |= lib.INSTRUMENT_FILTERED if index in filtered else 0
            if not located:
                self.entries[index].venue_locate = 0
        self.locate = ffi.new("uint32_t[]", 65536)
        self.feed.instruments, self.feed.instrument_count, self.feed.locate = self.entries, count, self.locate
        self.feed.batch_max = batch_max
        self.data = ffi.from_buffer(data)
        self.source = ffi.new("source *", {"size": len(data), "batch_max": 64})
        self.source.bytes = ffi.cast("uint8_t *", self.data)
        if data:
            self.feed.source = self.source
        lib.feed_init(self.feed)
        self.plan = ffi.new("turn_plan *")

    def turn(self) -> int:
        """Plan, then take the turn."""
        lib.feed_plan(self.feed, self.plan)
        return int(lib.feed_turn(self.feed, self.plan))

    def run(self) -> np.ndarray[Any, Any]:
        """Every norm event of the whole source; its only reader keeps up."""
        parts, seen = [], 0
        while self.turn() or not self.source.finished:
            parts.append(self.norm.events(seen))
            seen = self.norm.published
            self.norm.release("risk")
            self.context.records.release("journal")
        return np.concatenate(parts)

    def unused(self) -> dict[str, int]:
        """Messages not used, by reason."""
        counts = {name: self.counter(getattr(lib, f"FEED_{name.upper()}")) for name in UNUSED_REASONS}
        return {name: count for name, count in counts.items() if count}

    def assert_all_accounted(self) -> None:
        """Every message was used, or is counted under one reason."""
        used = self.counter(lib.FEED_USED)
        assert self.counter(lib.FEED_MESSAGES) == used + sum(self.unused().values()), self.unused()

    def counter(self, index: int) -> int:
        return self.context.counter(index)


def raw_state(feed: DrivenFeed, kind: int, total: int = 0, *, sequence: int = 0) -> None:
    """A state of the line, as line.c writes it."""
    event = ffi.new("raw_event *", {"session_sequence": sequence, "total": total})
    event.header.type, event.header.flags = kind, lib.FLAG_PACKET_END
    event.header.instrument = lib.NO_INSTRUMENT
    assert lib.ring_publish(ffi.addressof(feed.feed, "raw"), event, ffi.sizeof("raw_event")) == lib.RING_OK


def raw_message(feed: DrivenFeed, data: bytes, *, flags: int = lib.FLAG_PACKET_END) -> None:
    """One message as it came; longer ones in several slots."""
    for offset in range(0, max(len(data), 1), lib.RAW_BYTES_MAX):
        part = data[offset : offset + lib.RAW_BYTES_MAX]
        event = ffi.new("raw_event *", {"length": len(part), "offset": offset, "total": len(data)})
        event.header.type, event.header.flags = lib.RAW_MESSAGE, flags
        ffi.memmove(event.bytes, part, len(part))
        assert lib.ring_publish(ffi.addressof(feed.feed, "raw"), event, ffi.sizeof("raw_event")) == lib.RING_OK


def message(letter: bytes, locate: int, body: bytes) -> bytes:
    """The head that every ITCH message has, and its own part."""
    return letter + locate.to_bytes(2, "big") + bytes(2) + (1000).to_bytes(6, "big") + body


def add_order(ref: int, price: int = 10_000, *, locate: int = 13, stock: bytes = b"I0", side: bytes = b"B") -> bytes:
    """A: 100 shares."""
    body = ref.to_bytes(8, "big") + side + (100).to_bytes(4, "big") + stock.ljust(8) + price.to_bytes(4, "big")
    return message(b"A", locate, body)


def delete_order(ref: int, *, locate: int = 13) -> bytes:
    """D."""
    return message(b"D", locate, ref.to_bytes(8, "big"))


def execute_order(ref: int, shares: int, *, locate: int = 13) -> bytes:
    """E."""
    return message(b"E", locate, ref.to_bytes(8, "big") + shares.to_bytes(4, "big") + (1).to_bytes(8, "big"))


def directory(locate: int, stock: bytes) -> bytes:
    """R."""
    return message(
        b"R", locate, stock.ljust(8) + b"Q" + b"N" + (100).to_bytes(4, "big") + b"NCZ PN 1N" + bytes(4) + b"N"
    )
