"""Plant every bug, and say which of them the tests catch: ``python -m tests.mutants [--only TEXT]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.judge import judge
from tests.mutants.plant import mutants


def main() -> int:
    """The list, and the rate. 1 when one got away."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name has this in it")
    parser.add_argument("--every", type=int, default=1, help="one in so many")
    options = parser.parse_args()
    chosen = [mutant for mutant in mutants() if options.only in mutant.name][:: options.every]
    caught, begun = 0, time.monotonic()
    for mutant in chosen:
        with tempfile.TemporaryDirectory(prefix="hotpath-mutant-") as folder:
            by = judge(mutant, Path(folder))
        caught += by is not None
        print(f"{'caught ' if by else 'MISSED '} {mutant.name:74} {by or ''}", flush=True)
    rate = 100 * caught / max(1, len(chosen))
    print(f"\n{caught} of {len(chosen)} mutants caught ({rate:.1f}%) in {time.monotonic() - begun:.0f} s")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
