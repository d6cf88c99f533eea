"""The journal process: takes every event out of its ring and writes it down before the ring may forget it.

    ring --take--> batch --seal, hash, write--> segment --release--> the ring's writer may go on
                                                   \\--- synced by the keeper, or with sync = "batch" before the release

It gates the rings whose loss would make replay impossible (commands, executions, refusals, requests, turn records)
and observes those that must never wait for it (raw, norm, signals); what it lost there is a hole that the next
segment tells of. Started again within a run, it goes on after the valid prefix of what its predecessor left. A
write or a sync that fails ends it, with FAILED: it is not started again, and the engine halts.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import host, segments
from hotpath.engine import EngineSpec
from hotpath.errors import HotpathError, JournalError
from hotpath.journal.folders import journal_root, refuse_earlier_recording
from hotpath.journal.format import END_FILE, INSTRUMENTS_FILE, RUN_FILE, End, event_type
from hotpath.journal.keeper import MILLISECOND_NS, POLICY, Keeper, Packer
from hotpath.journal.writer import MIB, RingWriter, Sizes, sync_folder, write_end
from hotpath.notify import Watchdog, notify
from hotpath.run_file import read_run_file
from hotpath.topology import CLOCK_SEGMENT, STAGES, Ring, page_segment, side_segment

BATCH = 4096
IDLE_SECONDS = 0.001
TELL_SECONDS = 0.05
NO_CPU = 0xFFFFFFFF
ORPHAN_SECONDS = 10.0  # that a journal whose supervisor is dead waits for the stages to end
FAILED = 74  # EX_IOERR: the disk refused
OWNER_ONLY = 0o077  # umask: an order flow is nobody else's to read

_told_to_stop = False


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _told_to_stop
    _told_to_stop = True


class RingLog:
    """One ring's reader, and the writer of its journal."""

    def __init__(self, spec: EngineSpec, ring: Ring, writer: RingWriter, *, run_epoch: int) -> None:
        self.writer = writer
        self._segment = segments.attach(spec.name, ring.name, lib.SEGMENT_RING, run_epoch=run_epoch)
        self._cursor = segments.attach(
            spec.name, ring.cursor("journal"), lib.SEGMENT_CURSOR, writable=True, run_epoch=run_epoch
        )
        self._reader = ffi.new("ring_reader *")
        kind = lib.CURSOR_GATING if "journal" in ring.gating else lib.CURSOR_OBSERVER
        status = lib.ring_reader_attach(self._reader, self._segment.pointer, self._cursor.pointer, kind)
        if status != lib.RING_OK:
            raise HotpathError(f"journal: ring {ring.name} cannot be read (status {status})")
        if not lib.ring_resume(self._reader, writer.next):
            raise JournalError(
                f"journal: {writer.folder} holds {writer.next} events of ring {ring.name}, and that was never so many"
            )
        self._lost = ffi.new("uint64_t *")
        self._batch = np.empty(BATCH, dtype_of(event_type(ring.name)))
        self._pointer = ffi.from_buffer(self._batch)

    def drain(self) -> int:
        """Write what has been published since; returns how many events. The ring may not forget them yet."""
        count = int(lib.ring_take(self._reader, self._pointer, BATCH, self._lost))
        if count:
            self.writer.append(self._batch[:count], int(self._reader.next) - count)
        return count

    def release(self) -> None:
        """What was drained is safe: the ring may go on."""
        lib.ring_release(self._reader)


class JournalProcess:
    """A journal of a running engine."""

    def __init__(self, run_path: Path, folder: Path) -> None:
        self.folder = folder
        resumes = _is_of(run_path, folder)
        if not resumes:
            refuse_earlier_recording(folder)
        self._mapped: list[segments.Segment] = []  # a pointer into one does not keep it
        self.run, self.spec = read_run_file(run_path)
        host.stand_aside(self.spec.placement)
        self.config = self.spec.config.journal
        self.page: Any = self._attach(side_segment("journal"), lib.SEGMENT_STAGE, writable=True).cast("stage_page *")
        self.clock: Any = self._attach(CLOCK_SEGMENT, lib.SEGMENT_CLOCK).cast("clock_page *")
        self.beat = partial(lib.stage_beat, self.page, self.clock)
        self.beat()
        folder.mkdir(parents=True, exist_ok=True)
        if not resumes:
            self._begin_folder(run_path)
        sizes = Sizes(first=self.config.segment_mib_first * MIB, largest=self.config.segment_mib_max * MIB)
        rings = [ring for ring in self.spec.rings if "journal" in (*ring.gating, *ring.observers)]
        self.writers = [RingWriter(folder, ring.name, run_epoch=self.run.run_epoch, sizes=sizes) for ring in rings]
        for writer in self.writers:
            writer.resume()
            self.beat()
        self._stay_until = 0.0  # once it is told to stop
        self._stages = [self._attach(page_segment(stage), lib.SEGMENT_STAGE).cast("stage_page *") for stage in STAGES]
        self.resumed = sum(writer.events for writer in self.writers)
        self.logs = [
            RingLog(self.spec, ring, writer, run_epoch=self.run.run_epoch)
            for ring, writer in zip(rings, self.writers, strict=True)
        ]
        self.keeper = Keeper(folder, self.config, self.writers, lambda: int(lib.clock_now(self.clock)))
        self.packer = Packer(folder, journal_root(self.spec.config), self.config)

    def _attach(self, segment: str, kind: int, *, writable: bool = False) -> segments.Segment:
        mapped = segments.attach(self.spec.name, segment, kind, writable=writable, run_epoch=self.run.run_epoch)
        self._mapped.append(mapped)
        return mapped

    def _begin_folder(self, run_path: Path) -> None:
        """What the run's processes agreed on, on the disk before the first event."""
        np.save(self.folder / INSTRUMENTS_FILE, self.spec.instruments)
        draft = self.folder / f"{RUN_FILE}.draft"
        draft.write_bytes(run_path.read_bytes())
        os.rename(draft, self.folder / RUN_FILE)  # last: a folder without it is no journal
        _sync_files(self.folder / INSTRUMENTS_FILE, self.folder / RUN_FILE)
        sync_folder(self.folder)

    def work(self) -> None:
        """Write until told to stop. Raises OSError when the disk refuses."""
        self.keeper.begin()
        self.packer.begin()
        self.tell()
        lib.stage_announce(self.page, lib.STAGE_READY, os.getpid(), NO_CPU)
        notify("READY=1", "STATUS=records")
        watchdog = Watchdog()
        told = time.monotonic()
        batch = self.config.sync == "batch"
        while not _told_to_stop or self._orphaned():
            count = self.round(sync=batch)
            if not count:
                time.sleep(IDLE_SECONDS)
            self.beat()
            if self.keeper.error is not None:
                raise self.keeper.error
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                self.tell()
                watchdog.feed(int(self.page.heartbeat_time_ns))

    def _orphaned(self) -> bool:
        """Whether it was not the supervisor that told it to stop, but its death: then stages still cancel orders.

        A supervisor tells the journal after the last of them has ended.
        """
        self._stay_until = self._stay_until or time.monotonic() + ORPHAN_SECONDS
        return time.monotonic() < self._stay_until and any(
            segments.process_start_time(int(page.pid)) is not None for page in self._stages
        )

    def round(self, *, sync: bool) -> int:
        """One look at every ring; returns how many events were written."""
        total = 0
        for log in self.logs:
            count = log.drain()
            total += count
            if count and not sync:
                log.release()
        if total and sync:
            self.keeper.sync()
            for log in self.logs:
                log.release()
        return total

    def finish(self) -> None:
        """Write the rest, and that this is all."""
        while self.round(sync=False):
            self.beat()
        self.keeper.end()
        self.packer.end()
        if self.keeper.error is not None:
            raise self.keeper.error
        end = End({writer.ring: writer.close() for writer in self.writers})
        write_end(self.folder, end)
        self.tell()

    def tell(self) -> None:
        """Fill in the counters that others see."""
        counter, keeper = self.page.counter, self.keeper
        events = sum(writer.events for writer in self.writers) - self.resumed
        counter[lib.JOURNAL_EVENTS] = events
        counter[lib.JOURNAL_BYTES] = events * lib.JOURNAL_RECORD_BYTES
        counter[lib.JOURNAL_LOST] = sum(writer.lost for writer in self.writers)
        counter[lib.JOURNAL_SYNCS] = keeper.syncs
        counter[lib.JOURNAL_SYNCED_TIME_NS] = keeper.synced_time_ns
        counter[lib.JOURNAL_SYNC_NS_LAST] = keeper.sync_ns_last
        counter[lib.JOURNAL_SYNC_NS_MAX] = keeper.sync_ns_max
        counter[lib.JOURNAL_POLICY] = POLICY[self.config.sync]
        counter[lib.JOURNAL_INTERVAL_NS] = self.config.sync_ms * MILLISECOND_NS
        counter[lib.JOURNAL_SEGMENTS] = sum(writer.begun for writer in self.writers)
        counter[lib.JOURNAL_SEGMENTS_LATE] = sum(writer.late for writer in self.writers)
        counter[lib.JOURNAL_SPACE] = keeper.space
        counter[lib.JOURNAL_FREE_BYTES] = keeper.free_bytes
        counter[lib.JOURNAL_RESUMED_EVENTS] = self.resumed


def _sync_files(*paths: Path) -> None:
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _is_of(run_path: Path, folder: Path) -> bool:
    """Whether the folder holds an unfinished journal of this very run."""
    try:
        same = (folder / RUN_FILE).read_bytes() == run_path.read_bytes()
    except FileNotFoundError:
        return False
    return same and not (folder / END_FILE).exists()


def run_journal(run_path: Path, folder: Path) -> int:
    """Record until told to stop, then drain what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    host.die_with_parent()
    host.set_thread_name("journal")
    os.umask(OWNER_ONLY)
    process = JournalProcess(run_path, folder)
    process.work()
    process.finish()
    lib.stage_announce(process.page, lib.STAGE_STOPPED, os.getpid(), NO_CPU)
    return 0


def main(arguments: list[str]) -> int:
    """Entry point of the process: RUN_FILE FOLDER."""
    try:
        return run_journal(Path(arguments[0]), Path(arguments[1]))
    except HotpathError as error:
        print(f"journal: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"journal: {arguments[1]}: cannot be written: {error.strerror}", file=sys.stderr)
        return FAILED
