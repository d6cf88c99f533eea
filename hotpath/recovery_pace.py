"""What is missing is asked for no faster than the journal reads raw: a lag of half a ring would cost the mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ffi import ffi, lib
from hotpath.config import RingsConfig
from hotpath.segments import Segment
from hotpath.topology import Ring

LAG_PART = 4  # of raw: the journal counts as caught up below it


def pace_recovery(feed: Any, ring: Ring, attach: Callable[[str, int], Segment], *, config: RingsConfig) -> None:
    """Show the line the journal's place in raw, where one reads it. `feed`: ``feed_stage *``, with its line."""
    if "journal" not in ring.observers:
        return
    cursor = attach(ring.cursor("journal"), lib.SEGMENT_CURSOR)
    feed.line.recorded, feed.line.recorder = ffi.addressof(feed, "raw"), cursor.cast("ring_cursor *")
    feed.line.recorder_lag_max = ring.capacity(config) // LAG_PART
