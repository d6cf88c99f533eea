"""What ``hotpath journal`` prints, for people and for machines."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotpath.errors import JournalError
from hotpath.journal import format as layout
from hotpath.journal.compare import RingDifference
from hotpath.journal.folders import journal_root
from hotpath.journal.reader import Journal
from hotpath.journal.repair import RingRepair
from hotpath.journal.verify import Verdict

SECOND_NS = 10**9
VALUES_SHOWN = 8
MIB = 1 << 20


def verdict_dictionary(verdict: Verdict) -> dict[str, Any]:
    """For machines."""
    return {**dataclasses.asdict(verdict), "damaged": verdict.damaged, "events": verdict.events}


def verdict_text(verdict: Verdict) -> str:
    """Rings, findings, and the verdict in the last line."""
    lines = [f"{'ring':<12} {'events':>12} {'segments':>8} {'lost':>8}  chain"]
    for name, ring in verdict.rings.items():
        lines.append(f"{name:<12} {ring.events:>12,} {ring.segments:>8} {ring.lost:>8,}  {ring.chain[:16]}")
        if ring.retired_before:
            lines.append(f"{'':<12} the first {ring.retired_before:,} events are not here: retired, or never recorded")
    lines += [f"  {'torn' if each.torn else 'DAMAGED'}: {each.file}: {each.what}" for each in verdict.findings]
    if verdict.damaged:
        lines.append("damaged")
    elif not verdict.ended:
        lines.append("whole as far as it goes: the run still goes on, or was cut off (then: hotpath journal repair)")
    else:
        lines.append("whole")
    return "\n".join(lines)


def difference_text(found: Sequence[RingDifference]) -> str:
    """A line for each ring, and below those that differ the first difference."""
    lines = []
    for each in found:
        left, right = each.events
        count = f"{left:,} events" if left == right else f"{left:,} and {right:,} events"
        if each.same:
            lines.append(f"{each.ring:<12} the same: {count}")
            continue
        lines.append(f"{each.ring:<12} differs from {each.first} on: {count}, {each.different:,} of them different")
        for name, (a, b) in list(each.values.items())[:VALUES_SHOWN]:
            lines.append(f"{'':<12}   {name}: {a} | {b}  ({each.fields[name]:,} times)")
    return "\n".join(lines)


def repair_text(folder: Path, repaired: dict[str, RingRepair]) -> str:
    """What is left and what was cut."""
    lines = [f"{folder}: closed"]
    for ring, each in repaired.items():
        cut = f", {each.cut_bytes:,} bytes cut" if each.cut_bytes else ""
        aside = f", {each.cut_segments} segments put aside" if each.cut_segments else ""
        lines.append(f"  {ring:<12} {each.events:>12,} events{cut}{aside}")
    return "\n".join(lines)


# ---- runs ------------------------------------------------------------------------------------------------


def runs_below(where: Path) -> list[Path]:
    """Folders of runs: `where` itself, those in it, or those of the engine that a TOML file configures."""
    if where.suffix == ".toml":
        from hotpath.config import load_config

        where = journal_root(load_config(where))
    if (where / layout.RUN_FILE).exists():
        return [where]
    runs = sorted(path.parent for path in where.glob(f"*/{layout.RUN_FILE}"))
    runs = runs or sorted(path.parent for path in where.glob(f"*.journal/*/{layout.RUN_FILE}"))
    if not runs:
        raise JournalError(f"{where}: no journal in it", next_step="hotpath run CONFIG keeps one by default")
    return runs


def run_dictionary(folder: Path) -> dict[str, Any]:
    """What one journal holds."""
    journal = Journal(folder)
    rings = {}
    for ring in journal.rings:
        segments = journal.segments(ring)
        times = journal.events(ring, journal.first(ring), journal.first(ring) + 1)["header"]["publish_time_ns"]
        last = journal.events(ring, journal.next(ring) - 1)["header"]["publish_time_ns"]
        rings[ring] = {
            "events": journal.count(ring),
            "lost": journal.lost(ring),
            "segments": len(segments),
            "compressed": sum(segment.compressed for segment in segments),
            "bytes": sum(segment.path.stat().st_size for segment in segments),
            "first_time_ns": int(times[0]) if len(times) else 0,
            "last_time_ns": int(last[0]) if len(last) else 0,
        }
    return {
        "folder": str(folder),
        "ended": journal.ended,
        "repaired": bool(journal.end and journal.end.repaired),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "rings": rings,
    }


def run_text(found: dict[str, Any]) -> str:
    """One run for people."""
    state = "closed by repair" if found["repaired"] else "ended" if found["ended"] else "open, or cut off"
    lines = [
        f"{found['folder']}: {state}, {found['bytes'] / MIB:,.1f} MiB",
        f"{'ring':<12} {'events':>12} {'lost':>8} {'segments':>8} {'packed':>6} {'MiB':>9}  from - to",
    ]
    for name, ring in found["rings"].items():
        span = f"{_clock(ring['first_time_ns'])} - {_clock(ring['last_time_ns'])}" if ring["events"] else ""
        lines.append(
            f"{name:<12} {ring['events']:>12,} {ring['lost']:>8,} {ring['segments']:>8} {ring['compressed']:>6} "
            f"{ring['bytes'] / MIB:>9,.1f}  {span}"
        )
    return "\n".join(lines)


def runs_text(where: Path, found: Sequence[dict[str, Any]]) -> str:
    """A line for each run."""
    lines = [f"{'run':<32} {'events':>14} {'lost':>8} {'MiB':>9}  state"]
    for run in found:
        events = sum(ring["events"] for ring in run["rings"].values())
        lost = sum(ring["lost"] for ring in run["rings"].values())
        state = "closed by repair" if run["repaired"] else "ended" if run["ended"] else "open, or cut off"
        path = Path(run["folder"])
        name = str(path.relative_to(where)) if path.is_relative_to(where) else str(path)
        lines.append(f"{name:<32} {events:>14,} {lost:>8,} {run['bytes'] / MIB:>9,.1f}  {state}")
    return "\n".join(lines)


def _clock(time_ns: int) -> str:
    local = time.localtime(time_ns // SECOND_NS)
    return time.strftime("%H:%M:%S", local) + f".{time_ns // 1_000_000 % 1000:03d}"
