"""``python -m tests.faults``: every fault of the simulator against real engines; ``make faults``.

python -m tests.faults                          the whole matrix, 100 injections of each
python -m tests.faults --only gap --seed 7      one fault, another seed
python -m tests.faults --plant resent           must fail: an order on the wire twice
"""

from __future__ import annotations

import argparse
import sys
import time

import msgspec
from rich.console import Console

from tests.faults.matrix import NAMES, PLANTS, QUICK, QUICK_INJECTIONS, Row, print_rows, run_matrix


def main(arguments: list[str]) -> int:
    """Exit code: 0 when every row is as expected."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=NAMES, metavar="FAULT", help=f"one of: {', '.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and of the market (default 1)")
    parser.add_argument("--injections", type=int, default=100, metavar="N", help="of each fault (default 100)")
    parser.add_argument("--quick", action="store_true", help=f"what CI runs: {QUICK_INJECTIONS} of some")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side (default 2)")
    parser.add_argument("--no-replay", action="store_true", help="do not run each recording again")
    parser.add_argument("--plant", choices=PLANTS, help="doctor the first run: the matrix must fail")
    parser.add_argument("--json", action="store_true", help="for machines: one JSON object")
    options = parser.parse_args(arguments)
    started, console = time.monotonic(), Console(width=None if sys.stdout.isatty() else 200)
    rows: list[Row] = []
    wanted = QUICK_INJECTIONS if options.quick else options.injections
    names = options.only or (QUICK if options.quick else NAMES)
    for row in run_matrix(
        names,
        seed=options.seed,
        wanted=wanted,
        jobs=options.jobs,
        replay=not options.no_replay,
        plant=options.plant or "",
    ):
        rows.append(row)
        if not options.json:
            print(f"{'ok    ' if row.passed else 'FAILED'} {row.fault}: {row.injected} injected", file=sys.stderr)
    failed = [row.fault for row in rows if not row.passed]
    short = [row.fault for row in rows if row.injected < wanted and not row.fault.startswith("canary")]
    seconds = round(time.monotonic() - started, 1)
    if options.json:
        summary = {"seed": options.seed, "seconds": seconds, "passed": not failed and not short, "rows": rows}
        print(msgspec.json.encode(summary).decode())
    else:
        print_rows(rows, console)
        said = f"failed: {', '.join(failed)}" if failed else "all as expected"
        print(f"{len(rows)} rows in {seconds:g} s: {said}")
        if short:
            print(f"fewer than {wanted} injections: {', '.join(short)}")
    return 1 if failed or short or not rows else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
