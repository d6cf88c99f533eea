"""An engine's segments without an engine: real shared memory, filled by a test.

As a script it plays a trading day, so that the screen can be looked at:
``python -m tests.fabricated_engine & hotpath stat --watch fabricated``.
"""

from __future__ import annotations

import os
import random
import time
from types import TracebackType
from typing import Any, Self

from ffi import ffi, lib
from ffi.dtypes import counter_names, enum_values
from hotpath import segments
from hotpath.segments import HEADER_SIZE, Segment
from hotpath.topology import (
    CLOCK_SEGMENT,
    CONTROL_SEGMENT,
    INSTRUMENTS_SEGMENT,
    STAGES,
    hops_segment,
    page_segment,
    ring_table,
)

CAPACITY = 1024


class FabricatedEngine:
    """Segments of one engine, owned by this process, removed at exit from the context."""

    def __init__(self, name: str, *, pids: tuple[int, ...] = (0, 0, 0, 0)) -> None:
        self.name = name
        self.run_epoch = time.time_ns()
        self.segments: dict[str, Segment] = {}
        self.pids = [pid or os.getpid() for pid in pids]

    def __enter__(self) -> Self:
        segments.reap(self.name)
        clock = self._page(CLOCK_SEGMENT, lib.SEGMENT_CLOCK, "clock_page")
        lib.clock_calibrate(clock, 1_000_000, 0)
        self.clock = clock
        self.control = self._page(CONTROL_SEGMENT, lib.SEGMENT_CONTROL, "control_page")
        self._page(INSTRUMENTS_SEGMENT, lib.SEGMENT_INSTRUMENTS, "instrument_entry", count=3)
        self.pages, self.hops = {}, {}
        for index, stage in enumerate(STAGES):
            page = self._page(page_segment(stage), lib.SEGMENT_STAGE, "stage_page")
            page.state, page.pid, page.cpu = lib.STAGE_READY, self.pids[index], 1
            page.heartbeat_time_ns = lib.clock_now(clock)
            self.pages[stage] = page
            hops = self._page(hops_segment(stage), lib.SEGMENT_HISTOGRAMS, "histogram", count=lib.HOPS_MAX)
            for hop in range(lib.HOPS_MAX):
                lib.histogram_reset(ffi.addressof(hops[hop]))
            self.hops[stage] = hops
        for ring in ring_table(paper=True):
            size = lib.ring_bytes(CAPACITY, 128)
            self._create(ring.name, lib.SEGMENT_RING, size, capacity=CAPACITY, slot_size=128)
            for reader in ring.gating:
                cursor = self._page(ring.cursor(reader), lib.SEGMENT_CURSOR, "ring_cursor")
                cursor.kind = lib.CURSOR_GATING
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        segments.unlink_all([segment.info for segment in self.segments.values()])

    def _create(self, name: str, kind: int, size: int, *, capacity: int, slot_size: int) -> Segment:
        self.segments[name] = segments.create(
            self.name, name, kind, size, run_epoch=self.run_epoch, capacity=capacity, slot_size=slot_size
        )
        return self.segments[name]

    def _page(self, name: str, kind: int, struct: str, *, count: int = 1) -> Any:
        size = ffi.sizeof(struct)
        return self._create(name, kind, HEADER_SIZE + count * size, capacity=count, slot_size=size).cast(f"{struct} *")

    def count(self, stage: str, **counters: int) -> None:
        """Add to counters by name; a gauge is set with ``live_orders=...`` through `gauge`."""
        index = {name: number for number, name in counter_names(stage).items()}
        for name, value in counters.items():
            self.pages[stage].counter[index[name]] += value

    def gauge(self, stage: str, **gauges: int) -> None:
        """Set gauges by name; a negative value is stored as its two's complement."""
        index = {name: number for number, name in counter_names(stage).items()}
        for name, value in gauges.items():
            self.pages[stage].counter[index[name]] = value & (2**64 - 1)

    def record(self, stage: str, hop: str, *spans_ns: int) -> None:
        """Record spans of a hop into a stage's histogram."""
        index = enum_values("hop")[f"HOP_{hop.upper()}"]
        for span in spans_ns:
            lib.histogram_record(ffi.addressof(self.hops[stage][index]), span)

    def publish(self, ring: str, events: int) -> None:
        """Move a ring's writer on, without events."""
        self.segments[ring].cast("ring_control *").position += events

    def read(self, ring: str, reader: str, events: int) -> None:
        """Move a reader on."""
        self.segments[f"{ring}.{reader}"].cast("ring_cursor *").position += events

    def beat(self) -> None:
        """A heartbeat of every stage."""
        for page in self.pages.values():
            page.heartbeat_time_ns = lib.clock_now(self.clock)


def play(engine: FabricatedEngine, draw: random.Random) -> None:
    """A twentieth of a second of a trading day."""
    messages = draw.randint(800, 1200)
    engine.count("feed", messages=messages, book_updates=messages - 20, packets=messages // 3)
    engine.gauge("feed", live_orders=12_000 + draw.randint(-50, 50))
    engine.count("signal", events=messages)
    orders = draw.randint(2, 9)
    engine.count("risk", signals=orders + 1, approved=orders, rejected=1, bought_lots=300, sold_lots=280)
    engine.count("risk", **{draw.choice(["reject_collar", "reject_throttle", "reject_position"]): 1})
    engine.count(
        "gateway", commands=orders, new_orders=orders, accepted=orders, fills=orders // 2, canceled=orders // 3
    )
    engine.gauge("gateway", session_up=1)
    pnl = int(draw.gauss(20, 120) * 1e6)
    engine.gauge(
        "risk", open_orders=draw.randint(3, 12), position_lots=300, gross_value_micros=61_234_500_000, pnl_micros=pnl
    )
    for page in engine.pages.values():
        page.turns += messages // 2
        page.idle_turns += 90_000
    for stage, hop, center, times in (
        ("feed", "wait", 90, messages),
        ("feed", "feed", 120, messages),
        ("risk", "order_feed", 130, orders),
        ("risk", "order_signal", 310, orders),
        ("risk", "order_risk", 95, orders),
        ("gateway", "order_gateway", 210, orders),
        ("gateway", "order_path", 790, orders),
        ("gateway", "ack", 24_000, orders),
    ):
        engine.record(stage, hop, *(int(draw.lognormvariate(0, 0.35) * center) for _ in range(times)))
    for ring in ("raw", "norm"):
        engine.publish(ring, messages)
    engine.read("raw", "feed", messages)
    engine.read("norm", "signal", messages)
    engine.read("norm", "risk", messages)
    engine.read("norm", "gateway", messages)
    engine.beat()


def main() -> None:
    """Play until interrupted."""
    draw = random.Random(7)
    with FabricatedEngine("fabricated") as engine:
        while True:
            play(engine, draw)
            time.sleep(0.05)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
