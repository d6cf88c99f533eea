"""The diagnosis as people read it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from hotpath.doctor.examine import Diagnosis
from hotpath.doctor.findings import Finding
from hotpath.doctor.measure import Measured
from hotpath.doctor.measured import format_span

MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "bad": ("BAD", "bold red"), "unknown": ("?", "dim")}
INDENT = 28  # of commands: below what was found
MATRIX_MAX = 16  # processors; a larger table is in the JSON


def print_diagnosis(diagnosis: Diagnosis, *, json: bool) -> None:
    """To standard output."""
    if json:
        import msgspec

        print(msgspec.json.encode({**msgspec.to_builtins(diagnosis), "healthy": diagnosis.healthy}).decode())
    else:
        console = Console(highlight=False)
        for part in diagnosis_view(diagnosis):
            console.print(part, soft_wrap=isinstance(part, Command))


@contextmanager
def doing() -> Iterator[Callable[[str], None]]:
    """What is being measured, on one line of the terminal while it lasts."""
    if not sys.stderr.isatty():
        yield lambda what: None
        return
    with Console(stderr=True).status("looking") as status:
        yield status.update


class Command(Text):
    """A command as it is typed: printed unbroken, however narrow the terminal."""


def diagnosis_view(diagnosis: Diagnosis) -> list[RenderableType]:
    """Every area with its findings, the table of pairs, and the sum."""
    whom = f"engine {diagnosis.engine}" if diagnosis.engine else "an engine of the default configuration"
    parts: list[RenderableType] = [Text.assemble((" hotpath doctor ", "bold reverse"), f"  this machine, for {whom}")]
    for area in dict.fromkeys(finding.area for finding in diagnosis.findings):
        parts += [Text(), Text(f" {area}", style="bold")]
        for finding in (each for each in diagnosis.findings if each.area == area):
            parts += _finding(finding)
    if diagnosis.measured is not None and len(diagnosis.measured.pairs) > 1:
        parts += [Text(), _matrix(diagnosis.measured)]
    parts += [Text(f" note: {note}", style="yellow") for note in diagnosis.notes]
    return [*parts, Text(), _sum(diagnosis)]


def _finding(finding: Finding) -> Iterator[RenderableType]:
    """A line or a few; then each command on a line of its own, unbroken, as it is copied."""
    word, style = MARKS[finding.level]
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=6, justify="right", no_wrap=True)
    table.add_column(width=20, no_wrap=True)
    table.add_column(ratio=1)
    table.add_row(Text(word, style=style), finding.name, _told(finding))
    yield table
    if finding.level == "ok":
        return
    for command in finding.fix:
        yield Command(" " * INDENT + "$ ", style="dim").append(command, "cyan")
    if finding.advice:
        advice = Table.grid(padding=(0, 1, 0, 0))
        advice.add_column(width=INDENT - 1)
        advice.add_column(ratio=1)
        advice.add_row("", Text(finding.advice, style="cyan"))
        yield advice


def _told(finding: Finding) -> Text:
    text = Text(finding.found, style="dim" if finding.level == "unknown" else "")
    if finding.level in ("warn", "bad"):
        if finding.cause:
            text.append(f"\n{finding.cause}", "dim")
        if finding.effect:
            span = f" [{format_span(finding.effect_ns)}]" if finding.effect_ns is not None else ""
            text.append(f"\n-> {finding.effect}{span}", "dim")
    return text


def _matrix(measured: Measured) -> RenderableType:
    """Round trips of one cache line by pair, p50 in ns."""
    cpus = sorted({cpu for pair in measured.pairs for cpu in (pair.first, pair.second)})
    if len(cpus) > MATRIX_MAX:
        return Text(" round trips of every pair: hotpath doctor --json", style="dim")
    times = {frozenset((pair.first, pair.second)): pair.p50_ns for pair in measured.pairs}
    nearest = min(times.values())
    table = Table(box=None, title=" one cache line there and back, p50 in ns", title_justify="left", title_style="dim")
    table.add_column("", style="dim", justify="right")
    for cpu in cpus:
        table.add_column(str(cpu), justify="right")
    for row in cpus:
        cells = []
        for column in cpus:
            span = times.get(frozenset((row, column)))
            cells.append("" if span is None or column >= row else f"[{_warmth(span / nearest)}]{span}[/]")
        table.add_row(str(row), *cells)
    return table


def _warmth(factor: float) -> str:
    return "green" if factor <= 1.25 else "yellow" if factor <= 2 else "red"


def _sum(diagnosis: Diagnosis) -> Text:
    levels = diagnosis.levels
    text = Text(" ")
    text.append(f"{levels['ok']} ok", "green")
    text.append(f", {levels['warn']} to know of", "yellow" if levels["warn"] else "dim")
    text.append(f", {levels['bad']} bad", "bold red" if levels["bad"] else "dim")
    text.append(f", {levels['unknown']} unknown", "dim")
    if diagnosis.healthy and levels["warn"]:
        text.append(". The engine runs here; what is yellow costs it evenness.", "dim")
    elif not diagnosis.healthy:
        text.append(". Mend what is bad first.", "dim")
    return text
