"""``make drill``: 200 kills under load and trouble, then 2,000 that are timed, then those that are typed."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.drill.runs import PLANTS, run_once
from tests.drill.timed import report_timed, report_typed


def main() -> int:
    """The exit code: 0 when nothing late was seen, every canary was caught, and nothing else went wrong."""
    options = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    options.add_argument("--runs", type=int, default=200)
    options.add_argument("--seed", type=int, default=0, help="of the first run; each run has the next one")
    options.add_argument("--only", choices=["runs", "canaries", "timed", "typed"], default=None)
    options.add_argument("--kills", type=int, default=2000, help="that are timed")
    options.add_argument("--keep", action="store_true", help="the folder of each run that went wrong")
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hotpath-drill-", dir="/dev/shm"))
    wrong = 0
    try:
        if chosen.only in (None, "runs"):
            wrong += campaign(folder, first=chosen.seed, count=chosen.runs, keep=chosen.keep)
        if chosen.only in (None, "canaries"):
            wrong += canaries(folder)
        if chosen.only in (None, "timed"):
            wrong += report_timed(kills=chosen.kills)
        if chosen.only in (None, "typed"):
            report_typed()
    finally:
        if not (chosen.keep and wrong):
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


def campaign(folder: Path, *, first: int, count: int, keep: bool) -> int:
    """The runs of so many seeds; how many went wrong."""
    started, wrong, by, spans = time.monotonic(), 0, {"gateway": 0, "reset": 0, "": 0}, []
    for seed in range(first, first + count):
        own = folder / str(seed)
        run = run_once(seed, own)
        wrong += bool(run.wrong)
        by[run.by] += 1
        spans.append(run.effective_ms)
        print(f"{'WRONG ' if run.wrong else ''}{run.line()}", flush=True)
        if not (keep and run.wrong):
            shutil.rmtree(own, ignore_errors=True)
    spans.sort()
    print(
        f"{count} runs, {wrong} went wrong; effective by the gateway in {by['gateway']}, by a reset in {by['reset']}; "
        f"p50 {spans[len(spans) // 2]:.1f} ms, max {spans[-1]:.1f} ms; {time.monotonic() - started:.0f} s"
    )
    return wrong


def canaries(folder: Path) -> int:
    """Bugs planted on purpose; how many were not seen."""
    missed = 0
    for number, (plant, said) in enumerate(PLANTS.items()):
        run = run_once(number, folder / f"plant-{number}", plant=plant)
        caught = any(said in each for each in run.wrong)
        missed += not caught
        print(f"canary, {plant}: {'caught' if caught else 'NOT CAUGHT'} ({'; '.join(run.wrong)[:120]})", flush=True)
    return missed


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    sys.exit(main())
