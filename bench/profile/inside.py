"""What callgrind watches: ``python -m bench.profile.inside FEED WARM EVENTS MARKS LOOP``, under valgrind.

    WARM events, unseen --> begin --> EVENTS, "few": the modelled caches fill --> EVENTS * 2, "many" --> end

"few" and "few" with "many" are runs of two lengths; "many" alone is their difference. The fused engine takes one
message a loop, as a live one does; its clock is moved by hand, so that the same events are the same instructions.
MARKS and LOOP are libraries of bench/programs: callgrind_marks.c, loop_many.c. Prints one line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

from bench.latency.inside import EVENTS_PER_SECOND, LOOPS, address, slow_clock
from bench.latency.runner import PathSubject
from ffi import ffi, lib

SLICES = 64  # between two looks from Python
STEP_NS = LOOPS * 10**9 // EVENTS_PER_SECOND


class Player:
    """An engine that plays its file by loop_many."""

    def __init__(self, subject: PathSubject, loop_path: Path) -> None:
        self.subject = subject
        engine = subject.engine
        self._loop_many = ctypes.CDLL(str(loop_path)).loop_many
        self._loop_many.argtypes = [*[ctypes.c_void_p] * 3, ctypes.c_uint64, ctypes.c_uint32]
        self._run = address(ffi.addressof(lib, "duty_run"))
        self._duty = address(engine.stages.duty)
        self._anchor = address(ffi.addressof(engine.clock, "anchor_time_ns"))

    def play(self, events: int) -> dict[str, int]:
        """At least so many messages: how many, and how many orders left."""
        began, orders = self.subject.position, self.subject.orders
        while self.subject.position - began < events:
            if self.subject.engine.source.finished:
                raise SystemExit("the file ends too early")
            if self._loop_many(self._run, self._duty, self._anchor, STEP_NS, SLICES) == lib.DUTY_FAILED:
                raise SystemExit("a stage failed")
        return {"events": self.subject.position - began, "orders": self.subject.orders - orders}


def profile_path(feed: Path, *, warm: int, events: int, marks_path: Path, loop_path: Path) -> dict[str, Any]:
    """Both parts, marked."""
    marks = ctypes.CDLL(str(marks_path))
    subject = PathSubject(feed, cpu=0)
    try:
        subject.advance(warm)
        slow_clock(subject.engine)
        player = Player(subject, loop_path)
        marks.marks_begin()
        parts = []
        for name, length in (("few", events), ("many", 2 * events)):
            played = player.play(length)
            marks.marks_write(name.encode())
            parts.append({"name": name, **played})
        return {"parts": parts}
    finally:
        subject.close()


def main(words: list[str]) -> int:
    """Entry point."""
    if len(words) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    feed, warm, events, marks_path, loop_path = words
    made = profile_path(
        Path(feed), warm=int(warm), events=int(events), marks_path=Path(marks_path), loop_path=Path(loop_path)
    )
    print(json.dumps(made))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
