"""Versions of the limits: written down before they come into force, and had again for whoever runs a turn again.

    new copy --lines that differ--> ring `changes` --> journal       then: page, generation + 1 --> risk
    run.json (version 1) + lines of 2..N ---------> the bytes of version N: recovery, replay, explain

What the bytes mean is the gate's and hotpath/limits.py's business; here a copy is lines of 64 bytes, a version and a
digest. A writer that was killed between the two steps leaves lines of a version that never was: its successor takes
the next number and writes every line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import segments
from hotpath.config_risk import RiskConfig
from hotpath.errors import JournalError, StageError
from hotpath.limits import copy_bytes, current_copy, limits_copy, publish_copy
from hotpath.rings import RingWriter
from hotpath.topology import CLOCK_SEGMENT, INSTRUMENTS_SEGMENT, LIMITS_SEGMENT

RING = "changes"
LINE: int = lib.CACHE_LINE_SIZE
CHUNK = 1 << 14  # events read at a time
PATIENCE_SECONDS = 5.0  # for the journal to make room


class Events(Protocol):
    """Where recorded events come from: at least one from `begin` on, at most up to `end`."""

    def __call__(self, begin: int, end: int, /) -> npt.NDArray[Any]: ...


def digest_of(copy: bytes | bytearray) -> int:
    """By which a version's bytes are known again."""
    return int(lib.digest_bytes(0, ffi.from_buffer(copy), len(copy)))


def lines_of(copy: bytes | bytearray) -> npt.NDArray[np.uint8]:
    """A copy as rows of LINE bytes; nothing is copied. Its size is a multiple of them (layout.c)."""
    return np.frombuffer(copy, np.uint8).reshape(-1, LINE)


class LimitsWriter:
    """The one writer of a running engine's limits."""

    def __init__(self, engine: str, *, journaled: bool, run_epoch: int | None = None) -> None:
        """`journaled`: whether the run keeps a journal, which must have each change before it is in force."""
        attach = segments.attach
        self._page = attach(engine, LIMITS_SEGMENT, lib.SEGMENT_LIMITS, writable=True, run_epoch=run_epoch)
        self._clock_segment = attach(engine, CLOCK_SEGMENT, lib.SEGMENT_CLOCK, run_epoch=run_epoch)
        table = attach(engine, INSTRUMENTS_SEGMENT, lib.SEGMENT_INSTRUMENTS, run_epoch=run_epoch)
        self._ring_segment = attach(engine, RING, lib.SEGMENT_RING, run_epoch=run_epoch)
        self._ring = RingWriter(engine, RING, gates=("journal",) if journaled else (), run_epoch=run_epoch)
        self._copy = current_copy(self._page, copy_bytes(table.info.capacity))
        self.version = int(ffi.cast("limits_header *", ffi.from_buffer(self._copy)).version)
        last = self._last_logged() if self._ring.next_sequence > 0 else self.version
        self._whole = last != self.version  # a predecessor died between log and page: nobody knows how far it came
        self.version = max(self.version, last)

    def _last_logged(self) -> int:
        """The version of the last event in the ring."""
        segment = self._ring_segment
        slots = segment.view("limits_change", offset=lib.RING_SLOTS_OFFSET, count=segment.info.capacity)
        return int(slots["version"][(self._ring.next_sequence - 1) % segment.info.capacity])

    def publish(self, make: Callable[[int], bytes | bytearray]) -> int:
        """Put a new version in force: `make(version)` gives its bytes, checksummed. Returns the version.

        Raises StageError when the journal makes no room: nothing is changed then.
        """
        version = self.version + 1
        copy = bytes(make(version))
        if len(copy) != len(self._copy):
            raise StageError(f"limits: a copy of {len(copy)} bytes, this engine's has {len(self._copy)}")
        events = self._events(copy, version)
        done, deadline = 0, time.monotonic() + PATIENCE_SECONDS
        self.version = version  # taken, whatever becomes of it
        while (done := done + self._ring.publish(events[done:])) < len(events):
            if time.monotonic() > deadline:
                self._whole = True
                raise StageError(
                    f"limits: version {version} is not in force: the journal has not taken what was changed before",
                    next_step="hotpath stat shows how far it is behind; then try again",
                )
            time.sleep(0.0005)
        publish_copy(self._page, copy)
        self._copy, self._whole = copy, False
        return version

    def _events(self, copy: bytes, version: int) -> npt.NDArray[Any]:
        """One for each line that is not what it was: two for the limits of one instrument, its own and the head's."""
        lines = lines_of(copy)
        chosen = np.arange(len(lines)) if self._whole else np.flatnonzero((lines != lines_of(self._copy)).any(axis=1))
        events = np.zeros(len(chosen), dtype_of("limits_change"))
        header = events["header"]
        header["type"] = lib.CTL_LIMITS
        header["instrument"] = lib.NO_INSTRUMENT
        header["origin_time_ns"] = header["publish_time_ns"] = int(
            lib.clock_now(self._clock_segment.cast("clock_page *"))
        )
        events["digest"], events["version"] = digest_of(copy), version
        events["line"], events["bytes"] = chosen, lines[chosen]
        return events


class LimitsHistory:
    """The versions of a run's limits, one after the other, from what was recorded."""

    def __init__(self, first: bytes | bytearray, events: Events, head: Callable[[], int]) -> None:
        """`first`: the copy that the run began with; `head()`: how many events of the ring `changes` there are."""
        self._copy = bytearray(first)
        self._lines = lines_of(self._copy)
        self.version = int(ffi.cast("limits_header *", ffi.from_buffer(self._copy)).version)
        self._events, self._head = events, head
        self._next = 0  # sequence of the first event that is not read yet
        self._read = np.empty(0, dtype_of("limits_change"))  # read, and not yet applied

    def at(self, version: int) -> bytearray:
        """The copy of this version or, where the history stands there already, of it still; never an earlier one.

        Ours: it changes with the next call. Raises JournalError when it is not on record.
        """
        digest = None
        while self.version != version:
            if not len(self._read):
                self._fetch(version)
            count = int(np.searchsorted(self._read["version"], version, side="right"))
            if not count:
                raise JournalError(f"limits of version {version} are not on record: version {self.version}, then later")
            digest = self._apply(self._read[:count])
            self._read = self._read[count:]
            if self.version == version and not len(self._read):
                digest = self._rest_of(version, digest)
        if digest is not None and digest_of(self._copy) != digest:
            raise JournalError(f"the limits of version {version} are not what was in force: their digest differs")
        return self._copy

    def _rest_of(self, version: int, digest: int) -> int:
        """What a chunk cut off of this version's lines."""
        while self._next < self._head() and not len(self._read):
            self._fetch(version)
            count = int(np.searchsorted(self._read["version"], version, side="right"))
            if count:
                digest = self._apply(self._read[:count])
            self._read = self._read[count:]
        return digest

    def _fetch(self, version: int) -> None:
        head = self._head()
        if self._next >= head:
            raise JournalError(f"limits of version {version} are not on record: the last one is {self.version}")
        self._read = np.array(self._events(self._next, min(head, self._next + CHUNK)))
        self._next += len(self._read)

    def _apply(self, events: npt.NDArray[Any]) -> int:
        """Lines in order, the last of each wins; returns the digest that the last of them tells."""
        if int(events["line"].max()) >= len(self._lines):
            raise JournalError("a change of the limits lies beyond their end: they are of another set of instruments")
        self._lines[events["line"]] = events["bytes"]
        self.version = int(events["version"][-1])
        return int(events["digest"][-1])


def first_limits(risk: RiskConfig, symbols: list[str]) -> bytearray:
    """The limits that a run with this configuration begins with."""
    return limits_copy(risk, symbols, version=1)


class PrivateLimits:
    """A limits page of this process alone, for a stage that decides again what was decided under other limits."""

    def __init__(self, history: LimitsHistory) -> None:
        self._history = history
        offset = ffi.sizeof("limits_page")
        self._memory = ffi.new("uint64_t[]", (offset + len(history.at(history.version))) // 8)
        self.page: Any = ffi.cast("limits_page *", self._memory)
        self._target = ffi.cast("uint8_t *", self._memory) + offset
        self.page.copy_offset[0] = self.page.copy_offset[1] = offset
        self._version = 0

    def show(self, version: int) -> None:
        """Let the stage find this version when it looks. Raises JournalError when it is not on record."""
        if version == self._version:
            return
        copy = self._history.at(version)
        ffi.memmove(self._target, copy, len(copy))
        lib.limits_publish(self.page, self.page.generation + 1)
        self._version = version


def spans_of(turns: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """Stretches of turn records that decided by one version: begin and end of each."""
    ends = [*(np.flatnonzero(np.diff(turns["limits_version"])) + 1).tolist(), len(turns)]
    return list(zip([0, *ends[:-1]], ends, strict=True)) if len(turns) else []
