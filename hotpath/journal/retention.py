"""Closed segments packed, old runs removed: what keeps a journal's disk from filling up.

A segment is packed when its successor is there or its run has ended: its records are checked, the packed file is
written beside it and synced, and only then does the original go. Runs are removed whole, the oldest first, and only
those that came to their end: one that was cut off waits for somebody to look at it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ffi import ffi, lib
from hotpath.config import JournalConfig
from hotpath.errors import JournalError
from hotpath.journal import format as layout
from hotpath.journal.compression import packed
from hotpath.journal.format import END_FILE, HEAD_BYTES, RECORD_BYTES, RUN_FILE
from hotpath.journal.writer import sync_folder

DAY_NS = 86_400 * 10**9
MIB = 1 << 20


def closed_segments(folder: Path) -> Iterator[Path]:
    """Those of one run that nobody writes any more and that are not packed yet."""
    ended = (folder / END_FILE).exists()
    for ring in layout.segment_files(folder):
        paths = layout.ring_files(folder, ring)
        yield from (path for path in (paths if ended else paths[:-1]) if path.suffix != ".zst")


def pack_segment(path: Path) -> int:
    """Pack one closed segment; returns by how many bytes it shrank. Raises JournalError where a record is bad."""
    data = path.read_bytes()
    head = layout.parse_head(path, data)
    records = memoryview(data)[HEAD_BYTES:]
    count = len(records) // RECORD_BYTES
    if len(records) % RECORD_BYTES or (
        count and int(lib.journal_valid(ffi.from_buffer(records), head.first_sequence, count)) != count
    ):
        raise JournalError(f"{path}: is damaged and stays as it is", next_step=layout.VERIFY)
    target = path.with_name(f"{path.name}.zst")
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("wb") as file:
        file.write(data[:HEAD_BYTES])
        file.write(packed(bytes(records)))
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, target)
    sync_folder(path.parent)
    path.unlink()
    return len(data) - target.stat().st_size


def pack_run(folder: Path) -> int:
    """Pack what is closed in one run; returns by how many bytes it shrank."""
    return sum(pack_segment(path) for path in list(closed_segments(folder)))


def ended_runs(root: Path) -> list[Path]:
    """Runs that came to their end, the oldest first."""
    return sorted(path.parent for path in root.glob(f"*/{END_FILE}") if (path.parent / RUN_FILE).exists())


def retire(root: Path, config: JournalConfig, *, now_ns: int | None = None) -> list[Path]:
    """Remove the runs that are older, or more in bytes, than shall be kept; returns their folders."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    runs = ended_runs(root)
    sizes = {run: sum(path.stat().st_size for path in run.iterdir()) for run in runs}
    gone = []
    for run in runs:
        too_old = config.keep_days and now_ns - (run / END_FILE).stat().st_mtime_ns > config.keep_days * DAY_NS
        too_much = config.keep_mib and sum(sizes.values()) > config.keep_mib * MIB
        if too_old or too_much:
            os.rename(run / END_FILE, run / f"{END_FILE}.retired")  # half removed, it is no whole run
            shutil.rmtree(run)
            del sizes[run]
            gone.append(run)
    return gone
