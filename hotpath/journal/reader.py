"""Reading a journal: one that has ended, one that was cut off, one that still grows.

    journal = Journal(folder)
    fills = journal.events("exec")            # an array with the fields of exec_event, mapped where one file serves
    while not journal.ended: journal.refresh(); new = journal.events("exec", begin=journal_position)

Sequences are the ring's own: `begin` and `end` are sequences, not places in the array. The two are the same as long
as nothing was lost. What is read is the valid prefix: it ends before the first record whose checksum does not hold.
The field `header.stamp` is the journal's own: its low half is sequence + 1, the high half the checksum.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.errors import JournalError
from hotpath.journal import format as layout
from hotpath.journal.compression import unpacked
from hotpath.journal.format import HEAD_BYTES, RECORD_BYTES, End, SegmentHead, event_type

if TYPE_CHECKING:
    from hotpath.run_file import RunFile

LOOK_BYTES = 1 << 20  # of a growing segment, looked at in one piece
NO_JOURNAL = "name the folder of one run, as hotpath journal stat lists them"


@dataclass
class Segment:
    """One file of a ring's journal."""

    path: Path
    head: SegmentHead
    count: int = 0  # good records
    _records: npt.NDArray[Any] | None = field(default=None, repr=False)

    @property
    def first(self) -> int:
        """Sequence of its first record."""
        return self.head.first_sequence

    @property
    def next(self) -> int:
        """Sequence after its last record."""
        return self.first + self.count

    @property
    def compressed(self) -> bool:
        """Whether it was packed after it was closed."""
        return self.path.suffix == ".zst"

    def look(self) -> bool:
        """Count the good records that came since the last look; True when there are any."""
        found = self.count
        with self.path.open("rb") as file:
            while True:
                data = os.pread(file.fileno(), LOOK_BYTES, HEAD_BYTES + self.count * RECORD_BYTES)
                records = len(data) // RECORD_BYTES
                good = int(lib.journal_valid(ffi.from_buffer(data), self.next, records)) if records else 0
                self.count += good
                if good < records or not records:
                    return self.count > found

    def close(self) -> None:
        """Its successor is there: what it holds is what its size says."""
        self.count = (
            len(self._unpacked()) if self.compressed else (self.path.stat().st_size - HEAD_BYTES) // RECORD_BYTES
        )

    def _unpacked(self) -> npt.NDArray[Any]:
        if self._records is None:
            self._records = np.frombuffer(unpacked(self.path), self.head.dtype)
        return self._records

    def raw(self) -> npt.NDArray[Any]:
        """Its good records as they lie in the file, in the dtype of the build that wrote them."""
        if not self.count:
            return np.empty(0, self.head.dtype)
        if self.compressed:
            return self._unpacked()[: self.count]
        return np.memmap(self.path, self.head.dtype, mode="r", offset=HEAD_BYTES, shape=(self.count,))

    def records(self) -> npt.NDArray[Any]:
        """Its good records in this build's dtype where it knows the struct."""
        return converted_here(self.raw(), self.head.record_type)


def converted_here(records: npt.NDArray[Any], record_type: str) -> npt.NDArray[Any]:
    """In the dtype that this build has of a struct; as they are when it knows none of that name."""
    try:
        return layout.converted(records, dtype_of(record_type))
    except (TypeError, ffi.error):
        return records


class Journal:
    """The journal of one run, opened read-only. Raises JournalError when the folder holds none."""

    def __init__(self, folder: Path | str, *, without: Collection[str] = ()) -> None:
        """`without`: files that are passed over, for whoever looks at a damaged one."""
        self.folder = Path(folder)
        self._without = without
        self._segments: dict[str, list[Segment]] = {}
        self.end: End | None = None
        if not (self.folder / layout.RUN_FILE).exists():
            raise JournalError(f"{self.folder}: holds no journal: there is no run.json", next_step=NO_JOURNAL)
        self.refresh()

    # ---- what the run was ----------------------------------------------------------------------------

    @cached_property
    def run(self) -> RunFile:
        """What the run's processes agreed on."""
        from hotpath.run_file import RunFile

        path = self.folder / layout.RUN_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=RunFile)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise JournalError(
                f"{path}: cannot be read by this release: {error}",
                next_step="damaged, or of a later release: hotpath journal verify FOLDER says what stands",
            ) from None

    @cached_property
    def instruments(self) -> npt.NDArray[Any]:
        """The reference data of the run, by index: instrument_entry."""
        path = self.folder / layout.INSTRUMENTS_FILE
        try:
            table: npt.NDArray[Any] = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise JournalError(f"{path}: cannot be read: {error}") from None
        return layout.converted(table, dtype_of("instrument_entry"))

    @property
    def ended(self) -> bool:
        """Whether the journal came to its orderly end: nothing more will come."""
        return self.end is not None

    @property
    def rings(self) -> tuple[str, ...]:
        """Those that were recorded."""
        return tuple(self._segments)

    # ---- what it holds -------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Look for what was written since the last look; True when anything was, the end included."""
        ended = self._read_end()  # before the segments: what is there at the end is all
        fresh = ended is not None and self.end is None
        for ring, paths in _listed(self.folder, self._without).items():
            if not paths:
                continue
            segments = self._segments.setdefault(ring, [])
            fresh |= self._refresh_ring(segments, paths)
        self.end = ended
        return fresh

    def _read_end(self) -> End | None:
        try:
            return msgspec.json.decode((self.folder / layout.END_FILE).read_bytes(), type=End)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise JournalError(f"{self.folder / layout.END_FILE}: cannot be read: {error}") from None

    @staticmethod
    def _refresh_ring(segments: list[Segment], paths: dict[int, Path]) -> bool:
        fresh = False
        last = segments[-1].first if segments else -1
        for segment in segments:
            segment.path = paths.get(segment.first, segment.path)  # it may have been packed meanwhile
        for first in sorted(paths):
            if first <= last:
                continue
            if segments:
                segments[-1].close()
            segments.append(Segment(paths[first], layout.read_head(paths[first])))
            fresh = True
        if segments and segments[-1].compressed:
            segments[-1].close()
        elif segments:
            fresh |= segments[-1].look()
        return fresh

    def segments(self, ring: str) -> list[Segment]:
        """The files of one ring, in order."""
        return list(self._segments.get(ring, ()))

    def count(self, ring: str) -> int:
        """Events recorded."""
        return sum(segment.count for segment in self._segments.get(ring, ()))

    def first(self, ring: str) -> int:
        """Sequence of the oldest event that is left: retention may have removed older ones."""
        segments = self._segments.get(ring)
        return segments[0].first if segments else 0

    def next(self, ring: str) -> int:
        """Sequence after the last one recorded."""
        segments = self._segments.get(ring)
        return segments[-1].next if segments else 0

    def lost(self, ring: str) -> int:
        """Events that were overwritten before they were recorded."""
        return sum(segment.head.lost_before for segment in self._segments.get(ring, ()))

    def holes(self, ring: str) -> list[tuple[int, int]]:
        """Where events are missing: first sequence and the one after the last."""
        return [
            (segment.first - segment.head.lost_before, segment.first)
            for segment in self._segments.get(ring, ())
            if segment.head.lost_before
        ]

    def batches(self, ring: str, begin: int = 0, end: int | None = None) -> Iterator[npt.NDArray[Any]]:
        """The events of `events`, a file at a time: for what does not fit into memory at once."""
        for segment in self._segments.get(ring, ()):
            low = max(0, begin - segment.first)
            high = segment.count if end is None else min(segment.count, end - segment.first)
            if low < high:
                yield converted_here(segment.raw()[low:high], segment.head.record_type)

    def events(self, ring: str, begin: int = 0, end: int | None = None) -> npt.NDArray[Any]:
        """Events of a ring from sequence `begin` up to `end`, exclusive; those that were lost are left out.

        Mapped from the file where one segment holds them all, else copied.
        """
        parts = list(self.batches(ring, begin, end))
        if not parts:
            return np.empty(0, dtype_of(event_type(ring)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def sequences(self, ring: str, begin: int = 0, end: int | None = None) -> npt.NDArray[np.uint64]:
        """The sequence of each event that `events` returns."""
        parts = [
            np.arange(
                max(begin, segment.first), segment.next if end is None else min(end, segment.next), dtype=np.uint64
            )
            for segment in self._segments.get(ring, ())
            if begin < segment.next and (end is None or segment.first < end)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)

    def blocks(self, ring: str) -> npt.NDArray[Any]:
        """The chain of a ring: one journal_block for each 512 records, with the times between which they lie."""
        parts = [layout.read_chain(layout.chain_path(segment.path)) for segment in self._segments.get(ring, ())]
        return np.concatenate(parts) if parts else np.empty(0, layout.ENTRY)

    def sequence_at(self, ring: str, time_ns: int) -> int:
        """Sequence of the first event that was published at `time_ns` or later; that of the next when none was."""
        blocks = self.blocks(ring)
        later = np.flatnonzero(blocks["last_time_ns"] >= time_ns)
        if len(later):
            begin = int(blocks[later[0]]["first_sequence"])
        else:
            begin = int(blocks[-1]["first_sequence"] + blocks[-1]["count"]) if len(blocks) else self.first(ring)
        for segment in self._segments.get(ring, ()):
            low = max(0, begin - segment.first)
            if low < segment.count:
                found = np.flatnonzero(segment.records()["header"]["publish_time_ns"][low:] >= time_ns)
                if len(found):
                    return segment.first + low + int(found[0])
        return self.next(ring)


def _listed(folder: Path, without: Collection[str]) -> dict[str, dict[int, Path]]:
    """The segments of each ring by first sequence; those that are not yet whole enough to have a head are left out."""
    return {
        ring: {
            first: path
            for first, path in paths.items()
            if path.name not in without and path.stat().st_size >= HEAD_BYTES
        }
        for ring, paths in layout.segment_files(folder).items()
    }
