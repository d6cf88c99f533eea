"""Runs the benches and prints their tables: ``python -m bench [--quick] [--only NAME] [--json]``.

Each result is appended to out/bench/NAME.jsonl with the host it was measured on. Measure on a quiet machine:
two processors, nothing else running.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Shown

from bench import book, coprocess, durability, flat_out, gate, journal, kernel, model, path, ring, strategies, tap, wire
from bench.harness import BenchError, Finding, Options, Size, default_options, fingerprint, write_records

Bench = Callable[[Options], Finding]
BENCHES: dict[str, Bench] = {
    "ring": ring.run,
    "kernel": kernel.run,
    "model": model.run,
    "book": book.run,
    "gate": gate.run,
    "path_fused": path.run_fused,
    "path_open_orders": path.run_open_orders,
    "path_one_core": path.run_one_core,
    "flat_out": flat_out.run,
    "wire": wire.run,
    "strategies": strategies.run,
    "tap": tap.run,
    "durability": durability.run,
    "journal": journal.run,
    "coprocess": coprocess.run,
}


def run_bench(name: str, options: Options) -> Finding:
    """One bench, its records written. Raises BenchError when its result is wrong."""
    finding = BENCHES[name](options)
    write_records(finding, options)
    return finding


def show(finding: Finding, console: Console) -> None:
    """The tables of one bench."""
    if finding.skipped:
        console.print(f"[yellow]skipped[/] {finding.bench}: needs {escape(finding.skipped)}\n")
    for table in finding.tables:
        shown = Shown(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(table.columns):
            shown.add_column(column, justify="left" if index == 0 else "right", no_wrap=index > 0)
        for row in table.rows:
            shown.add_row(*(coloured(cell) for cell in row))
        console.print(shown)
        for note in table.notes:
            console.print(f"  {coloured(note)}", highlight=False)
        console.print()


def coloured(text: str) -> str:
    """Verdicts stand out."""
    plain = escape(text)
    styles = {"missed": "red", "met": "green", "host insufficient": "yellow", "skipped": "yellow", "unproven": "yellow"}
    for word, style in styles.items():
        plain = plain.replace(f"{word}", f"[{style}]{word}[/]")
    return plain


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 when a bench could not be run or its result was wrong. A missed aim is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer messages: a few minutes less, rougher tails")
    parser.add_argument("--smoke", action="store_true", help="hardly any messages: does each bench run at all?")
    parser.add_argument(
        "--only", action="append", choices=BENCHES, metavar="NAME", help=f"one of: {', '.join(BENCHES)}"
    )
    parser.add_argument("--json", action="store_true", help="records on standard output instead of tables")
    chosen = parser.parse_args(arguments)
    size: Size = "smoke" if chosen.smoke else "quick" if chosen.quick else "full"
    options = default_options(size)
    console = Console(stderr=chosen.json, width=None if sys.stdout.isatty() else 140)
    host = fingerprint()
    console.print(f"{host['processor']}, {host['cpus']} processors, Linux {host['kernel']}, {host['compiler']}")
    console.print(f"measuring on processor {options.engine_cpu}, driving from {options.driver_cpu}\n")
    failed = 0
    for name in chosen.only or BENCHES:
        try:
            finding = run_bench(name, options)
        except BenchError as error:
            console.print(f"[red]failed[/] {name}: {escape(str(error))}\n")
            failed += 1
            continue
        if chosen.json:
            for record in finding.records:
                print(msgspec.json.encode({"bench": name, **record, "host": host}).decode(), flush=True)
        else:
            show(finding, console)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
