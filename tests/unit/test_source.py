"""Recorded feeds: pace, rate, and files that end anywhere."""

from __future__ import annotations

from typing import Any

import pytest

from ffi import ffi, lib
from tests.support.memory import Ring

NOW_NS = 10**18


def message(time_ns: int, size: int = 19) -> bytes:
    """A message of `size` bytes with its 48-bit time."""
    return (b"D" + bytes(4) + time_ns.to_bytes(6, "big")).ljust(size, b"x")


def prefixed(*messages: bytes) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


class DrivenSource:
    def __init__(self, data: bytes, *, capacity: int = 256, **fields: Any) -> None:
        self.data = ffi.from_buffer(data)
        self.source = ffi.new("source *", {"size": len(data), "batch_max": 100, **fields})
        self.source.bytes = ffi.cast("uint8_t *", self.data)
        self.raw = Ring("raw_event", "feed", capacity=capacity)
        self.writer = ffi.new("ring_writer *")
        self.raw.attach_writer(self.writer)

    def poll(self, now_ns: int) -> int:
        return int(lib.source_poll(self.source, self.writer, now_ns))


THREE = prefixed(message(1000), message(1500), message(3000))


def test_flat_out_gives_all_at_once_numbered_from_one() -> None:
    source = DrivenSource(THREE, midnight_ns=10**6)
    assert source.poll(NOW_NS) == 3 and source.source.finished == 1 and source.source.truncated == 0
    events = source.raw.events()
    assert events["session_sequence"].tolist() == [1, 2, 3]
    assert events["header"]["origin_time_ns"].tolist() == [1_001_000, 1_001_500, 1_003_000]


@pytest.mark.parametrize("speed_ppm, factor", [(0, 1.0), (10**6, 1.0), (2 * 10**6, 0.5), (500_000, 2.0)])
def test_recorded_pace_is_kept_and_late_messages_bear_the_time_they_were_due(speed_ppm: int, factor: float) -> None:
    source = DrivenSource(THREE, pace=lib.SOURCE_RECORDED, speed_ppm=speed_ppm)
    due = [NOW_NS, NOW_NS + int(500 * factor), NOW_NS + int(2000 * factor)]
    assert source.poll(NOW_NS) == 1
    assert source.poll(due[1] - 1) == 0
    assert source.poll(due[1]) == 1
    assert source.poll(due[2] + 10**9) == 1
    assert source.raw.events()["header"]["ingress_time_ns"].tolist() == due


def test_rate_counts_from_the_first_message() -> None:
    source = DrivenSource(THREE, pace=lib.SOURCE_RATE, interval_ns=100)
    assert [source.poll(NOW_NS + late) for late in (0, 99, 100, 1000)] == [1, 0, 1, 1]
    assert source.raw.events()["header"]["ingress_time_ns"].tolist() == [NOW_NS, NOW_NS + 100, NOW_NS + 200]


@pytest.mark.parametrize("size", range(len(THREE) + 1))
def test_file_cut_at_any_byte_gives_its_whole_messages(size: int) -> None:
    source = DrivenSource(THREE[:size])
    whole, rest = divmod(size, 21)
    assert source.poll(NOW_NS) == whole
    assert (source.source.finished, source.source.truncated) == (1, int(rest != 0))


def test_zero_length_is_the_end() -> None:
    source = DrivenSource(THREE + b"\0\0" + THREE)
    assert source.poll(NOW_NS) == 3 and source.source.finished == 1 and source.source.truncated == 0


def test_full_ring_stops_the_source_and_loses_nothing() -> None:
    source = DrivenSource(THREE, capacity=2)
    assert source.poll(NOW_NS) == 2 and source.poll(NOW_NS) == 0
    source.raw.release("feed")
    assert source.poll(NOW_NS) == 1


def test_message_that_no_ring_could_hold_ends_the_file() -> None:
    """A corrupt length must not make the source wait for ever."""
    source = DrivenSource(prefixed(message(1), b"x" * 60_000), capacity=64)
    assert source.poll(NOW_NS) == 1 and (source.source.finished, source.source.truncated) == (1, 1)
