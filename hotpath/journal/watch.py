"""What the supervisor watches of the journal: its lag, its losses, its disk, its death.

half a ring behind          positions are only reduced, until it is less than a quarter behind
little room on its disk     positions are only reduced, or no new orders, until there is more
killed, or hung             positions are only reduced, until its successor has caught up
lapped where it observes    halted: the journal has a hole
a turn without its record   halted: the ring of turn records was full, what follows cannot be made again
the disk refused            halted, and the rings that waited for it wait no more; nor is it started again
"""

from __future__ import annotations

from typing import Any

from ffi import lib
from hotpath.engine import EngineMemory
from hotpath.topology import Ring, side_segment

BEHIND = 0.5  # of a ring
CAUGHT_UP = 0.25
AGAIN = "to trade on, start the engine again"


class JournalWatch:
    """Moves the journal's own causes. Each method returns what people should know, or an empty text."""

    def __init__(self, memory: EngineMemory) -> None:
        self._memory = memory
        self._rings = [ring for ring in memory.spec.rings if "journal" in (*ring.gating, *ring.observers)]
        self._halted = self._behind = self._away = False
        self._space = int(lib.JOURNAL_SPACE_ENOUGH)

    def died(self) -> str:
        """Without its journal an engine takes no new orders; what is open may still be cancelled."""
        self._halted = True
        self._set(lib.CAUSE_JOURNAL_LOST, lib.MODE_HALTED)
        self._memory.release_reader("journal")
        return "halted"

    def went_away(self) -> None:
        """It will be started again: until it has caught up, no position may grow."""
        self._away = True
        self._apply()

    def check(self, *, running: bool) -> str:
        """Look at its cursors and at what it says of its disk; each finding is told once."""
        if self._halted:
            return ""
        lapped = [ring.name for ring in self._rings if self._memory.cursor(ring, "journal").lost_count]
        if lapped:
            self._halted = True
            self._set(lib.CAUSE_JOURNAL_LOST, lib.MODE_HALTED)
            return f"the journal was lapped in {', '.join(lapped)}: halted, the recording has a hole; {AGAIN}"
        full = [ring.name for ring in self._rings if ring.name.endswith(".ctl") and self._found_full(ring)]
        if full:
            self._halted = True
            self._set(lib.CAUSE_JOURNAL_LOST, lib.MODE_HALTED)
            return f"turns found no room in {', '.join(full)}: halted, they cannot be made again; {AGAIN}"
        told = [self._look_at_lag(running), self._look_at_space()]
        self._apply()
        return "; ".join(filter(None, told))

    def _look_at_lag(self, running: bool) -> str:
        behind = max(map(self._lag, self._rings))
        if behind < CAUGHT_UP:
            self._behind = False
            self._away &= not running
        elif behind >= BEHIND and not self._behind:
            self._behind = True
            return "the journal fell half a ring behind: reduce only, until it has caught up"
        return ""

    def _look_at_space(self) -> str:
        page: Any = self._memory.segments[side_segment("journal")].cast("stage_page *")
        space = int(page.counter[lib.JOURNAL_SPACE])
        if space == self._space:
            return ""
        self._space = space
        free = f"{int(page.counter[lib.JOURNAL_FREE_BYTES]) >> 20:,} MiB free on the journal's disk"
        if space == lib.JOURNAL_SPACE_OUT:
            return f"{free}: no new orders until there is room"
        if space == lib.JOURNAL_SPACE_LOW:
            return f"{free}: reduce only, until there is room"
        return f"{free}: enough again"

    def _apply(self) -> None:
        space = {lib.JOURNAL_SPACE_OUT: lib.MODE_HALTED, lib.JOURNAL_SPACE_LOW: lib.MODE_REDUCE_ONLY}
        self._set(lib.CAUSE_JOURNAL_SPACE, space.get(self._space, lib.MODE_NORMAL))
        self._set(lib.CAUSE_JOURNAL, lib.MODE_REDUCE_ONLY if self._behind or self._away else lib.MODE_NORMAL)

    def _set(self, cause: int, mode: int) -> None:
        lib.control_cause(self._memory.control, cause, mode)

    def _found_full(self, ring: Ring) -> bool:
        return int(self._memory.segments[ring.name].cast("ring_control *").full_count) > 0

    def _lag(self, ring: Ring) -> float:
        """How far the journal is behind, as a part of the ring."""
        segment = self._memory.segments[ring.name]
        published = int(segment.cast("ring_control *").position)
        behind = published - int(self._memory.cursor(ring, "journal").position)
        return max(0, behind) / segment.info.capacity
