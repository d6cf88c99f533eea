"""Ring against deque: whatever the order of publishing, reading, dying and resuming."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath import segments
from hotpath.rings import RingReader, RingWriter, create_ring

EPOCH = 1_700_000_000_000_000_000


def engine_names() -> Iterator[str]:
    count = 0
    while True:
        count += 1
        yield f"t{os.getpid()}-ring{count}"


NAMES = engine_names()


class RingMachine(RuleBasedStateMachine):
    """Two gating readers, each with a deque of what it must still see, and an observer that may be lapped."""

    @initialize(capacity=st.sampled_from([1, 2, 4, 16]))
    def make(self, capacity: int) -> None:
        self.engine = next(NAMES)
        self.capacity = capacity
        create_ring(self.engine, "norm", capacity=capacity, readers=["a", "b", "tap"], run_epoch=EPOCH)
        self.published = 0
        self.pending: dict[str, deque[int]] = {"a": deque(), "b": deque()}
        self.tap_next = 0
        self.tap_delivered = 0
        self.claimed = False
        self.writer = self.new_writer()
        self.readers = {name: self.new_reader(name) for name in ("a", "b", "tap")}

    def new_writer(self) -> RingWriter:
        return RingWriter(self.engine, "norm", gates=["a", "b"])

    def new_reader(self, name: str) -> RingReader:
        return RingReader(self.engine, "norm", name, gating=name != "tap", dtype="norm_event")

    def batch(self, count: int) -> np.ndarray[Any, Any]:
        events = np.zeros(count, dtype_of("norm_event"))
        events["order_ref"] = np.arange(self.published, self.published + count) * 7 + 1
        events["price_ticks"] = ~events["order_ref"].astype("i8")
        return events

    @rule(count=st.integers(1, 20))
    def publish(self, count: int) -> None:
        room = self.capacity - max(len(queue) for queue in self.pending.values())
        went = self.writer.publish(self.batch(count))
        assert went == min(count, room)
        for queue in self.pending.values():
            queue.extend(range(self.published, self.published + went))
        self.published += went
        # A claim for which there was room, left by `die_in_claim`, is used up by the first publication.
        self.claimed = self.claimed and went == 0

    @rule(name=st.sampled_from(["a", "b"]), count=st.integers(1, 20))
    def read(self, name: str, count: int) -> None:
        got = self.readers[name].copy(count)
        queue = self.pending[name]
        expected = [queue.popleft() for _ in range(min(count, len(queue)))]
        self.check_events(got, expected)
        assert self.readers[name].lost_count == 0

    @rule(count=st.integers(1, 20))
    def observe(self, count: int) -> None:
        tap = self.readers["tap"]
        lost_before = tap.lost_count
        got = tap.copy(count)
        lost = tap.lost_count - lost_before
        # Each sequence is delivered or lost, once; a lapped observer stands at the oldest safe slot.
        first = self.tap_next + lost
        self.check_events(got, list(range(first, first + len(got))))
        lapped = self.published > self.tap_next + self.capacity or (
            self.claimed and self.published == self.tap_next + self.capacity
        )
        if lapped:
            assert first == max(self.published - self.capacity + 1, self.tap_next + 1)
        else:
            assert lost == 0
        if first + len(got) < self.published:
            assert len(got) == count
        self.tap_next = first + len(got)
        self.tap_delivered += len(got)

    def check_events(self, got: np.ndarray[Any, Any], expected: list[int]) -> None:
        assert [int(stamp) - 1 for stamp in got["header"]["stamp"]] == expected
        assert [int(ref) for ref in got["order_ref"]] == [7 * sequence + 1 for sequence in expected]
        assert (got["price_ticks"] == ~got["order_ref"].astype("i8")).all()

    @rule()
    def die_in_claim(self) -> None:
        """A writer that claimed, half wrote and was replaced."""
        slot = lib.ring_claim(self.writer.c)
        if slot:
            segment = self.writer._ring.view("u8", offset=lib.RING_SLOTS_OFFSET, count=16 * self.capacity)
            segment[16 * (self.published % self.capacity) + 6] = 0xBAD
            self.claimed = True
        self.writer = self.new_writer()

    @precondition(lambda self: self.published > 0 and not self.claimed)
    @rule()
    def die_in_commit(self) -> None:
        """A writer killed between the stamp and the position."""
        self.writer.c.control.position = self.published - 1
        self.writer = self.new_writer()

    @rule(name=st.sampled_from(["a", "b", "tap"]))
    def resume_reader(self, name: str) -> None:
        self.readers[name] = self.new_reader(name)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        if not hasattr(self, "writer"):
            return
        assert self.writer.next_sequence == self.published
        assert self.tap_delivered + self.readers["tap"].lost_count == self.tap_next

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            segments.unlink_all(segments.list_segments(self.engine))


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
