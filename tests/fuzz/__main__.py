"""``python -m tests.fuzz``: mutated packets through everything that reads bytes from outside; ``make fuzz``.

python -m tests.fuzz                              every target, ten million mutated packets each
python -m tests.fuzz --only soup --seed 7         one target, another seed
python -m tests.fuzz --only soup --plant overread must fail: a canary among the packets
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tests.fuzz.harness import SEED_END, Row, build_programs, print_rows, run_target
from tests.fuzz.targets import ROWS

PACKETS = 10_000_000


def main(arguments: list[str]) -> int:
    """Exit code: 0 when nothing was found and every canary was caught."""
    options = parse_options(arguments)
    started, console = time.monotonic(), Console(width=None if sys.stdout.isatty() else 160)
    targets = [ROWS[name] for name in options.only or ROWS]
    if options.plant != "none" and any(options.plant not in target.canaries for target in targets):
        print(f"no such canary in {', '.join(target.name for target in targets)}: {options.plant}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="hotpath-fuzz-") as name:
        folder = Path(name)
        build_programs(folder, targets)
        for target in targets:
            rows.append(
                run_target(
                    folder,
                    target,
                    seed=options.seed,
                    packets=options.packets,
                    plant=options.plant,
                    progress=lambda row: print_progress(row, options.packets),
                )
            )
            print_faults(rows[-1])
    print_rows(rows, console)
    packets, failed = sum(row.packets for row in rows), [row.target for row in rows if not row.passed]
    said = f"failed: {', '.join(failed)}" if failed else "nothing found, every canary caught"
    print(f"{packets:,} mutated packets in {time.monotonic() - started:.1f} s: {said}")
    return 1 if failed else 0


def parse_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=ROWS, metavar="TARGET", help=f"one of: {', '.join(ROWS)}")
    parser.add_argument("--seed", type=int, default=1, help="of the first half million packets (default 1)")
    parser.add_argument(
        "--packets", type=int, default=PACKETS, metavar="N", help=f"mutated ones of each target (default {PACKETS:,})"
    )
    parser.add_argument("--plant", default="none", metavar="CANARY", help="a fault among the packets: must fail")
    options = parser.parse_args(arguments)
    if options.packets < 1 or not 0 <= options.seed < SEED_END:
        parser.error("--packets is at least 1, and --seed a number of 64 bits")
    return options


def print_progress(row: Row, packets: int) -> None:
    """On standard error, over itself where that is a terminal."""
    end = "\r" if sys.stderr.isatty() and row.packets < packets and not row.findings else "\n"
    if end == "\r" or row.packets >= packets or row.findings:
        print(f"{row.target:<8} {row.packets:>12,} of {packets:,} in {row.seconds:.1f} s", end=end, file=sys.stderr)


def print_faults(row: Row) -> None:
    for canary in row.missed:
        print(f"{row.target}: MISSED the canary {canary}", file=sys.stderr)
    for finding in row.findings:
        print(f"{row.target}: FOUND\n{finding.report}\nshow it again: {finding.replay()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
