"""The feed stage as tests drive it: a recorded feed or raw events in, norm events out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffi import ffi, lib
from tests.support.memory import Memory, Ring
from tests.support.stages import Context, instruments


class DrivenFeed:
    """A feed with one instrument of the given locate. In virtual time unless `live`."""

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
    ) -> None:
        self.feed = ffi.new("feed_stage *")
        self.context = Context(self.feed.stage, lib.STAGE_FEED, now_ns=0)
        self.raw = Ring("raw_event", "feed", capacity=raw_capacity, dirty=True)
        self.norm = Ring("norm_event", "risk", capacity=norm_capacity, dirty=True)
        self.raw.attach_writer(ffi.addressof(self.feed, "raw"))
        self.raw.attach_reader(ffi.addressof(self.feed, "raw_in"), "feed")
        self.norm.attach_writer(ffi.addressof(self.feed, "norm"))
        config = ffi.new("book_config *", {"instruments": 1, "orders_max": orders_max, "levels_max": orders_max})
        size = lib.book_bytes(config)
        self.book_memory = Memory(size, dirty=True)
        self.feed.book = lib.book_init(self.book_memory.pointer, size, config)
        self.entries = instruments(1, venue_locate=locate, symbol=symbol)  # as the recorded directory says
        self.locate = ffi.new("uint32_t[]", 65536)
        self.feed.instruments, self.feed.instrument_count, self.feed.locate = self.entries, 1, self.locate
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

    def counter(self, index: int) -> int:
        return self.context.counter(index)
