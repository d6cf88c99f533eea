"""How many messages a second do decoder and book take, one core, no ring?

bytes in memory --> itch_normalise --> book_apply_batch --> norm events         kernels/book_bench.c
"""

from __future__ import annotations

from bench.harness import GOOG_DAY, Finding, Options, Table, compile_program, json_lines, met, run_program

DERIVED_AIM = 15_000_000
SYNTHETIC_AIM = 8_000_000
KERNELS = ("book", "book_batch", "flow", "itch")


def run(options: Options) -> Finding:
    """The derived single-instrument day, and a seeded synthetic one of 8,000 instruments."""
    program = compile_program("kernels/book_bench.c", *KERNELS)
    finding = Finding("book")
    table = Table("Decoder and book, one core", ["day", "messages", "ns each", "messages a second", "aim"])
    core = ("--core", options.engine_cpu)
    if GOOG_DAY.exists():
        repeat = options.pick(smoke=1, quick=20, full=100)
        add(
            finding,
            table,
            "derived GOOG day",
            run_program(program, "itch", GOOG_DAY, "--repeat", repeat, *core),
            DERIVED_AIM,
        )
    else:
        table.notes.append(f"skipped: {GOOG_DAY.name} is not in the shared data")
    messages = options.pick(smoke=200_000, quick=10_000_000, full=50_000_000)
    live = options.pick(smoke=20_000, quick=1_000_000, full=1_000_000)
    text = run_program(program, "synthetic", "--messages", messages, "--instruments", 8000, "--live", live, *core)
    add(finding, table, f"synthetic, 8,000 instruments, {live:,} live orders", text, SYNTHETIC_AIM)
    table.notes.append("over all messages; each day's book is verified against an independent account of it")
    finding.tables.append(table)
    return finding


def add(finding: Finding, table: Table, label: str, text: str, aim: int) -> None:
    """One day's row."""
    (record,) = json_lines(text)
    rate = record["messages_per_second"]
    finding.records.append(record)
    table.rows.append(
        [
            label,
            f"{record['messages']:,}",
            f"{record['ns_per_message']:.1f}",
            f"{rate / 1e6:.1f} M",
            f"{aim / 1e6:.0f} M/s: {met(rate, aim, below=False)}",
        ]
    )
