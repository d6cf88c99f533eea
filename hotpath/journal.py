"""The journal process: writes down every event of a run, ring by ring, so that the run can be run again.

    <folder>/run.json             what the processes agreed on: configuration, placement, trading day
    <folder>/instruments.npy      reference data of the run
    <folder>/<ring>.events        the ring's slots, 128 bytes each, in sequence from 0
    <folder>/end.json             events of each ring, and those lost; missing when the journal died

It gates the rings whose loss would make replay impossible (commands, executions, refusals, turn records)
and observes those that must never wait for it (raw, norm, signals); what it lost there is counted, and a
recording with a hole says so. It beats as every process does: one that hangs, as on a disk that does not answer,
is ended before the rings that wait for it hold up the path for long. Writing is buffered: what a crash of the
machine may cost is one second.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import BinaryIO

import msgspec
import numpy as np

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import host, segments
from hotpath.engine import EngineSpec
from hotpath.errors import CaptureError, HotpathError
from hotpath.run_file import RunFile, read_run_file
from hotpath.topology import CLOCK_SEGMENT, Ring, side_segment

BATCH = 4096
IDLE_SECONDS = 0.001
FLUSH_SECONDS = 1.0
NO_CPU = 0xFFFFFFFF
EVENT_OF_RING = {
    "raw": "raw_event",
    "norm": "norm_event",
    "signal": "signal_event",
    "cmd": "cmd_event",
    "exec": "exec_event",
    "reject": "exec_event",
    "intake": "request_event",
}

OWNER_ONLY = 0o077  # umask: an order flow is nobody else's to read

_told_to_stop = False


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _told_to_stop
    _told_to_stop = True


def event_type(ring: str) -> str:
    """Name of the struct in a ring's slots."""
    return EVENT_OF_RING.get(ring, "turn_event")


def refuse_earlier_recording(folder: Path) -> None:
    """Raise CaptureError when the folder holds a recording already: a second one would destroy it."""
    if (folder / "run.json").exists() or any(folder.glob("*.events")):
        raise CaptureError(
            f"{folder}: holds a recording already",
            next_step="record into a new folder, or move that one away",
        )


class RingLog:
    """One ring's reader and the file it is written to."""

    def __init__(self, spec: EngineSpec, ring: Ring, *, run_epoch: int, folder: Path) -> None:
        self.name = ring.name
        self._segment = segments.attach(spec.name, ring.name, lib.SEGMENT_RING, run_epoch=run_epoch)
        self._cursor = segments.attach(
            spec.name, ring.cursor("journal"), lib.SEGMENT_CURSOR, writable=True, run_epoch=run_epoch
        )
        self._reader = ffi.new("ring_reader *")
        kind = lib.CURSOR_GATING if "journal" in ring.gating else lib.CURSOR_OBSERVER
        status = lib.ring_reader_attach(self._reader, self._segment.pointer, self._cursor.pointer, kind)
        if status != lib.RING_OK:
            raise HotpathError(f"journal: ring {ring.name} cannot be read (status {status})")
        self._lost = ffi.new("uint64_t *")
        self._batch = np.empty(BATCH, dtype_of(event_type(ring.name)))
        self._file: BinaryIO = (folder / f"{ring.name}.events").open("wb", buffering=1 << 20)
        self.events = 0

    def drain(self) -> int:
        """Write what has been published since; returns how many events."""
        count = int(lib.ring_copy(self._reader, ffi.from_buffer(self._batch), BATCH, self._lost))
        if count:
            self._file.write(self._batch[:count].data)
            self.events += count
        return count

    @property
    def lost(self) -> int:
        """Events overwritten before they were read."""
        return int(self._lost[0])

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._file.flush()

    def close(self) -> None:
        """Write the rest and close."""
        while self.drain():
            pass
        self._file.close()


def run_journal(run_path: Path, folder: Path) -> int:
    """Record until told to stop, then drain what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    host.die_with_parent()
    os.umask(OWNER_ONLY)
    refuse_earlier_recording(folder)
    run, spec = read_run_file(run_path)
    page = _attach(spec, run, side_segment("journal"), lib.SEGMENT_STAGE, writable=True)
    clock = _attach(spec, run, CLOCK_SEGMENT, lib.SEGMENT_CLOCK)
    announce = partial(lib.stage_announce, page.cast("stage_page *"))
    beat = partial(lib.stage_beat, page.cast("stage_page *"), clock.cast("clock_page *"))
    beat()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_bytes(run_path.read_bytes())
    np.save(folder / "instruments.npy", spec.instruments)
    recorded = [ring for ring in spec.rings if "journal" in (*ring.gating, *ring.observers)]
    logs = [RingLog(spec, ring, run_epoch=run.run_epoch, folder=folder) for ring in recorded]
    announce(lib.STAGE_READY, os.getpid(), NO_CPU)
    flushed = time.monotonic()
    while not _told_to_stop:
        if not sum(log.drain() for log in logs):
            time.sleep(IDLE_SECONDS)
        beat()
        if time.monotonic() - flushed > FLUSH_SECONDS:
            flushed = time.monotonic()
            for log in logs:
                log.flush()
    for log in logs:
        log.close()
    end = {log.name: {"events": log.events, "lost": log.lost} for log in logs}
    (folder / "end.json").write_bytes(msgspec.json.encode(end))
    announce(lib.STAGE_STOPPED, os.getpid(), NO_CPU)
    return 0


def _attach(spec: EngineSpec, run: RunFile, segment: str, kind: int, *, writable: bool = False) -> segments.Segment:
    return segments.attach(spec.name, segment, kind, writable=writable, run_epoch=run.run_epoch)


def main(arguments: list[str]) -> int:
    """Entry point of the process: RUN_FILE FOLDER."""
    try:
        return run_journal(Path(arguments[0]), Path(arguments[1]))
    except HotpathError as error:
        print(f"journal: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk: the supervisor halts the engine
        print(f"journal: {arguments[1]}: cannot be written: {error.strerror}", file=sys.stderr)
        return 74


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
