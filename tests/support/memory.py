"""Rings in anonymous memory that is sealed as a segment is: for tests that make thousands of them.

The kernels cannot tell these from segments in /dev/shm; tests/unit/test_risk_stage.py runs on the real ones.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.rings import CURSOR_BYTES

SLOT_SIZE = 128
DIRT = b"\xa5"


class Memory:
    """Page-aligned bytes, sealed with a header when `kind` is given; dirty on request, as reused memory is."""

    def __init__(self, size: int, *, kind: int = 0, capacity: int = 0, slot_size: int = 0, dirty: bool = False) -> None:
        self.mapping = mmap.mmap(-1, size)
        self.buffer = ffi.from_buffer(self.mapping)
        self.size = size
        if dirty:
            ffi.memmove(self.buffer, DIRT * size, size)
        if kind:
            header = ffi.new("segment_header *", {"kind": kind, "capacity": capacity, "slot_size": slot_size})
            lib.segment_seal(self.buffer, header)

    @property
    def pointer(self) -> ffi.CData:
        """``void *`` to the first byte."""
        return ffi.cast("void *", self.buffer)


class Ring:
    """One ring, a gating cursor for each of its readers, and a look at all that was published."""

    def __init__(self, struct: str, *readers: str, capacity: int = 256, dirty: bool = False) -> None:
        self.struct = struct
        self.capacity = capacity
        size = lib.ring_bytes(capacity, SLOT_SIZE)
        self.memory = Memory(size, kind=lib.SEGMENT_RING, capacity=capacity, slot_size=SLOT_SIZE)
        if dirty:  # a reused slot: everything but its stamp is another event's
            slots = np.frombuffer(self.memory.mapping, "u8", capacity * 16, lib.RING_SLOTS_OFFSET).reshape(-1, 16)
            slots[:, 1:] = 0xA5A5A5A5A5A5A5A5
        self.cursors = {name: Memory(CURSOR_BYTES, kind=lib.SEGMENT_CURSOR, capacity=1) for name in readers}

    def attach_writer(self, writer: ffi.CData) -> None:
        """Make `writer` (ring_writer *) this ring's, held back by every reader."""
        assert lib.ring_writer_attach(writer, self.memory.pointer) == lib.RING_OK
        for cursor in self.cursors.values():
            assert lib.ring_writer_gate(writer, cursor.pointer) == lib.RING_OK

    def attach_reader(self, reader: ffi.CData, name: str) -> None:
        """Make `reader` (ring_reader *) the gating reader of this name."""
        cursor = self.cursors[name].pointer
        assert lib.ring_reader_attach(reader, self.memory.pointer, cursor, lib.CURSOR_GATING) == lib.RING_OK

    def writer(self) -> RingPen:
        """A writer of the test's own."""
        return RingPen(self)

    def release(self, name: str) -> None:
        """Let the reader of this name have read everything."""
        cursor = ffi.cast("ring_cursor *", ffi.cast("char *", self.cursors[name].pointer) + lib.SEGMENT_HEADER_SIZE)
        cursor.position = self.published

    @property
    def published(self) -> int:
        """How many events were published so far."""
        control = ffi.cast("ring_control *", ffi.cast("char *", self.memory.pointer) + lib.SEGMENT_HEADER_SIZE)
        return int(control.position)

    def events(self, first: int = 0) -> npt.NDArray[Any]:
        """The events from sequence `first` on, copied; they must still be in the ring."""
        count = self.published
        assert count - first <= self.capacity, "the ring was too small for what the test wants to see"
        slots = np.frombuffer(self.memory.mapping, dtype_of(self.struct), self.capacity, lib.RING_SLOTS_OFFSET)
        return slots[[sequence % self.capacity for sequence in range(first, count)]].copy()


class RingPen:
    """Publishes single events, written as keyword arguments; those of the header by their plain names."""

    HEADER: Sequence[str] = tuple(name for name, _ in ffi.typeof("event_header").fields)

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.pointer = ffi.new("ring_writer *")
        ring.attach_writer(self.pointer)
        self.event = ffi.new(f"{ring.struct} *")

    def publish(self, **fields: Any) -> int:
        """Publish one event; its sequence. The ring must have room."""
        fill_event(self.event, fields)
        sequence = int(self.pointer.next)
        assert lib.ring_publish(self.pointer, self.event, ffi.sizeof(self.ring.struct)) == lib.RING_OK
        return sequence


def fill_event(event: ffi.CData, fields: dict[str, Any]) -> None:
    """Every field of the event: 0 where `fields` does not name it."""
    ffi.memmove(event, bytes(ffi.sizeof(event[0])), ffi.sizeof(event[0]))
    for name, value in fields.items():
        setattr(event.header if name in RingPen.HEADER else event, name, value)


def without_times(events: npt.NDArray[Any]) -> list[bytes]:
    """Each event as bytes, its stamp and measured times cleared."""
    plain = events.copy()
    for name in ("stamp", "ingress_time_ns", "publish_time_ns"):
        plain["header"][name] = 0
    return [event.tobytes() for event in plain]
