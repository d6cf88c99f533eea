"""Writing one ring's journal: records into segments, a chain over their blocks, room made ahead of need.

    append(slots)  seal in C -> hash -> write -> written         by the process's own loop
    prepare()      zeros -> <ring>.spare                         by its keeper, before the segment is full
    sync()         fdatasync of what was written                 by the keeper, or by the loop (policy batch)

A segment comes to life by renaming the spare, so that one that has a name has a head, and its room is on the disk
already: a sync then writes data alone. Segments double in size, so that a quiet ring stays small.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt

from ffi import ffi, lib
from hotpath.errors import JournalError
from hotpath.journal import format as layout
from hotpath.journal.format import BLOCK_RECORDS, END_FILE, HEAD_BYTES, RECORD_BYTES, End, RingEnd

ZEROS = bytes(1 << 20)
MIB = 1 << 20
OPEN_FLAGS = os.O_RDWR | os.O_CLOEXEC
TIME_OFFSET = 32  # of header.publish_time_ns
STAMP_BYTES = 8


@dataclass(frozen=True)
class Sizes:
    """Bytes of a ring's first segment, and those at which they stop doubling; whole blocks."""

    first: int = 1 * MIB
    largest: int = 64 * MIB


def write_all(descriptor: int, data: memoryview, offset: int) -> None:
    """Write every byte. A write that was cut short is gone on with once: the second says why."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


class RingWriter:
    """The segments of one ring, written in order. One thread appends; another may prepare and sync."""

    def __init__(self, folder: Path, ring: str, *, run_epoch: int, sizes: Sizes | None = None) -> None:
        self.folder = folder
        self.ring = ring
        self.next = 0  # sequence of the next event
        self.events = 0
        self.lost = 0
        self.begun = 0  # segments
        self.late = 0  # of them, those that had to be written ahead while events waited
        self.chain = layout.chain_seed(folder, ring)
        self._run_epoch = run_epoch
        self._sizes = sizes or Sizes()
        self._lost_before = 0  # events missing before the segment that begins next
        self._size = 0  # bytes of records, of the present segment
        self._first = 0
        self._file = self._chain_file = -1
        self._entries = 0
        self._hash = hashlib.sha256()
        self._in_block = 0
        self._block_time = self._last_time = 0
        self._spare = folder / f"{ring}.spare"
        self._spare_size = 0  # of the one that is ready; 0: none
        self._lock = threading.Lock()  # of the files: whoever syncs must not meet a number that was closed
        self._preparing = threading.Lock()
        self._left: deque[tuple[int, int]] = deque()  # closed segments that are not synced yet
        self._dirty = False
        self._named = False  # a name in the folder is not synced yet

    # ---- the loop's ----------------------------------------------------------------------------------

    def append(self, slots: npt.NDArray[Any], first_sequence: int) -> None:
        """Write slots that follow each other in their ring; what is missing before them is recorded as a hole.

        `slots` becomes records in place. Raises OSError when the disk refuses: never try again.
        """
        count = len(slots)
        lib.journal_seal(ffi.from_buffer(slots), first_sequence, count)
        data = memoryview(slots).cast("B")  # type: ignore[arg-type]
        if first_sequence != self.next:
            self._pass_hole(first_sequence)
        while data:
            if self._file < 0 or self._filled == self._size:
                self._begin_segment()
            part = data[: self._size - self._filled]
            offset = HEAD_BYTES + self._filled
            self._extend_chain(part)
            write_all(self._file, part, offset)
            self.next += len(part) // RECORD_BYTES
            self.events += len(part) // RECORD_BYTES
            self._dirty = True
            data = data[len(part) :]

    @property
    def _filled(self) -> int:
        """Bytes of records in the present segment."""
        return (self.next - self._first) * RECORD_BYTES

    def _pass_hole(self, first_sequence: int) -> None:
        assert first_sequence > self.next, "a ring's events come in order"
        self._close_segment()
        self._lost_before = first_sequence - self.next
        self.lost += self._lost_before
        self.next = first_sequence

    def _begin_segment(self) -> None:
        self._close_segment()
        if not self._spare_size:
            self.late += bool(self.begun)
            self.prepare()
        self._first, self._size = self.next, self._spare_size
        path = layout.segment_path(self.folder, self.ring, self.next)
        head = layout.head_bytes(
            self.ring,
            first_sequence=self.next,
            lost_before=self._lost_before,
            run_epoch=self._run_epoch,
            created_time_ns=time.time_ns(),
            chain_before=self.chain,
        )
        self._lost_before = 0
        file = os.open(self._spare, OPEN_FLAGS)
        write_all(file, memoryview(head), 0)
        chain = os.open(layout.chain_path(path), OPEN_FLAGS | os.O_CREAT | os.O_TRUNC, 0o600)
        with self._lock:
            os.rename(self._spare, path)
            self._spare_size = 0
            self._file, self._chain_file = file, chain
            self._named = self._dirty = True
        self._entries = 0
        self.begun += 1

    def _close_segment(self) -> None:
        """Cut what was written ahead; whoever syncs next closes the files."""
        if self._file < 0:
            return
        self._finish_block()
        os.ftruncate(self._file, HEAD_BYTES + self._filled)
        with self._lock:
            self._left.append((self._file, self._chain_file))
            self._file = self._chain_file = -1

    def _extend_chain(self, data: memoryview) -> None:
        """Hash records as they come; each whole block becomes an entry of the chain."""
        while data:
            part = data[: (BLOCK_RECORDS - self._in_block) * RECORD_BYTES]
            if not self._in_block:
                self._block_time = time_of(part, 0)
            self._last_time = time_of(part, len(part) - RECORD_BYTES)
            self._hash.update(part)
            self._in_block += len(part) // RECORD_BYTES
            if self._in_block == BLOCK_RECORDS:
                self._finish_block()
            data = data[len(part) :]

    def _finish_block(self) -> None:
        if not self._in_block:
            return
        entry = layout.chain_entry(
            self.chain,
            self._hash.digest(),
            first_sequence=self._first + self._entries * BLOCK_RECORDS,
            times_ns=(self._block_time, self._last_time),
            count=self._in_block,
        )
        write_all(self._chain_file, memoryview(entry), self._entries * len(entry))
        self.chain = entry[-32:]
        self._entries += 1
        self._hash = hashlib.sha256()
        self._in_block = 0

    def close(self) -> RingEnd:
        """Cut, sync and close everything; returns how this ring's journal ended."""
        self._close_segment()
        self.sync()
        self._spare.unlink(missing_ok=True)
        return RingEnd(events=self.events, lost=self.lost, chain=self.chain.hex())

    # ---- the keeper's --------------------------------------------------------------------------------

    @property
    def wants_spare(self) -> bool:
        """Whether the present segment is half full and none follows yet."""
        return not self._spare_size and (self._file < 0 or self._filled * 2 >= self._size)

    def prepare(self) -> None:
        """Write the next segment's zeros. Raises OSError when there is no room."""
        with self._preparing:
            if self._spare_size:
                return
            size = min(max(self._size * 2, self._sizes.first), self._sizes.largest)
            try:
                self._write_zeros(HEAD_BYTES + size)
            except OSError:
                self._spare.unlink(missing_ok=True)  # what room there is, others need more
                raise
            self._spare_size = size

    def _write_zeros(self, size: int) -> None:
        file = os.open(self._spare, OPEN_FLAGS | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.posix_fallocate(file, 0, size)
            for offset in range(0, size, len(ZEROS)):
                write_all(file, memoryview(ZEROS)[: size - offset], offset)
            os.fdatasync(file)
        finally:
            os.close(file)

    def sync(self) -> None:
        """Have the disk hold what was appended before the call. Raises OSError: what failed is not tried again."""
        with self._lock:
            left = [self._left.popleft() for _ in range(len(self._left))]
            present = (
                [os.dup(each) for each in (self._file, self._chain_file)] if self._dirty and self._file >= 0 else []
            )
            named, self._named, self._dirty = self._named, False, False
        try:
            for descriptor in (*(each for pair in left for each in pair), *present):
                os.fdatasync(descriptor)
            if named:
                sync_folder(self.folder)
        finally:
            for descriptor in (*(each for pair in left for each in pair), *present):
                os.close(descriptor)

    # ---- taking up what another process left -------------------------------------------------------

    def resume(self) -> None:
        """Go on after the valid prefix of what lies in the folder. Raises JournalError when it is broken."""
        self._spare.unlink(missing_ok=True)
        paths = layout.ring_files(self.folder, self.ring)
        for path in paths:
            head = layout.read_head(path)
            if head.run_epoch != self._run_epoch:
                raise JournalError(f"{path}: is of another run ({head.run_epoch}, not {self._run_epoch})")
            self.lost += head.lost_before
            if path is not paths[-1]:
                size = len(unpacked_size(path)) if path.suffix == ".zst" else path.stat().st_size - HEAD_BYTES
                self.events += size // RECORD_BYTES
                if path.suffix != ".zst":  # whoever closed it may have died before it was synced
                    self._left.append(
                        (os.open(path, OPEN_FLAGS), os.open(layout.chain_path(path), OPEN_FLAGS | os.O_CREAT, 0o600))
                    )
        if paths:
            self._resume_segment(paths[-1], layout.read_head(paths[-1]))

    def _resume_segment(self, path: Path, head: layout.SegmentHead) -> None:
        """Read it again: its good records, and the chain over them, which is written anew."""
        self._first = self.next = head.first_sequence
        self.chain = head.chain_before
        self._file = os.open(path, OPEN_FLAGS)
        self._chain_file = os.open(layout.chain_path(path), OPEN_FLAGS | os.O_CREAT | os.O_TRUNC, 0o600)
        self._size = (os.fstat(self._file).st_size - HEAD_BYTES) // RECORD_BYTES * RECORD_BYTES
        self.begun = 1
        self._dirty = self._named = True
        while self._filled < self._size:
            data = os.pread(self._file, layout.BLOCK_BYTES, HEAD_BYTES + self._filled)
            good = int(lib.journal_valid(ffi.from_buffer(data), self.next, len(data) // RECORD_BYTES))
            self._extend_chain(memoryview(data)[: good * RECORD_BYTES])
            self.next += good
            self.events += good
            if good < BLOCK_RECORDS:
                break


def unpacked_size(path: Path) -> bytes:
    """The records of a compressed segment."""
    from hotpath.journal.compression import unpacked

    return unpacked(path)


def time_of(data: memoryview | bytes, at: int) -> int:
    """Publish time of the record at this byte."""
    return int.from_bytes(data[at + TIME_OFFSET : at + TIME_OFFSET + 8], "little")


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_end(folder: Path, end: End) -> None:
    """Say that this is all: whole on the disk, or not at all."""
    draft = folder / f"{END_FILE}.draft"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, memoryview(msgspec.json.encode(end)), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(draft, folder / END_FILE)
    sync_folder(folder)
