"""What the supervisor does about reconciliation: holds and releases instruments, tightens while nobody compares.

a break stands                  its instrument is held: a word in the ring adjust, told to the gate as an execution
a person has cleared it         released, in the same way
no comparison for too long,     reduce only, until there is one again
or executions were missed
"""

from __future__ import annotations

import time
from typing import Any

from ffi import lib
from hotpath.engine import EngineMemory
from hotpath.ledger.desk import AdjustmentDesk
from hotpath.reconcile.status import BreakRecord, read_status, status_path
from hotpath.topology import side_segment

SLACK_SECONDS = 10.0  # after an interval without a comparison


class ReconcileWatch:
    """Moves the reconciliation's mode word and the holds. `check` returns what people should know."""

    def __init__(self, memory: EngineMemory, desk: AdjustmentDesk) -> None:
        """`desk`: the one writer of the ring `adjust`."""
        self._memory = memory
        self._desk = desk
        self.enabled = memory.spec.reconcile
        self._interval = float(memory.spec.config.reconcile.interval_s)
        self._page: Any = memory.segments[side_segment("reconcile")].cast("stage_page *") if self.enabled else None
        self._generation = self._comparisons = 0
        self._compared = time.monotonic()
        self._held: dict[str, BreakRecord] = {}

    @property
    def missing(self) -> list[str]:
        """Why the engine may not be armed yet, as far as it is for reconciliation to say."""
        if not self.enabled or self._page.counter[lib.RECONCILE_CONFIRMED]:
            return []
        heard = "the drop copy is heard" if self._page.counter[lib.RECONCILE_COPY_UP] else "the drop copy is not heard"
        return [f"reconciliation: positions have not been compared with the venue's in this run; {heard}"]

    def check(self) -> list[str]:
        """Look at the process's page, and act."""
        if not self.enabled:
            return []
        notices = []
        generation = int(self._page.counter[lib.RECONCILE_GENERATION])
        if generation != self._generation and (told := self._apply()) is not None:
            self._generation = generation
            notices += told
        return notices + self._tighten()

    def ended(self) -> list[str]:
        """What the comparison at the end found, once its process has left."""
        if not self.enabled:
            return []
        status = read_status(status_path(self._memory.spec.config), self._memory.spec.name)
        if status.state != "ended":
            return ["reconciliation: its process did not come to the comparison at the end"]
        found = [f"reconciliation at the end: {status.trouble}"] if status.trouble else []
        return found + [
            f"reconciliation at the end: BREAK in {each.symbol}: here {each.here_lots}, there {each.there_lots}"
            for each in status.breaks
        ]

    def _apply(self) -> list[str] | None:
        """Hold what is newly broken, release what was cleared; None when the ring has no room: to be tried again."""
        spec = self._memory.spec
        status = read_status(status_path(spec.config), spec.name)
        standing = {each.symbol: each for each in status.breaks}
        notices = []
        for symbol in [*standing, *self._held]:
            held = symbol in self._held
            if held == (symbol in standing):
                continue
            known = symbol in spec.symbols
            if known and not self._desk.hold(spec.symbols.index(symbol), held=not held):
                return None
            if held:
                del self._held[symbol]
                notices.append(f"{symbol} is released: its break was cleared")
                continue
            self._held[symbol] = each = standing[symbol]
            what = f"here {each.here_lots}, there {each.there_lots}: {'; '.join(each.findings)}"
            held_now = "it may only be reduced" if known else "the reference data has no such instrument"
            notices.append(f"BREAK in {symbol}: {what}; {held_now} until a person clears it")
        return notices

    def _tighten(self) -> list[str]:
        now = time.monotonic()
        counter = self._page.counter
        if int(counter[lib.RECONCILE_COMPARISONS]) != self._comparisons:
            self._comparisons, self._compared = int(counter[lib.RECONCILE_COMPARISONS]), now
        late = now - self._compared > self._interval + SLACK_SECONDS
        blind = late or bool(counter[lib.RECONCILE_LOST])
        wanted = int(lib.MODE_REDUCE_ONLY if blind else lib.MODE_NORMAL)
        if int(self._memory.control.cause[lib.CAUSE_RECONCILE]) == wanted:
            return []
        lib.control_cause(self._memory.control, lib.CAUSE_RECONCILE, wanted)
        if not blind:
            return ["reconciled again: the reduce-only of its absence is lifted"]
        why = "executions were missed" if not late else f"no comparison for {now - self._compared:.0f} s"
        return [f"not reconciled ({why}): reduce only, until positions are compared again"]
