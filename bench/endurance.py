"""Does anything grow? ``python -m bench.endurance --minutes 60``: the demo's load for so long, every process watched.

    hotpath demo ──> supervisor, stages, simulator        every few seconds, from outside: resident memory,
         ▲                                                descriptors, threads of each
         └── this program

A process is flat when its resident memory at the end of the run lies within 1% of what it was after the warm-up, and
it holds no more descriptors. The medians of the first and last tenth of the samples are compared, so that one sample
taken in the middle of something decides nothing. Exit code 1 when one has grown.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

import msgspec
import psutil
from rich.console import Console

from bench.harness import OUT, Finding, Table, default_options, write_records
from bench.run import show

SAMPLE_SECONDS = 5.0
LEAVE_SECONDS = 15.0  # before the end: what the demo does to stop is not its load
GROWTH_MAX = 0.01


@dataclass
class Watched:
    """One process and what was seen of it."""

    name: str
    resident_bytes: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Of resident memory, as a part of what it was after the warm-up."""
        before, after = ends(self.resident_bytes)
        return after / before - 1

    @property
    def flat(self) -> bool:
        """Neither memory nor descriptors nor threads have grown."""
        grown = any(after > before for before, after in (ends(self.descriptors), ends(self.threads)))
        return abs(self.growth) <= GROWTH_MAX and not grown


def ends(samples: list[int]) -> tuple[float, float]:
    """Medians of the first and the last tenth."""
    part = max(1, len(samples) // 10)
    return statistics.median(samples[:part]), statistics.median(samples[-part:])


def name_of(process: psutil.Process) -> str:
    """The part of a command line that tells what the process is."""
    words = process.cmdline()
    module = next((words[at + 1] for at, word in enumerate(words[:-1]) if word == "-m"), words[0] if words else "?")
    detail = (
        next((word for word in words[words.index(module) + 1 :] if word.isidentifier()), "") if module in words else ""
    )
    return f"{module} {detail}".strip()


def watch(root: psutil.Process, *, seconds: float, warm_up: float, console: Console) -> dict[int, Watched]:
    """Sample every process of the demo until it ends; those of the warm-up are not kept."""
    seen: dict[int, Watched] = {}
    began = time.monotonic()
    while (
        root.is_running()
        and root.status() != psutil.STATUS_ZOMBIE
        and time.monotonic() - began < seconds - LEAVE_SECONDS
    ):
        time.sleep(SAMPLE_SECONDS)
        elapsed = time.monotonic() - began
        console.print(f"\r{elapsed:6.0f} of {seconds:.0f} s", end="", highlight=False)
        if elapsed < warm_up:
            continue
        for process in [root, *root.children(recursive=True)]:
            try:
                with process.oneshot():
                    known = seen.setdefault(process.pid, Watched(name_of(process)))
                    known.resident_bytes.append(process.memory_info().rss)
                    known.descriptors.append(process.num_fds())
                    known.threads.append(process.num_threads())
            except psutil.Error:  # it ended between two looks
                continue
    console.print()
    return seen


def finding_of(seen: dict[int, Watched], report: dict[str, object]) -> Finding:
    """A row for each process that lived for most of the run."""
    finding = Finding("endurance")
    table = Table(
        "Endurance: the demo's load", ["process", "samples", "resident", "growth", "descriptors", "threads", ""]
    )
    longest = max((len(each.resident_bytes) for each in seen.values()), default=0)
    for each in seen.values():
        if len(each.resident_bytes) < longest // 2:
            table.notes.append(f"{each.name}: lived for {len(each.resident_bytes)} samples only")
            continue
        (_, resident), (before, after), threads = ends(each.resident_bytes), ends(each.descriptors), ends(each.threads)
        table.rows.append(
            [
                each.name,
                f"{len(each.resident_bytes):,}",
                f"{resident / 2**20:,.1f} MiB",
                f"{each.growth:+.2%}",
                f"{before:.0f} to {after:.0f}",
                f"{threads[0]:.0f} to {threads[1]:.0f}",
                "met" if each.flat else "missed",
            ]
        )
        finding.records.append(
            {
                "process": each.name,
                "resident_bytes": resident,
                "growth": each.growth,
                "descriptors": [before, after],
                "flat": each.flat,
            }
        )
    venue = report.get("venue")
    if isinstance(venue, dict):
        table.notes.append(
            f"{venue['messages_out']:,} messages, {venue['orders_in']:,} orders; the run ended: {report['outcome']}"
        )
    finding.tables.append(table)
    return finding


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--warm-up", type=float, default=10.0, metavar="MINUTES", help="not counted (default: 10)")
    chosen = parser.parse_args(arguments)
    console = Console(stderr=True)
    seconds, warm_up = chosen.minutes * 60, min(chosen.warm_up * 60, chosen.minutes * 30)
    folder = OUT / "endurance"
    command = [sys.executable, "-m", "hotpath", "demo", "--json", "--no-screen", "--seconds", str(seconds)]
    command += ["--out", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        try:
            seen = watch(psutil.Process(demo.pid), seconds=seconds, warm_up=warm_up, console=console)
            text = demo.stdout.read()
        finally:
            if demo.poll() is None:
                demo.terminate()
    report = msgspec.json.decode(text) if text else {}
    if demo.wait() != 0:
        console.print(f"[red]failed[/]: the demo ended with exit code {demo.returncode}: {report.get('outcome', '')}")
        for notice in report.get("notices", []):
            console.print(f"  {notice}", markup=False)
        console.print(f"  its logs: {folder}", markup=False)
        return 1
    finding = finding_of(seen, report)
    write_records(finding, default_options("full"))
    show(finding, Console())
    return int(not finding.records or not all(record["flat"] for record in finding.records))


if __name__ == "__main__":
    sys.exit(main())
