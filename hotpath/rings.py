"""Rings for tests, tools and observers: the protocol of ring.h, reached from Python.

    create_ring -> norm, norm.signal, norm.journal          one ring segment, one cursor segment a reader
    RingWriter.publish(events)     RingReader.copy(max) -> a structured array     Doorbell.wait / ring

The stages do not use these classes: they run the inline protocol in C. Here one call moves a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of, enum_names
from hotpath import segments
from hotpath.errors import RingError, SegmentError
from hotpath.segments import HEADER_SIZE, Segment

SLOT_SIZE = 128
CURSOR_BYTES: int = HEADER_SIZE + ffi.sizeof("ring_cursor")
DOORBELL_BYTES: int = HEADER_SIZE + ffi.sizeof("doorbell")


def create_ring(
    engine: str,
    name: str,
    *,
    capacity: int,
    readers: Sequence[str],
    run_epoch: int,
    slot_size: int = SLOT_SIZE,
    huge_pages: bool = False,
) -> list[Segment]:
    """Make a ring of `capacity` slots and a cursor for each reader; returns the segments, the ring first.

    Raises RingError for a capacity or slot size that is no power of two, and what `segments.create` raises.
    """
    size = lib.ring_bytes(capacity, slot_size)
    if size == 0:
        raise RingError(
            f"ring {name}: {capacity} slots of {slot_size} bytes",
            next_step="both are powers of two, a slot of 64 to 65536 bytes",
        )
    made = [
        segments.create(
            engine,
            name,
            lib.SEGMENT_RING,
            size,
            run_epoch=run_epoch,
            capacity=capacity,
            slot_size=slot_size,
            huge_pages=huge_pages,
        )
    ]
    for reader in readers:
        made.append(
            segments.create(
                engine, f"{name}.{reader}", lib.SEGMENT_CURSOR, CURSOR_BYTES, run_epoch=run_epoch, capacity=1
            )
        )
    return made


def _check(status: int, what: str) -> None:
    if status != lib.RING_OK:
        raise RingError(f"{what}: {enum_names('ring_status').get(status, str(status)).lower()}")


class RingWriter:
    """The one writer of a ring. Takes up where a dead writer left off."""

    def __init__(
        self,
        engine: str,
        name: str,
        *,
        gates: Sequence[str] = (),
        bells: Sequence[str] = (),
        run_epoch: int | None = None,
    ) -> None:
        """`gates`: readers never to be overrun. `bells`: doorbell segments to ring after a commit."""
        self.name = name
        self._ring = segments.attach(engine, name, lib.SEGMENT_RING, writable=True, run_epoch=run_epoch)
        self._cursors = [
            segments.attach(engine, f"{name}.{gate}", lib.SEGMENT_CURSOR, run_epoch=run_epoch) for gate in gates
        ]
        self._bells = [segments.attach(engine, bell, lib.SEGMENT_DOORBELL, writable=True) for bell in bells]
        self.c: Any = ffi.new("ring_writer *")
        _check(lib.ring_writer_attach(self.c, self._ring.pointer), f"ring {name}")
        for gate, cursor in zip(gates, self._cursors, strict=True):
            _check(lib.ring_writer_gate(self.c, cursor.pointer), f"ring {name}, reader {gate}")
        for bell, segment in zip(bells, self._bells, strict=True):
            _check(lib.ring_writer_bell(self.c, segment.pointer), f"ring {name}, doorbell {bell}")

    @property
    def next_sequence(self) -> int:
        """Sequence of the next event."""
        return int(self.c.next)

    @property
    def room(self) -> int:
        """How many events could be published now."""
        return int(lib.ring_room(self.c))

    @property
    def full_count(self) -> int:
        """Claims declined because a gating reader lagged, over the ring's life."""
        return int(self.c.control.full_count)

    def publish(self, events: npt.NDArray[Any]) -> int:
        """Publish a structured array, or one element of it, in order; returns how many found room.

        An event's first word is its stamp, which the ring writes. Raises RingError when it is larger than a slot.
        """
        batch = np.ascontiguousarray(np.atleast_1d(events))
        size = batch.dtype.itemsize
        source = ffi.cast("uint8_t *", ffi.from_buffer(batch))
        if size > 1 << self.c.slot_shift:
            _check(lib.RING_BAD_SIZE, f"ring {self.name}: an event of {size} bytes")
        return int(lib.ring_publish_batch(self.c, source, size, len(batch)))


class RingReader:
    """A reader of a ring, at its own cursor. Maps the ring read-only.

    `gating` says whether the writer was told to wait for it. An observer may lose events, and counts them.
    """

    def __init__(
        self,
        engine: str,
        name: str,
        reader: str,
        *,
        gating: bool,
        dtype: str | npt.DTypeLike = "event_header",
        run_epoch: int | None = None,
    ) -> None:
        """`dtype`: what a slot holds, as ``norm_event``; the slot's size need not be the struct's."""
        self._ring = segments.attach(engine, name, lib.SEGMENT_RING, run_epoch=run_epoch)
        self._cursor = segments.attach(
            engine, f"{name}.{reader}", lib.SEGMENT_CURSOR, writable=True, run_epoch=run_epoch
        )
        kind = lib.CURSOR_GATING if gating else lib.CURSOR_OBSERVER
        self.c: Any = ffi.new("ring_reader *")
        _check(
            lib.ring_reader_attach(self.c, self._ring.pointer, self._cursor.pointer, kind),
            f"ring {name}, reader {reader}",
        )
        self.dtype = _slot_dtype(dtype, self._ring)
        self._lost = ffi.new("uint64_t *")

    @property
    def next_sequence(self) -> int:
        """Sequence of the next event to read."""
        return int(self.c.next)

    @property
    def lost_count(self) -> int:
        """Events that this reader lost, over the cursor's life."""
        return int(self.c.cursor.lost_count)

    @property
    def lag(self) -> int:
        """Events published and not yet read."""
        return max(0, int(self.c.control.position) - self.next_sequence)

    def join(self) -> None:
        """Observer: skip what was published before now, without counting it as lost."""
        lib.ring_join(self.c)

    def copy(self, count_max: int) -> npt.NDArray[Any]:
        """Up to `count_max` events in order, as an array of the caller's own; the writer may then reuse their slots."""
        target = np.empty(count_max, self.dtype)
        return target[: self.copy_into(target)]

    def copy_into(self, target: npt.NDArray[Any]) -> int:
        """The same into a contiguous array of this reader's dtype; returns how many."""
        if target.dtype.itemsize != self.dtype.itemsize or not target.flags.c_contiguous:
            raise RingError(f"slots of {self.dtype.itemsize} bytes need a contiguous array of that item size")
        buffer = ffi.from_buffer(target, require_writable=True)
        return int(lib.ring_copy(self.c, buffer, len(target), self._lost))


class RingHistory:
    """What a ring still holds, read with a cursor of one's own that no segment knows of; the engine may be dead."""

    def __init__(self, engine: str, name: str, *, dtype: str | npt.DTypeLike) -> None:
        self._ring = segments.attach(engine, name, lib.SEGMENT_RING, allow_dead=True)
        self._cursor = ffi.new("uint64_t[]", CURSOR_BYTES // 8)
        header = ffi.cast("segment_header *", self._cursor)
        header.magic = self._ring.cast("segment_header *", 0).magic
        header.kind = lib.SEGMENT_CURSOR
        control = self._ring.cast("ring_control *")
        cursor = ffi.cast("ring_cursor *", ffi.cast("uint8_t *", self._cursor) + HEADER_SIZE)
        cursor.position = max(0, int(control.position) - self._ring.info.capacity + 1)
        self.c: Any = ffi.new("ring_reader *")
        status = lib.ring_reader_attach(self.c, self._ring.pointer, self._cursor, lib.CURSOR_OBSERVER)
        _check(status, f"ring {name}, history")
        self.dtype = _slot_dtype(dtype, self._ring)

    def read(self) -> npt.NDArray[Any]:
        """Every event from the oldest one left to the newest, in order."""
        lost = ffi.new("uint64_t *")
        target = np.empty(self._ring.info.capacity, self.dtype)
        return target[: int(lib.ring_copy(self.c, ffi.from_buffer(target), len(target), lost))]


def _slot_dtype(dtype: str | npt.DTypeLike, ring: Segment) -> np.dtype[Any]:
    """The dtype, padded to a whole slot."""
    inner = dtype_of(dtype) if isinstance(dtype, str) else np.dtype(dtype)
    slot_size = ring.info.slot_size
    if inner.itemsize > slot_size:
        raise SegmentError(ring.name, f"its slots have {slot_size} bytes, the struct {inner.itemsize}")
    if inner.itemsize == slot_size or inner.fields is None:
        return inner
    return np.dtype(
        {
            "names": list(inner.fields),
            "formats": [field[0] for field in inner.fields.values()],
            "offsets": [field[1] for field in inner.fields.values()],
            "itemsize": slot_size,
        }
    )


class Doorbell:
    """Where one process sleeps and others wake it.

        arm, poll the inputs once more, then wait or disarm

    Without the second poll an event published between the first and the arming would be slept through.
    """

    def __init__(self, engine: str, name: str, *, run_epoch: int | None = None) -> None:
        self._segment = segments.attach(engine, name, lib.SEGMENT_DOORBELL, writable=True, run_epoch=run_epoch)
        self.c: Any = self._segment.cast("doorbell *")

    @staticmethod
    def create(engine: str, name: str, *, run_epoch: int) -> Segment:
        """Make the doorbell's segment."""
        return segments.create(engine, name, lib.SEGMENT_DOORBELL, DOORBELL_BYTES, run_epoch=run_epoch, capacity=1)

    def arm(self) -> None:
        """Announce sleep."""
        lib.wait_arm(self.c)

    def disarm(self) -> None:
        """Take the announcement back: there was work after all."""
        lib.wait_disarm(self.c)

    def park(self, *, timeout_ns: int) -> bool:
        """Sleep until rung or timed out; True when rung. Only after `arm`. Releases the GIL."""
        return bool(lib.wait_park(self.c, timeout_ns))

    def ring(self) -> None:
        """Wake the sleeper, if it sleeps."""
        lib.wait_ring(self.c)
