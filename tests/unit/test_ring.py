"""The ring as one process sees it: full, empty, gated, lapped, resumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import segments
from hotpath.errors import RingError, SegmentError
from hotpath.rings import RingReader, RingWriter, create_ring

EPOCH = 1_700_000_000_000_000_000
CAPACITY = 8


@pytest.fixture
def ring(engine: str) -> str:
    """A ring `norm` of eight slots with cursors for two gating readers and an observer; the engine's name."""
    create_ring(engine, "norm", capacity=CAPACITY, readers=["risk", "signal", "journal"], run_epoch=EPOCH)
    return engine


def events(*order_refs: int) -> npt.NDArray[Any]:
    batch = np.zeros(len(order_refs), dtype_of("norm_event"))
    batch["order_ref"] = order_refs
    return batch


def refs(batch: npt.NDArray[Any]) -> list[int]:
    return [int(ref) for ref in batch["order_ref"]]


def reader(engine: str, name: str, *, gating: bool) -> RingReader:
    return RingReader(engine, "norm", name, gating=gating, dtype="norm_event")


# ---- publishing and reading -----------------------------------------------------------------------------


def test_events_arrive_in_order_and_stamped_with_their_sequence(ring: str) -> None:
    writer, risk = RingWriter(ring, "norm", gates=["risk"]), reader(ring, "risk", gating=True)
    assert writer.publish(events(10, 11, 12)) == 3
    got = risk.copy(8)
    assert refs(got) == [10, 11, 12]
    assert list(got["header"]["stamp"]) == [1, 2, 3]


def test_empty_ring_gives_nothing(ring: str) -> None:
    RingWriter(ring, "norm", gates=["risk"])
    assert len(reader(ring, "risk", gating=True).copy(8)) == 0


def test_copy_stops_at_the_number_asked_for(ring: str) -> None:
    writer, risk = RingWriter(ring, "norm", gates=["risk"]), reader(ring, "risk", gating=True)
    writer.publish(events(*range(5)))
    assert refs(risk.copy(2)) == [0, 1]
    assert refs(risk.copy(8)) == [2, 3, 4]


def test_every_reader_sees_every_event(ring: str) -> None:
    writer = RingWriter(ring, "norm", gates=["risk", "signal"])
    writer.publish(events(1, 2, 3))
    for name, gating in (("risk", True), ("signal", True), ("journal", False)):
        assert refs(reader(ring, name, gating=gating).copy(8)) == [1, 2, 3]


def test_claimed_slot_is_no_event_until_committed(ring: str) -> None:
    writer, risk = RingWriter(ring, "norm", gates=["risk"]), reader(ring, "risk", gating=True)
    slot = ffi.cast("norm_event *", lib.ring_claim(writer.c))
    slot.order_ref = 5
    assert len(risk.copy(8)) == 0
    assert lib.ring_claim(writer.c) == slot
    lib.ring_commit(writer.c)
    assert refs(risk.copy(8)) == [5]


def test_reader_maps_the_slots_read_only(ring: str) -> None:
    attached = segments.attach(ring, "norm", lib.SEGMENT_RING)
    with pytest.raises(ValueError, match="read-only"):
        attached.view("norm_event", offset=lib.RING_SLOTS_OFFSET)["order_ref"] = 1


def test_front_stays_until_released(ring: str) -> None:
    writer, risk = RingWriter(ring, "norm", gates=["risk"]), reader(ring, "risk", gating=True)
    writer.publish(events(*range(CAPACITY)))
    assert lib.ring_available(risk.c, 100) == CAPACITY
    assert ffi.cast("norm_event *", lib.ring_at(risk.c, 3)).order_ref == 3
    lib.ring_advance(risk.c, 4)
    assert ffi.cast("norm_event *", lib.ring_front(risk.c)).order_ref == 4
    assert writer.room == 0, "the writer learns of the advance at the release"
    lib.ring_release(risk.c)
    assert writer.room == 4


# ---- gating ---------------------------------------------------------------------------------------------


def test_claim_returns_full_when_a_gating_reader_lags(ring: str) -> None:
    writer = RingWriter(ring, "norm", gates=["risk"])
    assert writer.publish(events(*range(CAPACITY + 3))) == CAPACITY
    assert writer.full_count == 1
    assert lib.ring_claim(writer.c) == ffi.NULL
    assert writer.full_count == 2


def test_the_slowest_gating_reader_decides(ring: str) -> None:
    writer = RingWriter(ring, "norm", gates=["risk", "signal"])
    risk, signal = reader(ring, "risk", gating=True), reader(ring, "signal", gating=True)
    writer.publish(events(*range(CAPACITY)))
    risk.copy(CAPACITY)
    assert writer.room == 0
    signal.copy(3)
    assert writer.room == 3
    assert writer.publish(events(*range(CAPACITY))) == 3


def test_no_event_is_overwritten_before_its_gating_reader_released_it(ring: str) -> None:
    writer, risk = RingWriter(ring, "norm", gates=["risk"]), reader(ring, "risk", gating=True)
    expected = 0
    for first in range(0, 1000, 5):
        batch = events(*range(first, first + 5))
        while len(batch := batch[writer.publish(batch) :]):
            got = refs(risk.copy(3))
            assert got == list(range(expected, expected + len(got)))
            expected += len(got)
    assert expected + len(risk.copy(CAPACITY)) == 1000


def test_observer_does_not_hold_the_writer(ring: str) -> None:
    writer = RingWriter(ring, "norm")
    reader(ring, "journal", gating=False)
    assert writer.publish(events(*range(10 * CAPACITY))) == 10 * CAPACITY
    assert writer.full_count == 0


def test_gate_that_the_ring_has_gone_past_is_refused(ring: str) -> None:
    RingWriter(ring, "norm").publish(events(*range(CAPACITY + 1)))
    with pytest.raises(RingError, match="risk: ring_bad_cursor"):
        RingWriter(ring, "norm", gates=["risk"])


def test_more_gates_than_the_writer_has_room_for_are_refused(engine: str) -> None:
    names = [f"r{index}" for index in range(lib.RING_GATES_MAX + 1)]
    create_ring(engine, "norm", capacity=CAPACITY, readers=names, run_epoch=EPOCH)
    with pytest.raises(RingError, match="ring_too_many_gates"):
        RingWriter(engine, "norm", gates=names)


# ---- observers ------------------------------------------------------------------------------------------


def test_observer_a_whole_ring_behind_loses_nothing(ring: str) -> None:
    writer, journal = RingWriter(ring, "norm"), reader(ring, "journal", gating=False)
    writer.publish(events(*range(CAPACITY)))
    assert refs(journal.copy(CAPACITY)) == list(range(CAPACITY))
    assert journal.lost_count == 0


def test_lapped_observer_counts_each_event_it_lost(ring: str) -> None:
    writer, journal = RingWriter(ring, "norm"), reader(ring, "journal", gating=False)
    writer.publish(events(*range(20)))
    got = refs(journal.copy(CAPACITY))
    # The slot written next may be in the writer's hands: seven of eight are safe to read.
    assert got == list(range(20 - CAPACITY + 1, 20))
    assert journal.lost_count == 20 - len(got)


def test_observer_lapped_by_one_loses_what_was_overwritten(ring: str) -> None:
    writer, journal = RingWriter(ring, "norm"), reader(ring, "journal", gating=False)
    writer.publish(events(*range(CAPACITY + 1)))
    got = refs(journal.copy(CAPACITY))
    assert len(got) + journal.lost_count == CAPACITY + 1
    assert got == list(range(CAPACITY + 1))[-len(got) :]


def test_observer_lapped_while_a_slot_is_claimed_counts_exactly(ring: str) -> None:
    writer, journal = RingWriter(ring, "norm"), reader(ring, "journal", gating=False)
    writer.publish(events(*range(CAPACITY)))
    lib.ring_claim(writer.c)  # event 8 is being written over event 0
    got = refs(journal.copy(CAPACITY))
    assert got == list(range(1, CAPACITY))
    assert journal.lost_count == 1
    lib.ring_commit(writer.c)
    assert len(journal.copy(CAPACITY)) == 1
    assert journal.lost_count == 1


def test_observer_that_joins_late_has_lost_nothing(ring: str) -> None:
    writer, journal = RingWriter(ring, "norm"), reader(ring, "journal", gating=False)
    writer.publish(events(*range(20)))
    journal.join()
    assert len(journal.copy(CAPACITY)) == 0
    writer.publish(events(99))
    assert refs(journal.copy(CAPACITY)) == [99]
    assert journal.lost_count == 0


def test_lag_is_what_was_published_and_not_read(ring: str) -> None:
    writer, journal = RingWriter(ring, "norm"), reader(ring, "journal", gating=False)
    writer.publish(events(1, 2, 3))
    journal.copy(1)
    assert journal.lag == 2


# ---- dying and resuming ---------------------------------------------------------------------------------


def test_new_writer_takes_up_after_the_last_event(ring: str) -> None:
    risk = reader(ring, "risk", gating=True)
    RingWriter(ring, "norm", gates=["risk"]).publish(events(1, 2))
    RingWriter(ring, "norm", gates=["risk"]).publish(events(3))
    assert refs(risk.copy(8)) == [1, 2, 3]


def test_new_writer_claims_the_slot_left_half_written(ring: str) -> None:
    risk = reader(ring, "risk", gating=True)
    writer = RingWriter(ring, "norm", gates=["risk"])
    writer.publish(events(1))
    ffi.cast("norm_event *", lib.ring_claim(writer.c)).order_ref = 666  # and dies
    RingWriter(ring, "norm", gates=["risk"]).publish(events(2))
    assert refs(risk.copy(8)) == [1, 2]


def test_new_writer_finds_the_event_that_the_position_does_not_count(ring: str) -> None:
    risk = reader(ring, "risk", gating=True)
    writer = RingWriter(ring, "norm", gates=["risk"])
    writer.publish(events(1, 2))
    writer.c.control.position = 1  # killed between the stamp and the position
    assert RingWriter(ring, "norm", gates=["risk"]).next_sequence == 2
    assert refs(risk.copy(8)) == [1, 2]


def test_new_reader_takes_up_at_its_cursor(ring: str) -> None:
    writer = RingWriter(ring, "norm", gates=["risk"])
    writer.publish(events(*range(5)))
    assert refs(reader(ring, "risk", gating=True).copy(2)) == [0, 1]
    assert refs(reader(ring, "risk", gating=True).copy(8)) == [2, 3, 4]


def test_reader_whose_cursor_is_ahead_of_the_ring_is_refused(ring: str) -> None:
    risk = reader(ring, "risk", gating=True)
    risk.c.cursor.position = 7
    with pytest.raises(RingError, match="ring_bad_cursor"):
        reader(ring, "risk", gating=True)


# ---- put together wrongly -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capacity", "slot_size"), [(0, 128), (12, 128), (8, 100), (8, 32), (8, 1 << 17), (1 << 33, 128)]
)
def test_sizes_that_are_no_powers_of_two_or_out_of_range_are_refused(
    engine: str, capacity: int, slot_size: int
) -> None:
    assert lib.ring_bytes(capacity, slot_size) == 0
    with pytest.raises(RingError, match="slots of"):
        create_ring(engine, "norm", capacity=capacity, slot_size=slot_size, readers=[], run_epoch=EPOCH)


def test_event_larger_than_a_slot_is_refused(ring: str) -> None:
    writer = RingWriter(ring, "norm")
    with pytest.raises(RingError, match="ring_bad_size"):
        writer.publish(np.zeros(1, "V136"))
    with pytest.raises(SegmentError, match="128 bytes, the struct 192"):
        RingReader(ring, "norm", "journal", gating=False, dtype="intent_record")


def test_segment_that_is_no_ring_is_refused_by_c(ring: str) -> None:
    cursor = segments.attach(ring, "norm.risk", lib.SEGMENT_CURSOR, writable=True)
    writer = ffi.new("ring_writer *")
    assert lib.ring_writer_attach(writer, cursor.pointer) == lib.RING_BAD_KIND
    assert lib.ring_writer_attach(writer, ffi.new("uint8_t[8192]")) == lib.RING_BAD_MAGIC


def test_smaller_struct_is_padded_to_its_slot(engine: str) -> None:
    create_ring(engine, "wide", capacity=4, slot_size=256, readers=["journal"], run_epoch=EPOCH)
    RingWriter(engine, "wide").publish(events(7, 8))
    got = RingReader(engine, "wide", "journal", gating=False, dtype="norm_event").copy(4)
    assert (refs(got), got.dtype.itemsize) == ([7, 8], 256)
