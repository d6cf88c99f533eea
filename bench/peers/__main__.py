"""hotpath beside what people use today, on this machine: one table, losses first.

  pip install -e '.[peers]'          what is compared with; whatever is missing is skipped by name
  python -m bench.peers              everything (about ten minutes); --quick: a rougher look
  python -m bench.peers --only books one section        --list: the rows, which are fixed before anything is run
  python -m bench.peers --into FILE  the table as a section of a Markdown file; --markdown: on standard output
  python -m bench.peers --json       a line a row

Tables go to out/bench/peers/ as peers.html, .md, .csv and .jsonl. Sections that were measured before, on this
machine with this code at this size, stay in them with their own date. Measure on a quiet machine.
Exit code: 0 done, 1 a row failed (its results were not equal, or it could not be run), 2 usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import psutil
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.harness import BenchError, Options, Size, default_options, fingerprint, spin_note
from bench.peers import messaging, report
from bench.peers.catalogue import MESSAGES, ROWS, SECTIONS
from bench.peers.packages import PACKAGES
from bench.peers.report import Part, Report
from bench.peers.rows import Row
from hotpath.host import spin_control

CONTROL_NS = 300_000_000
ARRIVALS_NS = 10_000


def missing(row: Row, options: Options) -> str:
    """Why a row cannot be measured here; empty when it can."""
    if row.two_cores and not options.two_cores:
        return "a second processor: there is none"
    return next(filter(None, (PACKAGES[name].missing for name in row.packages)), "")


def versions(row: Row) -> str:
    """Packages and their versions."""
    return ", ".join(f"{name} {PACKAGES[name].version}" for name in row.packages) or "the machine"


def measure(section: str, options: Options, console: Console) -> Part:
    """Every row of a section that can be measured here; the spin control before and after."""
    part = Part(section, report.now_text(), notes=[f"before: {load_note(options)}"])
    before = cpu_seconds()
    for row in ROWS:
        if row.section != section:
            continue
        if why := missing(row, options):
            part.skipped.append(f"{row.what}: {why}")
            continue
        console.print(f"[dim]{escape(row.what)}[/]", highlight=False)
        try:
            part.figures[row.what] = row.measure(options)
            part.versions[row.what] = versions(row)
        except BenchError as error:
            part.failed.append(f"{row.what}: {error}")
    part.notes.append(others_note(before, cpu_seconds()))
    part.notes.append(f"after: {load_note(options)}")
    if section == MESSAGES and options.two_cores:
        part.notes.append(messaging.c_note(options))
    return part


def load_note(options: Options) -> str:
    """How quiet the machine is."""
    control = spin_control(duration_ns=CONTROL_NS, interval_ns=ARRIVALS_NS, cpu=options.engine_cpu)
    return f"{spin_note(control)}; load {os.getloadavg()[0]:.1f}"


def cpu_seconds() -> tuple[float, float, float]:
    """Seconds of processor time so far: all there was, what anything used of it, what this program and its children
    did."""
    spent = psutil.cpu_times()
    total, us = sum(spent[:8]), os.times()  # guests are part of the user's
    return total, total - spent.idle - spent.iowait, sum(us[:4])


def others_note(before: tuple[float, float, float], after: tuple[float, float, float]) -> str:
    """What other programs, and the host, took of the processors between two readings."""
    total, busy, ours = (late - early for early, late in zip(before, after, strict=True))
    return f"other programs took {max(0.0, busy - ours) / max(total, 1e-9):.0%} of the processors meanwhile"


def show(made: Report, console: Console) -> None:
    """The table on screen."""
    table = Table(title="hotpath beside other packages", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(report.COLUMNS):
        table.add_column(column, justify="left" if index in (0, 4, 5) else "right")
    for each, row in zip(made.ordered, made.cells(), strict=True):
        table.add_row(*map(escape, row), style="red" if each.lost else "")
    console.print(table)
    for reason, lost in made.losses:
        console.print(f"[red]lost[/]: {escape('; '.join(lost))}\n      {escape(reason)}", highlight=False)
    for remark in made.remarks():
        console.print(f"  {escape(remark)}", highlight=False)


def show_rows(console: Console) -> None:
    """What would be measured, and under which page of documentation."""
    for row in ROWS:
        console.print(f"[bold]{row.section}[/]  {escape(row.what)}  [dim]{escape(row.layout)}[/]", highlight=False)
    for package in PACKAGES.values():
        console.print(f"  {package.name} {package.version or '(not installed)'}: after {package.page}", highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer messages, rougher figures")
    parser.add_argument("--smoke", action="store_true", help="hardly anything: does each row run at all?")
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, metavar="SECTION", help=f"of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--list", action="store_true", help="the rows, and whose advice each package is configured by")
    parser.add_argument("--json", action="store_true", help="a JSON line a row on standard output")
    parser.add_argument("--markdown", action="store_true", help="a section to paste on standard output")
    parser.add_argument("--into", type=Path, metavar="FILE", help="put the section into FILE, in place of the last one")
    chosen = parser.parse_args(arguments)
    if chosen.into and not chosen.into.is_file():
        parser.error(f"{chosen.into} is no file")
    plain = chosen.json or chosen.markdown
    console = Console(stderr=plain, width=None if sys.stdout.isatty() else 200)
    if chosen.list:
        show_rows(console)
        return 0
    size: Size = "smoke" if chosen.smoke else "quick" if chosen.quick else "full"
    sections = [each for each in SECTIONS if not chosen.only or each in chosen.only]
    host = fingerprint()
    parts = [measure(each, default_options(size), console) for each in sections]
    parts += report.kept_parts(host, size, without=sections)
    made = Report(host, size, ROWS, sorted(parts, key=lambda part: SECTIONS.index(part.section)))
    written = report.write(made)
    if chosen.into:
        chosen.into.write_text(report.put_into(chosen.into.read_text(), report.as_markdown(made)))
    if chosen.json:
        print("\n".join(report.as_json(made)))
    elif chosen.markdown:
        print(report.as_markdown(made), end="")
    else:
        show(made, console)
    console.print(f"\n[dim]{', '.join(str(path) for path in written)}[/]", highlight=False)
    return int(any(part.failed for part in parts))


if __name__ == "__main__":
    sys.exit(main())
