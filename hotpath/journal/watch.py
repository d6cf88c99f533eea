"""What the supervisor watches of the journal: its lag, its losses, its death.

half a ring behind          positions are only reduced, until it is less than a quarter behind
lapped where it observes    halted: the recording has a hole
dead, or hung               halted, and the rings that waited for it wait no more
"""

from __future__ import annotations

from ffi import lib
from hotpath.engine import EngineMemory
from hotpath.topology import Ring

BEHIND = 0.5  # of a ring
CAUGHT_UP = 0.25


class JournalWatch:
    """Moves the journal's own mode word. Each method returns what people should know, or an empty text."""

    def __init__(self, memory: EngineMemory) -> None:
        self._memory = memory
        self._rings = [ring for ring in memory.spec.rings if "journal" in (*ring.gating, *ring.observers)]

    def died(self) -> str:
        """Without its journal an engine takes no new orders; what is open may still be cancelled."""
        self._set(lib.MODE_HALTED)
        self._memory.release_reader("journal")
        return "halted"

    def check(self) -> str:
        """Look at its cursors; each finding is told once."""
        mode = self._memory.control.mode[lib.TIGHTENER_JOURNAL]
        if mode == lib.MODE_HALTED:
            return ""
        lapped = [ring.name for ring in self._rings if self._memory.cursor(ring, "journal").lost_count]
        if lapped:
            self._set(lib.MODE_HALTED)
            return f"the journal was lapped in {', '.join(lapped)}: halted, the recording has a hole"
        behind = max(map(self._lag, self._rings))
        if behind >= BEHIND and mode == lib.MODE_NORMAL:
            self._set(lib.MODE_REDUCE_ONLY)
            return "the journal fell half a ring behind: reduce only, until it has caught up"
        if behind < CAUGHT_UP and mode == lib.MODE_REDUCE_ONLY:
            self._set(lib.MODE_NORMAL)
        return ""

    def _set(self, mode: int) -> None:
        lib.control_mode(self._memory.control, lib.TIGHTENER_JOURNAL, mode)

    def _lag(self, ring: Ring) -> float:
        """How far the journal is behind, as a part of the ring."""
        segment = self._memory.segments[ring.name]
        published = int(segment.cast("ring_control *").position)
        behind = published - int(self._memory.cursor(ring, "journal").position)
        return max(0, behind) / segment.info.capacity
