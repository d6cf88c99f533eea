"""The process `reconcile`: reads the ring of executions, listens to the drop copy, compares, tells.

It only looks on: a private cursor in the ring holds nobody up, and the copy's session cannot trade.
What it finds goes to its status file and, as numbers, to its page; the supervisor acts on it (watch.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.errors import HotpathError
from hotpath.journal import Journal
from hotpath.reconcile.client import CopyClient
from hotpath.reconcile.comparison import Comparison, Key
from hotpath.reconcile.status import (
    CLEARED_KEPT,
    BreakRecord,
    ReconcileStatus,
    local_time,
    read_status,
    status_path,
    take_requests,
    write_status,
)
from hotpath.reconcile.wire import CopyEnd, CopyExecution, CopyLine
from hotpath.rings import CURSOR_BYTES
from hotpath.segments import HEADER_SIZE
from hotpath.side_runtime import SideRuntime, run_side
from hotpath.topology import page_segment

BATCH = 1024
POLL_SECONDS = 0.01
STATUS_SECONDS = 1.0
RETRY_SECONDS = 0.5  # between two questions while positions have not been compared
FINAL_SECONDS = 2.0
NICE = 5
KINDS = {int(lib.EXEC_FILL): "E", int(lib.EXEC_BROKEN): "B", int(lib.EXEC_CORRECTED): "F"}


def journaled(folder: str) -> Iterator[Any]:
    """Executions of this run that its journal has already, as when this process is started again after hours."""
    try:
        yield from Journal(Path(folder)).batches("exec") if folder else ()
    except HotpathError as error:  # none yet, or none that can be read: the ring has at least the last ones
        print(f"reconcile: {error}", file=sys.stderr)


class Executions:
    """The ring exec from an event on, through a cursor of this process alone."""

    def __init__(self, runtime: SideRuntime, *, first: int) -> None:
        self._segment = runtime.attach("exec", lib.SEGMENT_RING)
        self._cursor = ffi.new("uint8_t[]", CURSOR_BYTES + 64)
        at = (int(ffi.cast("uintptr_t", self._cursor)) + 63) // 64 * 64
        cursor = ffi.cast("void *", at)
        ffi.cast("ring_cursor *", at + HEADER_SIZE).position = first  # this process's own memory
        lib.segment_seal(cursor, ffi.new("segment_header *", {"kind": lib.SEGMENT_CURSOR, "capacity": 1}))
        self._reader = ffi.new("ring_reader *")
        status = lib.ring_reader_attach(self._reader, self._segment.pointer, cursor, lib.CURSOR_OBSERVER)
        if status != lib.RING_OK:
            raise HotpathError(f"reconcile: ring exec cannot be read (status {status})")
        self._lost = ffi.new("uint64_t *")
        self._batch = np.empty(BATCH, dtype_of("exec_event"))

    def read(self) -> Any:
        """What was published since; at most BATCH."""
        count = int(lib.ring_copy(self._reader, ffi.from_buffer(self._batch), BATCH, self._lost))
        return self._batch[:count]

    @property
    def lost(self) -> int:
        """Events that were overwritten before they were read: what they moved is not known here."""
        return int(self._lost[0])


class Reconciler:
    """One run's reconciliation."""

    def __init__(self, run_path: Path, journal: str = "") -> None:
        """`journal`: folder of the run's, empty where it has none."""
        self.runtime = SideRuntime("reconcile", run_path, nice=NICE)
        config = self.runtime.spec.config
        self.config = config.reconcile
        self.symbols = self.runtime.spec.symbols
        self.path = status_path(config)
        before = read_status(self.path, self.runtime.spec.name)
        self.status = ReconcileStatus(
            self.runtime.spec.name,
            trading_day=self.runtime.spec.trading_day,
            breaks=before.breaks,
            cleared=before.cleared,
        )
        self.comparison = Comparison(grace_ns=self.config.grace_ms * 1_000_000)
        first = 0
        for events in journaled(journal):
            first += len(events)
            for event in events:
                self._execution(event, time.monotonic_ns())
        self.executions = Executions(self.runtime, first=first)
        gateway = self.runtime.attach(page_segment("gateway"), lib.SEGMENT_STAGE)
        self._gateway: Any = gateway.cast("stage_page *")
        self._gateway_segment = gateway
        self.client = CopyClient(
            self.config.host or config.gateway.host,
            self.config.port or config.gateway.port,
            username=self.config.username,
            password=self.config.password(),
        )
        self._asked = 0
        self._lines: dict[str, int] = {}
        self._due = self._written = 0.0
        self._compared = time.monotonic()
        self._counter: Any = self.runtime.page.counter

    def run(self) -> None:
        """Until told to stop, then once more for the end of the day."""
        self._tell_breaks()
        self.runtime.ready()
        while self.runtime.running:
            self._turn(POLL_SECONDS)
        self._finish()
        self.client.close()
        self.runtime.stopped()

    def _turn(self, seconds: float) -> None:
        self._read_ring()
        for message in self.client.poll(seconds):
            self._hear(message)
        self._read_ring()
        self.comparison.expire(time.monotonic_ns())
        self._obey()
        self._ask_when_due()
        self._take_breaks()
        self._show()
        self.runtime.beat()

    # ---- in ----------------------------------------------------------------------------------------

    def _read_ring(self) -> None:
        while len(events := self.executions.read()):
            now_ns = time.monotonic_ns()
            for event in events:
                self._execution(event, now_ns)

    def _execution(self, event: Any, now_ns: int) -> None:
        kind, instrument = int(event["header"]["type"]), int(event["header"]["instrument"])
        if instrument >= len(self.symbols):
            return
        symbol, side = self.symbols[instrument], "S" if event["side"] == lib.SIDE_SELL else "B"
        quantity, price = int(event["quantity_lots"]), int(event["price_ticks"])
        if kind == lib.EXEC_ADJUSTED:
            self.comparison.move(symbol, quantity if side == "B" else -quantity)
        elif kind in KINDS and event["session_sequence"]:
            key = Key(KINDS[kind], int(event["match_id"]), symbol, side, price if KINDS[kind] == "F" else 0)
            self.comparison.execute_here(key, quantity=quantity, price=price, now_ns=now_ns)

    def _hear(self, message: CopyExecution | CopyLine | CopyEnd) -> None:
        if isinstance(message, CopyExecution):
            self.comparison.execute_there(message, now_ns=time.monotonic_ns())
        elif isinstance(message, CopyLine):
            if message.request == self._asked:
                self._lines[message.symbol] = message.lots
        elif message.request == self._asked:
            self._answered(message)

    def _answered(self, end: CopyEnd) -> None:
        self._asked = 0
        if end.lines != len(self._lines) or end.executions != self.client.executions:
            return  # not what it says: asked again when due
        self._read_ring()
        self.comparison.compare(self._lines)
        self._compared = time.monotonic()
        self.status.comparisons += 1
        self.status.compared_at = local_time()
        self.status.here = {symbol: lots for symbol, lots in sorted(self.comparison.here_lots.items()) if lots}
        self.status.there = dict(sorted(self._lines.items()))

    def _ask_when_due(self) -> None:
        """Not before the gateway knows what the venue tells: until then the two cannot be compared."""
        now = time.monotonic()
        if now < self._due or not self.client.up or not self._gateway.counter[lib.GATEWAY_SESSION_UP]:
            return
        self._lines = {}
        self._asked = self.client.ask()
        self._due = now + (self.config.interval_s if self.comparison.confirmed else RETRY_SECONDS)

    def _obey(self) -> None:
        for request in take_requests(self.path):
            standing = next((each for each in self.status.breaks if each.symbol == request.symbol), None)
            self.comparison.clear(request.symbol)
            if standing is None:
                continue
            self.status.breaks.remove(standing)
            standing.cleared_by, standing.cleared_reason, standing.cleared_at = request.by, request.reason, local_time()
            self.status.cleared = [*self.status.cleared, standing][-CLEARED_KEPT:]
            print(f"reconcile: {request.symbol} cleared by {request.by}: {request.reason}", file=sys.stderr)
            self._tell_breaks()
            self._due = 0.0

    # ---- out ---------------------------------------------------------------------------------------

    def _take_breaks(self) -> None:
        """What was found goes to the status; breaks of runs before stand there until people clear them."""
        changed = False
        for found in self.comparison.breaks.values():
            known = next((each for each in self.status.breaks if each.symbol == found.symbol), None)
            if known is None:
                known = BreakRecord(found.symbol, found.here_lots, found.there_lots, [], local_time())
                self.status.breaks.append(known)
            fresh = [finding for finding in found.findings if finding not in known.findings]
            for finding in fresh:
                print(
                    f"reconcile: BREAK {found.symbol}: {finding} (here {found.here_lots}, there {found.there_lots})",
                    file=sys.stderr,
                )
            moved = (known.here_lots, known.there_lots) != (found.here_lots, found.there_lots)
            known.here_lots, known.there_lots = found.here_lots, found.there_lots
            known.findings += fresh
            changed |= bool(fresh) or moved
        if changed:
            self._tell_breaks()

    def _tell_breaks(self) -> None:
        """On disk first, then in the page, where the supervisor looks."""
        self._fill_status()
        write_status(self.path, self.status, durable=True)
        self._counter[lib.RECONCILE_GENERATION] += 1

    def _fill_status(self) -> None:
        lost = self.executions.lost
        self.status.state = "blind" if lost or not self.client.up else "reconciling"
        self.status.trouble = (
            f"{lost} executions of this run were overwritten before they were read" if lost else self.client.trouble
        )
        self.status.confirmed = self.comparison.confirmed
        self.status.matched, self.status.waiting = self.comparison.matched, self.comparison.waiting

    def _show(self) -> None:
        now = time.monotonic()
        counter = self._counter
        counter[lib.RECONCILE_MATCHED] = self.comparison.matched
        counter[lib.RECONCILE_WAITING] = self.comparison.waiting
        counter[lib.RECONCILE_COMPARISONS] = self.status.comparisons
        counter[lib.RECONCILE_BREAKS] = len(self.status.breaks)
        counter[lib.RECONCILE_COPY_UP] = self.client.up
        counter[lib.RECONCILE_LOST] = self.executions.lost
        counter[lib.RECONCILE_AGE_MS] = int((now - self._compared) * 1000)
        counter[lib.RECONCILE_CONFIRMED] = self.comparison.confirmed
        if now - self._written >= STATUS_SECONDS:
            self._written = now
            self._fill_status()
            write_status(self.path, self.status, durable=False)

    def _finish(self) -> None:
        """The end of the day, or of the run: everything that was executed is in the ring by now."""
        before, deadline = self.status.comparisons, time.monotonic() + FINAL_SECONDS
        self._lines, self._asked = {}, self.client.ask()
        while self._asked and self.status.comparisons == before and time.monotonic() < deadline:
            self._turn(POLL_SECONDS)
        self._take_breaks()
        self._fill_status()
        self.status.state = "ended"
        if self.status.comparisons == before:
            self.status.trouble = f"not compared at the end: {self.client.trouble or 'the venue did not answer'}"
        write_status(self.path, self.status, durable=True)


def main(arguments: list[str]) -> int:
    """Entry point of the process: RUN_FILE [FOLDER of the run's journal]."""
    journal = arguments[1] if len(arguments) > 1 else ""
    return run_side("reconcile", lambda run_path: Reconciler(run_path, journal).run(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
