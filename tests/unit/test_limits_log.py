"""Versions of the limits, written down before they are in force and had again from the record.

What could break it: a version in force that nobody recorded, a writer that dies between the two steps, a change that
is cut by a chunk, lines that were tampered with, a journal that makes no room.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import limits_log
from hotpath.config import Config
from hotpath.config_risk import InstrumentRisk
from hotpath.engine import EngineMemory, make_spec
from hotpath.errors import JournalError, StageError
from hotpath.limits import limits_copy, publish_copy
from hotpath.limits_log import LimitsHistory, LimitsWriter, PrivateLimits, first_limits, spans_of
from hotpath.rings import RingReader

SYMBOLS = [f"S{index}" for index in range(20)]


@pytest.fixture
def memory(engine: str) -> Iterator[EngineMemory]:
    config = msgspec.structs.replace(Config(), engine=msgspec.structs.replace(Config().engine, name=engine))
    table = np.zeros(len(SYMBOLS), dtype_of("instrument_entry"))
    table["symbol"] = [symbol.encode() for symbol in SYMBOLS]
    made = EngineMemory(make_spec(config, table, midnight_ns=0, roll_times_ns=(), journal=True))
    yield made
    made.unlink()


def copy_of(collar_ppm: int, version: int) -> bytes:
    """One that forbids what is further than so far from the reference, in one instrument."""
    risk = Config().risk
    other = InstrumentRisk(collar_ppm_max=collar_ppm)
    return bytes(limits_copy(msgspec.structs.replace(risk, instruments={"S7": other}), SYMBOLS, version=version))


def changed(writer: LimitsWriter, collar_ppm: int) -> int:
    return writer.publish(lambda version: copy_of(collar_ppm, version))


def in_force(memory: EngineMemory) -> Any:
    """The head of the copy that risk would take."""
    page = memory.segments["limits"].cast("limits_page *")
    return memory.segments["limits"].cast(
        "limits_header *", lib.SEGMENT_HEADER_SIZE + page.copy_offset[page.generation & 1]
    )


def recorded(memory: EngineMemory) -> npt.NDArray[Any]:
    """What a journal would take; it makes room."""
    reader = RingReader(memory.spec.name, "changes", "journal", gating=True, dtype="limits_change")
    return reader.copy(1 << 14)


def history(events: npt.NDArray[Any]) -> LimitsHistory:
    return LimitsHistory(first_limits(Config().risk, SYMBOLS), lambda a, b: events[a:b], lambda: len(events))


def test_every_version_is_had_again_and_two_lines_tell_of_one_instrument(memory: EngineMemory) -> None:
    writer = LimitsWriter(memory.spec.name, journaled=True)
    for version in range(2, 50):
        assert changed(writer, 100 + version) == version == int(in_force(memory).version)
        assert lib.limits_checksum(in_force(memory)) == in_force(memory).checksum
    events = recorded(memory)
    assert len(events) == 48 * 2 and set(events["header"]["type"].tolist()) == {lib.CTL_LIMITS}
    again = history(events)
    assert bytes(again.at(1)) == limits_copy(Config().risk, SYMBOLS, version=1)
    for version in (2, 3, 17, 17, 49):
        assert bytes(again.at(version)) == copy_of(100 + version, version)


def test_change_that_a_chunk_cuts_is_whole(memory: EngineMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LimitsWriter(memory.spec.name, journaled=True)
    for version in range(2, 9):
        changed(writer, version)
    events = recorded(memory)
    for chunk in (1, 2, 3, 5):
        monkeypatch.setattr(limits_log, "CHUNK", chunk)
        again = history(events)
        assert [bytes(again.at(version)) for version in range(2, 9)] == [copy_of(each, each) for each in range(2, 9)]


def test_writer_that_died_before_its_version_was_in_force_leaves_no_trace_in_a_later_one(memory: EngineMemory) -> None:
    """After each of its events: the successor takes another number, and what it writes stands alone."""
    for lines in range(1, 3):
        writer = LimitsWriter(memory.spec.name, journaled=True)
        before = writer.version
        cut = writer._events(copy_of(7_000_000 + lines, before + 1), before + 1)[:lines]
        writer._ring.publish(cut)
        successor = LimitsWriter(memory.spec.name, journaled=True)
        assert changed(successor, 900 + lines) == before + 2 == int(in_force(memory).version)
    again = history(recorded(memory))
    assert bytes(again.at(3)) == copy_of(901, 3) and bytes(again.at(5)) == copy_of(902, 5)


def test_what_was_changed_in_the_record_is_found(memory: EngineMemory) -> None:
    changed(LimitsWriter(memory.spec.name, journaled=True), 50)
    events = recorded(memory)
    events["bytes"][1][5] ^= 1
    with pytest.raises(JournalError, match="their digest differs"):
        history(events).at(2)
    events["line"][1] = 2**31
    with pytest.raises(JournalError, match="beyond their end"):
        history(events).at(2)


def test_version_that_is_not_on_record_is_named(memory: EngineMemory) -> None:
    with pytest.raises(JournalError, match="version 2 are not on record: the last one is 1"):
        history(recorded(memory)).at(2)
    writer = LimitsWriter(memory.spec.name, journaled=True)
    changed(writer, 1)
    changed(writer, 2)
    again = history(recorded(memory))
    again.at(3)
    with pytest.raises(JournalError, match="version 2 are not on record"):
        again.at(2)


def test_nothing_comes_into_force_that_the_journal_has_no_room_for(
    memory: EngineMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_log, "PATIENCE_SECONDS", 0.05)
    writer = LimitsWriter(memory.spec.name, journaled=True)
    with pytest.raises(StageError, match="is not in force"):
        for collar in range(10_000):
            changed(writer, collar)
    standing = int(in_force(memory).version)
    assert standing == writer.version - 1
    events = recorded(memory)
    assert changed(writer, 77) == standing + 2 == int(in_force(memory).version)
    again = history(np.concatenate([events, recorded(memory)]))
    assert bytes(again.at(standing)) == copy_of(standing - 2, standing)
    assert bytes(again.at(standing + 2)) == copy_of(77, standing + 2)


def test_private_page_shows_a_version_whole(memory: EngineMemory) -> None:
    writer = LimitsWriter(memory.spec.name, journaled=True)
    for collar in (5, 6, 7):
        changed(writer, collar)
    private = PrivateLimits(history(recorded(memory)))
    for version, collar in ((2, 5), (4, 7)):
        private.show(version)
        shown = ffi.cast("uint8_t *", private.page) + private.page.copy_offset[private.page.generation & 1]
        assert bytes(ffi.buffer(shown, len(copy_of(1, 1)))) == copy_of(collar, version)


def test_stretches_of_turns_under_one_version() -> None:
    turns = np.zeros(7, dtype_of("turn_event"))
    turns["limits_version"] = [1, 1, 2, 5, 5, 5, 6]
    assert spans_of(turns) == [(0, 2), (2, 3), (3, 6), (6, 7)] and spans_of(turns[:0]) == []


def test_without_a_journal_no_change_waits(memory: EngineMemory) -> None:
    publish_copy(memory.segments["limits"], copy_of(1, 2))
    assert int(in_force(memory).version) == 2
