"""A seeded market in a file: what a strategy can be tried on where no recorded day is at hand."""

from __future__ import annotations

import mmap
from pathlib import Path

from ffi import ffi, lib

MESSAGE_BYTES_MAX = 64
OPENING_NS = 34_200 * 10**9  # 09:30


def write_generated_day(
    path: Path,
    *,
    messages: int,
    seed: int = 1,
    instruments: int = 8,
    live_orders: int = 2000,
    mean_gap_ns: int = 500_000,
    start_ns: int = OPENING_NS,
) -> Path:
    """Write `messages` length-prefixed ITCH messages of a flow that matches its own orders; returns `path`.

    `start_ns` is the first message's time since midnight. One seed is one file, byte for byte.
    """
    config = ffi.new(
        "flow_config *",
        {
            "seed": seed,
            "midnight_ns": 0,  # the file holds times of day
            "start_ns": start_ns,
            "mean_gap_ns": mean_gap_ns,
            "increment_ticks": 100,
            "instruments": instruments,
            "live_orders": live_orders,
            "runs_market": 1,
        },
    )
    size = lib.flow_bytes(config)
    assert size, "the flow's configuration is in range"
    memory = mmap.mmap(-1, size)
    flow = lib.flow_init(ffi.from_buffer(memory), size, config)
    event = ffi.new("norm_event *")
    target = ffi.new("uint8_t[]", MESSAGE_BYTES_MAX)
    with path.open("wb") as file:
        for _ in range(messages):
            lib.flow_next(flow, event)
            length = lib.flow_encode(flow, event, target, MESSAGE_BYTES_MAX)
            file.write(length.to_bytes(2, "big") + ffi.buffer(target, length)[:])
    return path
