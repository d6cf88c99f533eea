"""How cost grows, as curves, and where they bend: instruments, depth, rate, strategies, seats, readers, shards.

  python -m bench.scale               every curve (under five minutes); --quick: about one, rougher
  python -m bench.scale --only rate   one curve, more than once for several
  python -m bench.scale --json        a line for each line of a plot, with every repeat

Plots and figures go to out/bench/scale/: index.html, a PNG a curve, and NAME.jsonl with every run of this host.
Measure on a quiet machine; the spin control stands below each curve.
Exit code: 0 done, 1 a curve could not be measured or a result was wrong, 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import msgspec
from rich.console import Console
from rich.markup import escape

from bench.harness import BenchError, Finding, Options, Size, default_options, fingerprint, write_records
from bench.run import show
from bench.scale import depth, instruments, page, rate, readers, shards, strategies
from bench.scale.curve import Curve
from hotpath.errors import HotpathError

CURVES: dict[str, Callable[[Options], Curve]] = {
    "instruments": instruments.run,
    "depth": depth.run,
    "rate": rate.run,
    "strategies": strategies.run,
    "seats": strategies.run_seats,
    "readers": readers.run,
    "shards": shards.run,
}


def finding_of(curve: Curve) -> Finding:
    """The curve as benches report."""
    return Finding(f"scale/{curve.name}", curve.records(), [page.table_of(curve)])


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer points and repeats")
    parser.add_argument("--smoke", action="store_true", help="hardly anything: does each curve run at all?")
    parser.add_argument("--only", action="append", choices=CURVES, metavar="NAME", help=f"one of: {', '.join(CURVES)}")
    parser.add_argument("--json", action="store_true", help="records on standard output instead of tables")
    chosen = parser.parse_args(arguments)
    size: Size = "smoke" if chosen.smoke else "quick" if chosen.quick else "full"
    options = default_options(size)
    console = Console(stderr=chosen.json, width=None if sys.stdout.isatty() else 140)
    page.FOLDER.mkdir(parents=True, exist_ok=True)
    curves: list[Curve] = []
    failed = 0
    for name in chosen.only or CURVES:
        try:
            curve = CURVES[name](options)
        except (BenchError, HotpathError) as error:
            console.print(f"[red]failed[/] {name}: {escape(str(error))}\n")
            failed += 1
            continue
        curves.append(curve)
        finding = finding_of(curve)
        write_records(finding, options)
        if chosen.json:
            for record in finding.records:
                print(msgspec.json.encode({"bench": name, **record, "host": fingerprint()}).decode(), flush=True)
        else:
            show(finding, console)
    written = page.write(curves, size=size)
    console.print(f"[dim]{', '.join(str(path) for path in written)}[/]", highlight=False)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
