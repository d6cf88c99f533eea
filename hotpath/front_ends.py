"""Where the front ends stand, by what they put on record; and taking them up from there.

    raw    --> RawTrace   --> the feed's source, line or ingress goes on behind the last event
    intake --> SeatTraces --> each seat keeps its attachment; behind the last request that was passed on

A front end is not deterministic, so it is not made again. A trace is small and follows the events in order, in as
many pieces as one likes: a snapshot keeps it with the state of its stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from ffi import ffi, lib
from hotpath.engine import SLOT_SIZE
from hotpath.errors import RecoveryError
from hotpath.stages import ProcessStages

if TYPE_CHECKING:
    from hotpath.recovery import Past

SESSION_BYTES = 10
STAMP = slice(0, 8)
ORIGIN = slice(16, 24)


class RawTrace(Struct):
    """Where the feed's front end stands."""

    count: int = 0  # raw events followed
    first_ingress_ns: int = 0  # of the first message
    first_origin_ns: int = 0
    last_number: int = 0  # of the last message
    last_origin_ns: int = 0
    session: bytes = b""  # empty: none has begun
    expected: int = 0  # number of the next message of the session
    gap_end: int = 0  # of the gap that is told and not closed; 0: there is none
    in_snapshot: bool = False
    ended: bool = False

    def follow(self, raw: npt.NDArray[Any]) -> None:
        """The next events of raw."""
        kinds = raw["header"]["type"]
        numbered = (kinds == lib.RAW_MESSAGE) | (kinds == lib.RAW_NORM)
        begin = 0
        for index in [*np.flatnonzero(~numbered).tolist(), len(raw)]:
            if index > begin:
                self._messages(raw[begin], raw[index - 1])
            if index < len(raw):
                self._state(raw[index])
            begin = index + 1
        self.count += len(raw)

    def _messages(self, first: Any, last: Any) -> None:
        if not self.last_number:
            self.first_ingress_ns = int(first["header"]["ingress_time_ns"])
            self.first_origin_ns = int(first["header"]["origin_time_ns"])
        self.last_number = int(last["session_sequence"])
        self.last_origin_ns = int(last["header"]["origin_time_ns"])
        if not self.in_snapshot:  # its messages have other numbers than the session's
            self.expected = self.last_number + 1

    def _state(self, event: Any) -> None:
        kind, number, total = int(event["header"]["type"]), int(event["session_sequence"]), int(event["total"])
        self.last_origin_ns = int(event["header"]["origin_time_ns"])
        if kind == lib.RAW_SESSION:
            self.session = event["bytes"][:SESSION_BYTES].tobytes()
            self.expected, self.gap_end, self.in_snapshot, self.ended = number, 0, False, False
        elif kind == lib.RAW_GAP:
            self.gap_end = number + max(1, total)
        elif kind == lib.RAW_GAP_CLOSED:
            self.gap_end = 0
        elif kind == lib.RAW_GAP_LOST:
            self.gap_end, self.expected = 0, max(self.expected, number + total)
        elif kind == lib.RAW_SNAPSHOT_BEGIN:
            self.in_snapshot = True
        elif kind == lib.RAW_SNAPSHOT_END:
            self.in_snapshot, self.gap_end, self.expected = False, 0, number
        elif kind == lib.RAW_SESSION_END:
            self.ended = True


class SeatTrace(Struct):
    """Where the front end of one seat stands."""

    attach_epoch: int = 0
    state: int = 0  # enum seat_state
    reason: int = 0  # enum seat_cut
    request_next: int = 0  # in its orders ring
    attachments: int = 0
    cuts: int = 0


class SeatTraces(Struct):
    """Of every seat, by index."""

    count: int = 0  # events of intake followed
    seats: dict[int, SeatTrace] = field(default_factory=dict)

    def follow(self, intake: npt.NDArray[Any]) -> None:
        """The next events of intake."""
        kinds = intake["header"]["type"]
        requests = (kinds >= lib.REQUEST_NEW) & (kinds <= lib.REQUEST_RAISED)
        for index in np.unique(intake["seat"]).tolist():
            own = intake["seat"] == index
            trace = self.seats.setdefault(index, SeatTrace())
            asked = np.flatnonzero(own & requests)
            if len(asked):
                trace.request_next = int(intake["request_sequence"][asked[-1]]) + 1
            for change in intake[own & ~requests]:
                trace.attach_epoch, trace.reason = int(change["attach_epoch"]), int(change["reason"])
                if int(change["header"]["type"]) == lib.SEAT_ATTACHED:
                    trace.state = int(lib.SEAT_TAKEN)
                    trace.attachments += 1
                else:
                    left = trace.reason == lib.SEAT_CUT_DETACHED
                    trace.state = int(lib.SEAT_EMPTY if left else lib.SEAT_CUT_OFF)
                    trace.cuts += 1
        self.count += len(intake)


def resume_feed(stages: ProcessStages, trace: RawTrace, past: Past) -> None:
    """Take the feed's front end up after the last event that it put into raw. Raises RecoveryError."""
    kind = stages.spec.config.feed.kind
    if not trace.count:
        return
    if kind == "file" and trace.last_number:
        source = stages.feed.source
        if not lib.rebuild_source(source, trace.last_number, trace.first_ingress_ns, trace.first_origin_ns):
            raise RecoveryError(f"feed: its file has fewer than {trace.last_number} messages: it is another one")
        source.origin_time_ns = trace.last_origin_ns
    elif kind == "mold":
        _resume_line(stages.feed, trace)
    elif kind == "zmq":
        _resume_ingress(stages.feed.ingress, trace, past)


def _resume_line(feed: Any, trace: RawTrace) -> None:
    """A line with a number goes on from it. One that was in a snapshot begins anew, as a process just started does:
    the books are then stale until the next snapshot."""
    if not trace.session or trace.in_snapshot:
        return
    lib.rebuild_line(feed.line, trace.session, trace.expected, trace.gap_end, lib.clock_now(feed.stage.clock))
    if trace.ended:
        feed.line.ended, feed.line.end_sequence = 1, trace.expected


def _resume_ingress(source: Any, trace: RawTrace, past: Past) -> None:
    """What was copied into raw and not yet released in the ring `ingress` is passed over."""
    begin = int(source.ring.next)
    ring = past.standing("ingress", begin, begin + int(source.batch_max), "raw_event")
    tail = past.chunk("raw", max(0, trace.count - len(ring)), trace.count) if len(ring) else ring
    rows, there = (np.ascontiguousarray(part).view(np.uint8).reshape(-1, SLOT_SIZE).copy() for part in (tail, ring))
    for part in (rows, there):
        part[:, STAMP] = part[:, ORIGIN] = 0
    copied = next((n for n in range(min(len(rows), len(there)), 0, -1) if np.array_equal(rows[-n:], there[:n])), 0)
    lib.rebuild_reader_place(ffi.addressof(source, "ring"), begin + copied)
    source.origin_time_ns = trace.last_origin_ns
    source.finished = trace.ended


def resume_seats(stages: ProcessStages, traces: SeatTraces) -> None:
    """Take the seats' front end up after the last event that it put into intake."""
    now_ns = lib.clock_now(stages.signal.stage.clock)
    for index, trace in traces.seats.items():
        if index >= len(stages.spec.config.seats) or not trace.attachments:
            continue
        seat = stages.signal.seats.seat[index]
        seat.page.attachments, seat.page.cuts = trace.attachments, trace.cuts
        lib.rebuild_seat(ffi.addressof(seat), trace.attach_epoch, trace.state, trace.reason, trace.request_next, now_ns)
