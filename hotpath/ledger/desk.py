"""The supervisor's desk: adjustments out of their file into the ring `adjust`, each to one run, in order.

Before the engine is armed all that is pending is told, and risk has heard of it; later ones as they are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.engine import EngineMemory
from hotpath.errors import AdjustmentError
from hotpath.ledger.adjustments import AdjustmentFile, Applied, adjustment_events, adjustments_path
from hotpath.rings import RingWriter


class AdjustmentDesk:
    """The one writer of the ring `adjust`."""

    def __init__(self, memory: EngineMemory) -> None:
        spec = memory.spec
        self._memory = memory
        self._file = AdjustmentFile(adjustments_path(spec.config))
        self._indices = {symbol: index for index, symbol in enumerate(spec.symbols)}
        self._rings = {ring.name: ring for ring in spec.rings}
        self._writer: RingWriter | None = None
        self._seen: tuple[int, int] | None = None  # size and time of the file when all of it was told
        self._clock: Any = memory.segments["clock"].cast("clock_page *")

    def _ring(self) -> RingWriter:
        if self._writer is None:
            spec = self._memory.spec
            parked = [
                f"bell.{place.process}"
                for place in spec.placement.places
                if place.wait == "park" and "gateway" in place.stages
            ]
            self._writer = RingWriter(
                spec.name,
                "adjust",
                gates=self._rings["adjust"].gating,
                bells=parked,
                run_epoch=self._memory.run_epoch,
            )
        return self._writer

    def hold(self, instrument: int, *, held: bool) -> bool:
        """Tell that an instrument may only be reduced, or no longer; False when there is no room now."""
        ring = self._ring()
        if not ring.room:
            return False
        event = np.zeros(1, dtype_of("adjustment_event"))
        event["header"]["type"] = lib.ADJUST_HOLD if held else lib.ADJUST_RELEASE
        event["header"]["instrument"] = instrument
        event["header"]["origin_time_ns"] = event["header"]["publish_time_ns"] = int(lib.clock_now(self._clock))
        event["parts"] = 1
        return ring.publish(event) == 1

    def serve(self) -> list[str]:
        """Tell what is pending, as far as there is room. Returns what people should know."""
        try:
            found = self._file.path.stat()
        except OSError:  # there is none
            return []
        if (found.st_size, found.st_mtime_ns) == self._seen:
            return []
        self._seen = (found.st_size, found.st_mtime_ns)  # of before: what is asked meanwhile is seen the next time
        try:
            return self._tell_pending()
        except AdjustmentError as error:  # told once: until the file changes there is nothing new to say
            return [f"adjustments: {error}"]

    def _tell_pending(self) -> list[str]:
        notices = []
        epoch = self._memory.run_epoch
        for each in self._file.pending():
            index = self._indices.get(each.symbol)
            if index is None:
                reason = f"{each.symbol} is no instrument of this run"
                self._file.mark(Applied(ids=(each.id,), run_epoch=0, reason=reason))
                notices.append(f"adjustment {each.id} by {each.who} is refused: {reason}")
                continue
            events = adjustment_events(each, instrument=index, now_ns=int(lib.clock_now(self._clock)))
            ring = self._ring()
            if ring.room < len(events):  # the gateway is away, or the journal behind: the rest waits in the file
                self._seen = None
                break
            ring.publish(events)
            self._file.mark(Applied(ids=(each.id,), run_epoch=epoch))
            what = f"{each.symbol} {each.quantity_lots:+,} lots: {each.why}"
            notices.append(f"adjustment {each.id} ({each.kind}) by {each.who}: {what}")
        return notices

    def missing(self) -> list[str]:
        """Why the engine may not be armed yet: what was told has not come through to risk."""
        if self._writer is None:
            return []
        gateway = self._memory.cursor(self._rings["adjust"], "gateway")
        risk = self._memory.cursor(self._rings["exec"], "risk")
        executions = self._memory.segments["exec"].cast("ring_control *")
        if gateway.position >= self._writer.next_sequence and risk.position >= executions.position:
            return []
        return ["risk has not heard of every adjustment"]
