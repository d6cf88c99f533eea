"""The lock of a seat: an advisory lock on its client's segment, which dies with the process that has it."""

from __future__ import annotations

import fcntl
import os

from ffi import lib
from hotpath import segments
from hotpath.errors import SeatError
from hotpath.topology import seat_client_segment


def take_seat(engine: str, seat: str, *, run_epoch: int, next_step: str) -> int:
    """The descriptor that holds the lock; closing it gives the seat back. Raises SeatError when another has it."""
    name = seat_client_segment(seat)
    path = segments.SHM_FOLDER / segments.posix_name(engine, name)[1:]
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        with segments.attach(engine, name, lib.SEGMENT_SEAT_CLIENT, run_epoch=run_epoch) as client:
            holder = int(client.cast("seat_client_page *").pid)
        raise SeatError(f"seat {seat} of engine {engine} is taken by process {holder}", next_step=next_step) from None
    return descriptor
