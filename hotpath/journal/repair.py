"""A journal that was cut off, made whole again up to its last good record.

What is cut away is kept beside it in ``<segment>.cut``. Only the tail of a ring's last segment may be torn; where
more is damaged, somebody has to say that everything after it shall go.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ffi import lib
from hotpath import segments
from hotpath.errors import JournalError, SegmentError
from hotpath.journal import format as layout
from hotpath.journal.format import END_FILE, HEAD_BYTES, RECORD_BYTES, End
from hotpath.journal.reader import Journal
from hotpath.journal.verify import verify
from hotpath.journal.writer import RingWriter, time_of, write_end
from hotpath.power_loss import write_durably
from hotpath.topology import CONTROL_SEGMENT


@dataclass(frozen=True)
class RingRepair:
    """What became of one ring."""

    events: int  # that are left
    cut_bytes: int  # that were something else than zeros, and are kept beside it
    cut_segments: int


def repair(folder: Path, *, cut_damage: bool = False) -> dict[str, RingRepair]:
    """Cut every ring after its valid prefix and write the end. Raises JournalError when a run still writes it,
    when it is whole, or when it is damaged and nobody said to cut there."""
    refuse_live(folder)
    return close_at_last_good(folder, cut_damage=cut_damage)


def close_at_last_good(folder: Path, *, cut_damage: bool = False) -> dict[str, RingRepair]:
    """The same of a folder that surely nobody writes."""
    verdict = verify(folder)
    if verdict.ended and not verdict.damaged:
        raise JournalError(f"{folder}: is whole: there is nothing to repair")
    if verdict.damaged and not cut_damage:
        worst = next(finding for finding in verdict.findings if not finding.torn)
        raise JournalError(
            f"{folder}: damaged, not only cut off: {worst.file}: {worst.what}",
            next_step="--cut gives up what follows the damage in its ring; what is cut is kept beside it",
        )
    (folder / END_FILE).unlink(missing_ok=True)
    repaired, ends = {}, {}
    for ring in verdict.rings:
        cut_bytes, aside = _cut(folder, ring, verdict.rings[ring].events)
        for path in layout.ring_files(folder, ring)[:-1]:
            if path.suffix != ".zst":
                _mend_chain(path)
        writer = RingWriter(folder, ring, run_epoch=_run_epoch(folder, ring))
        writer.resume()
        ends[ring] = writer.close()
        repaired[ring] = RingRepair(ends[ring].events, cut_bytes, aside)
    write_end(folder, End(ends, repaired=True))
    return repaired


def refuse_live(folder: Path) -> None:
    """Raise JournalError when the run whose journal this is still goes on."""
    run = Journal(folder).run
    try:
        segments.attach(run.config.engine.name, CONTROL_SEGMENT, lib.SEGMENT_CONTROL, run_epoch=run.run_epoch)
    except SegmentError:
        return
    raise JournalError(f"{folder}: engine {run.config.engine.name} still writes it", next_step="stop the engine first")


def _run_epoch(folder: Path, ring: str) -> int:
    for path in layout.ring_files(folder, ring):
        return layout.read_head(path).run_epoch
    return 0


def _cut(folder: Path, ring: str, events: int) -> tuple[int, int]:
    """Keep the first `events` good records and move everything after them aside: bytes, and whole segments."""
    left, cut_bytes, aside = events, 0, 0
    broken = False
    for path in layout.ring_files(folder, ring):
        held = 0 if broken else _records(path)
        keep = min(held, left)
        if broken or (keep < held and path.suffix == ".zst") or not _has_head(path):
            for each in (path, layout.chain_path(path)):
                if each.exists():
                    os.rename(each, each.with_name(f"{each.name}.cut"))
            aside += 1
            broken = True
        elif keep < held:
            cut_bytes += _cut_file(path, keep)
            broken = True
        left -= keep
    return cut_bytes, aside


def _mend_chain(path: Path) -> None:
    """Entries of a closed segment's chain that were not yet on the disk when its records were."""
    chain, entries = layout.read_head(path).chain_before, b""
    records = path.read_bytes()[HEAD_BYTES:]
    first = int(path.name.split(".")[-2])
    for begin in range(0, len(records), layout.BLOCK_BYTES):
        block = records[begin : begin + layout.BLOCK_BYTES]
        entry = layout.chain_entry(
            chain,
            hashlib.sha256(block).digest(),
            first_sequence=first + begin // RECORD_BYTES,
            times_ns=(time_of(block, 0), time_of(block, len(block) - RECORD_BYTES)),
            count=len(block) // RECORD_BYTES,
        )
        chain, entries = entry[-32:], entries + entry
    target = layout.chain_path(path)
    if not target.exists() or target.read_bytes() != entries:
        write_durably(target, entries)


def _has_head(path: Path) -> bool:
    try:
        layout.read_head(path)
    except JournalError:
        return False
    return True


def _records(path: Path) -> int:
    """That its size has room for; a last one that is not whole counts too."""
    if path.suffix == ".zst":
        from hotpath.journal.compression import unpacked

        try:
            return len(unpacked(path)) // RECORD_BYTES
        except JournalError:
            return 0
    return -(-(path.stat().st_size - HEAD_BYTES) // RECORD_BYTES)


def _cut_file(path: Path, records: int) -> int:
    """Truncate a segment; keep what was more than zeros. Returns its bytes."""
    size = HEAD_BYTES + records * RECORD_BYTES
    with path.open("r+b") as file:
        file.seek(size)
        rest = file.read().rstrip(b"\0")
        if rest:
            path.with_name(f"{path.name}.cut").write_bytes(rest)
        file.truncate(size)
    return len(rest)
