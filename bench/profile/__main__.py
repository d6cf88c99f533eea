"""Where do the nanoseconds of one event go? ``python -m bench.profile``, or ``make profile``.

Plays the fused path under callgrind with this processor's caches and a branch predictor modelled, and shows for one
event, by stage and by function: instructions, branches, mispredictions, cache misses, what they cost by a model whose
prices are measured here, and which of them bounds each function. Inlined code counts with the function that holds it,
and with --source where it is written. Counts are the difference of two run lengths. Nothing is compared: that is
`make latency`.

  python -m bench.profile               tables, and out/bench/profile/flame.html; measures time when it is quiet
  python -m bench.profile --no-timing   counts alone: as good on a busy machine
  python -m bench.profile --top 60      more functions; --source: also as written, wherever they were inlined
  python -m bench.profile --json        one line: stages, functions, prices

Needs valgrind. Exit code: 0 done, 2 it could not be run.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

from bench.harness import OUT, BenchError, Finding, Options, default_options, fingerprint, write_records
from bench.profile.flame import flame_page
from bench.profile.model import IPC, measured_prices, processor_caches, total_ns
from bench.profile.record import record
from bench.profile.table import function_table, kernel_rows, source_rows, stage_rows, stage_table
from bench.profile.timing import is_quiet, timed
from bench.run import show

FLAME = OUT / "profile" / "flame.html"


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    chosen = parser().parse_args(arguments)
    options = default_options("smoke" if chosen.smoke else "quick" if chosen.quick else "full")
    console = Console(stderr=chosen.json, width=None if sys.stdout.isatty() else 170, highlight=False)
    host = fingerprint()
    console.print(f"{host['processor']}, {host['cpus']} processors, Linux {host['kernel']}, {host['compiler']}\n")
    try:
        finding = profile(options, chosen)
    except BenchError as error:
        console.print(f"[red]the path could not be profiled[/]: {escape(str(error))}")
        return 2
    write_records(finding, options)
    show(finding, console)
    console.print(f"[dim]flame graph: {escape(str(FLAME))}[/]")
    for each in finding.records if chosen.json else ():
        print(msgspec.json.encode({**each, "host": host}).decode(), flush=True)
    return 0


def profile(options: Options, chosen: argparse.Namespace) -> Finding:
    """Counts, prices, clock; tables and page. Raises BenchError."""
    caches = processor_caches()
    recording = record(options, caches)
    prices = measured_prices(caches, cpu=options.engine_cpu, ipc=chosen.ipc)
    stages = stage_rows(recording.samples)
    kernels, sources = kernel_rows(recording.samples, prices), source_rows(recording.samples, prices)
    whole_ns = sum(total_ns(row.costs, prices) for row in stages)
    times, why_not = {}, "--no-timing" if chosen.no_timing else ""
    if not why_not and not chosen.timing:
        why_not = is_quiet(options)
    if not why_not:
        times = timed(options)
    notes = [
        recording.said,
        f"modelled: {', '.join(cache.said for cache in caches)}; {recording.blind_spots}",
        f"prices: {prices.said}",
        "the model adds all terms up, and many overlap: an upper bound. Stores wait in their buffer: not priced",
    ]
    if times:
        ratio = times["event"] / whole_ns
        notes.append(
            f"measured: {times['event']:,.0f} ns an event flat out (p50 of batches), {ratio:.2f} of the model; hops "
            "are p50s of events that made an order, from the one before, at 400,000 a second: other events make none"
        )
    else:
        notes.append(f"skipped: measured times: {why_not}")
    by_stage = stage_table(stages, prices, times)
    tables = [by_stage, function_table("By function, with what was inlined into it", kernels, prices, chosen.top)]
    if chosen.source:
        tables.append(function_table("By function as written, wherever inlined", sources, prices, chosen.top))
    tables[-1].notes = notes
    FLAME.parent.mkdir(parents=True, exist_ok=True)
    FLAME.write_text(flame_page(recording.samples, prices, notes))
    found: dict[str, Any] = {
        "events": recording.events,
        "orders": recording.orders,
        "spread": recording.spread,
        "prices": msgspec.structs.asdict(prices),
        "caches": [cache.option for cache in caches],
        "model_ns": whole_ns,
        "measured_ns": times,
        "stages": [row.record(prices) for row in stages],
        "functions": [row.record(prices) for row in kernels],
        "source_functions": [row.record(prices) for row in sources],
    }
    (FLAME.parent / "profile.json").write_text(json.dumps(found, indent=1) + "\n")
    return Finding("profile", [found], tables)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench.profile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    timing = made.add_mutually_exclusive_group()
    timing.add_argument("--no-timing", action="store_true", help="do not measure time, only count")
    timing.add_argument("--timing", action="store_true", help="measure time however busy the machine is")
    made.add_argument("--top", type=int, default=25, metavar="N", help="functions to show (default: %(default)s)")
    made.add_argument(
        "--ipc", type=float, default=IPC, help="instructions a cycle that the model assumes (%(default)s)"
    )
    made.add_argument("--source", action="store_true", help="also by function as written, wherever it was inlined")
    made.add_argument("--quick", action="store_true", help="fewer events: rarer paths are seen less well")
    made.add_argument("--smoke", action="store_true", help="hardly any events: does it run at all?")
    made.add_argument("--json", action="store_true", help="the record on standard output; tables on standard error")
    return made


if __name__ == "__main__":
    sys.exit(main())
