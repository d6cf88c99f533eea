"""Looking after the co-processes from the supervisor's side: whose process has ended is told to the engine."""

from __future__ import annotations

from ffi import lib
from hotpath.engine import EngineMemory
from hotpath.segments import process_start_time
from hotpath.topology import seat_client_segment, seat_segment


def bury_coprocesses(memory: EngineMemory) -> None:
    """Name the seats whose process is dead: the engine need not wait until their heartbeat fails."""
    for seat in memory.spec.config.seats:
        page = memory.segments[seat_segment(seat.name)].cast("seat_page *")
        client = memory.segments[seat_client_segment(seat.name)].cast("seat_client_page *")
        epoch = int(client.attach_epoch)
        if page.state != lib.SEAT_TAKEN or page.attach_epoch != epoch or page.dead_epoch == epoch:
            continue
        if process_start_time(int(client.pid)) != int(client.start_time):
            lib.seat_bury(page, epoch)
