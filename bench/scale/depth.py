"""How does the cost of an event grow with the book's depth?

path    file --> feed --> signal --> risk --> gateway     one instrument, activity near its touch, as markets have it
worst   events in memory --> book_apply_batch             one order a level; levels come and go anywhere, evenly
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness import BenchError, Options, flow_file, pinned
from bench.scale.curve import Curve, Line
from bench.scale.measure import Control, event_costs, points, rounds, scale_engine, warm_up
from ffi import ffi, lib
from ffi.dtypes import dtype_of

PATH, WORST = "whole path, a market's own activity", "book alone, levels added and deleted anywhere"
LIVE = "whole path, one message a loop"
TICK = 100
FAR_TICKS = 1_000_000_000
RUNG_BYTES = 16  # of book_ladder.h
PAIRS = 10_000  # of a delete and an add


def run(options: Options) -> Curve:
    """From 16 orders in one book to a hundred thousand."""
    counts = {
        "smoke": (16, 256),
        "quick": (16, 256, 1024, 4096, 16_384, 65_536),
        "full": tuple(2**power for power in range(4, 17)),
    }[options.size]
    messages = options.pick(smoke=40_000, quick=300_000, full=800_000)
    repeats = options.pick(smoke=1, quick=3, full=5)
    control = Control(options)
    levels: dict[float, int] = {}

    def measure(count: float) -> dict[str, float]:
        path = flow_file(messages=messages, instruments=1, live_orders=int(count))
        with scale_engine(path, options) as engine:
            warm_up(engine, 2 * int(count) + 1000)
            flat, live = event_costs(engine).values()
            levels[count] = int(lib.book_level_count(engine.stages.feed.book))
        with pinned(options.engine_cpu):
            return {
                PATH: flat,
                LIVE: live,
                WORST: worst_cost(int(count), rounds_of=options.pick(smoke=1, quick=5, full=9)),
            }

    found = rounds([float(count) for count in counts], repeats, measure, control)
    most = max(counts)
    return Curve(
        name="depth",
        title="Depth of one book",
        topology="one core; one instrument; its orders, or its levels of one order each",
        x_label="orders resting in one book",
        y_label="ns an event",
        unit="ns",
        lines=[Line(name, points(found, name)) for name in (PATH, LIVE, WORST)],
        y_scale="log",
        why=(
            "A side's prices lie sorted with the best last: a level that comes or goes moves the rungs better than it, "
            f"{RUNG_BYTES} bytes each, and an order behind a level that stands moves none. Markets act near the touch, "
            f"so the path hardly sees depth ({levels[float(most)]:,} levels at {most:,} orders): what it pays for are "
            "lines of orders and of the map that have left the near caches. Levels added anywhere move half a side, "
            "and once that copy outweighs the rest cost doubles with the levels."
        ),
        control=control.note(),
        facts={"levels": {str(int(count)): found for count, found in levels.items()}},
    )


def worst_cost(levels: int, *, rounds_of: int) -> float:
    """ns of one event of a book with so many levels, half a side each, while they go and come anywhere."""
    settings = ffi.new("book_config *", {"instruments": 1, "orders_max": 1 << 18, "levels_max": 1 << 18})
    size = lib.book_bytes(settings)
    memory = np.zeros(size + 64, np.uint8)
    base = int(memory.ctypes.data)
    book = lib.book_init(ffi.cast("void *", base + -base % 64), size, settings)
    if book == ffi.NULL:
        raise BenchError("no such book can be made")
    every = adds(np.arange(levels), levels)
    apply(book, every)
    random = np.random.default_rng(1)
    best = []
    for _ in range(rounds_of):
        chosen = random.integers(0, levels, PAIRS)
        events = np.zeros(2 * PAIRS, every.dtype)
        events[1::2] = adds(chosen, levels)
        events[0::2] = events[1::2]
        events["header"]["type"][0::2] = lib.NORM_DELETE
        best.append(apply(book, events))
    if int(lib.book_order_count(book)) != levels:
        raise BenchError("orders were lost")
    return float(np.median(best))


def adds(order: npt.NDArray[Any], levels: int) -> npt.NDArray[Any]:
    """An add of each of these orders: the first half are bids, best first, the others asks."""
    events = np.zeros(len(order), dtype_of("norm_event"))
    asks = order >= levels // 2
    behind = np.where(asks, order - levels // 2, order) + 1
    events["header"]["type"] = lib.NORM_ADD
    events["header"]["flags"] = np.where(asks, lib.FLAG_SELL, 0)
    events["order_ref"] = order + 1
    events["price_ticks"] = FAR_TICKS + np.where(asks, behind, -behind) * TICK
    events["quantity_lots"] = 100
    return events


def apply(book: Any, events: npt.NDArray[Any]) -> float:
    """ns of processor time for one of them. Raises BenchError when one was refused."""
    statuses = np.zeros(len(events), np.uint8)
    batch = ffi.from_buffer("norm_event[]", events, require_writable=True)
    target = ffi.from_buffer("uint8_t[]", statuses, require_writable=True)
    began = time.process_time_ns()
    lib.book_apply_batch(book, batch, target, len(events))
    spent = time.process_time_ns() - began
    if statuses.any():
        raise BenchError(f"the book refused an event: status {statuses.max()}")
    return spent / len(events)
