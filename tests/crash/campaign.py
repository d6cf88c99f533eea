"""``make crash``: everything that can end a process, cut a line or tear a file, and an oracle that misses nothing.

    make crash                              the whole campaign: 2,000 SIGKILLs at the least, then its canaries
    make crash SEED=7 KILLS=5000            other random numbers, more deaths of whole engines
    make crash CRASH_ARGS='--only torn'     one phase
    make crash CRASH_ARGS='--quick'         a sample of each
    make crash CRASH_ARGS='--plant NAME'    must fail: with a bug planted into a copy of the tree

Each phase stands in a module of its own beside this one and says there what it does and what must hold afterwards. All
is drawn from the seed: what failed is run again with the line that is printed. Exit code 0 when everything held.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.engine_kills import engine_kills
from tests.crash.gateway_calls import gateway_calls
from tests.crash.journal_calls import journal_calls, refused_calls
from tests.crash.plants import NAMES as PLANT_NAMES
from tests.crash.plants import PLANTS, campaign_in, canaries, planted_tree
from tests.crash.power import power
from tests.crash.stale import stale
from tests.crash.steps import steps
from tests.crash.tally import Tally, Work
from tests.crash.torn import torn
from tests.crash.venue_cuts import venue_cuts

KILLS = 2000
ENGINE_KILLS_MIN = 60
QUICK_ENGINE_KILLS = 6
SHOWN = 12  # lines of what did not hold, of each phase
ENGINES = "engines"
MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Phase:
    """One kind of harm."""

    name: str
    what: str
    run: Callable[[Work], Tally]
    in_memory: bool = False  # its files: what counts is what was asked of the disk, not the disk


PHASES = (
    Phase("steps", "ring, intents and journal, killed after each instruction", steps),
    Phase(
        "torn",
        "every bit of a small journal and intent file flipped, a journal torn at each byte",
        torn,
        in_memory=True,
    ),
    Phase(
        "power", "the power lost: every prefix and sampled subsets of what was not yet synced", power, in_memory=True
    ),
    Phase("disk", "a journal whose disk is full or fails, at each call that touches it", refused_calls, in_memory=True),
    Phase("gateway-calls", "a gateway killed at each of its system calls", gateway_calls),
    Phase("journal-calls", "a journal killed at each of its system calls", journal_calls, in_memory=True),
    Phase("cuts", "the venue's line cut after each byte, sent and answered", venue_cuts),
    Phase("stale", "whole engines killed with their supervisor, and started over what they left in memory", stale),
    Phase(ENGINES, "random processes of whole engines killed and stopped at random instants", engine_kills),
)
NAMES = tuple(phase.name for phase in PHASES)
CANARIES = Phase("canaries", "bugs planted into a copy of the tree, each of which must be found", canaries)


@dataclass
class Row:
    """A line of the table."""

    phase: Phase
    tally: Tally
    seconds: float


def run_phase(phase: Phase, work: Work) -> Row:
    """A phase in a folder of its own. What it raises is a failure."""
    began = time.monotonic()
    try:
        tally = phase.run(work)
    except Exception as error:
        traceback.print_exc()
        tally = Tally(wrong=[f"{type(error).__name__}: {error}"])
    return Row(phase, tally, time.monotonic() - began)


def run_campaign(
    seed: int,
    *,
    kills: int = KILLS,
    only: Sequence[str] = (),
    quick: bool = False,
    keep: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """The phases in their order: engines make up what is missing of the deaths; canaries after a whole campaign."""
    rows: list[Row] = []
    began = time.monotonic()
    for phase in (*PHASES, CANARIES):
        if phase.name not in only if only else quick and phase is CANARIES:
            continue
        say(f"--- {phase.name}: {phase.what}")
        with tempfile.TemporaryDirectory(prefix="hotpath-crash-", dir=MEMORY if phase.in_memory else None) as scratch:

            def tell(text: str, name: str = phase.name) -> None:
                say(f"{time.monotonic() - began:7.1f} s  {name}: {text}")

            wanted = _engine_kills(rows, kills, only=only, quick=quick)
            row = run_phase(phase, Work(seed, Path(scratch), tell, quick, wanted, keep))
        for each in row.tally.wrong[:SHOWN]:
            say(f"    FAILED  {each}")
        rows.append(row)
    return rows


def _engine_kills(rows: list[Row], kills: int, *, only: Sequence[str], quick: bool) -> int:
    if ENGINES in only:
        return kills
    if quick:
        return QUICK_ENGINE_KILLS
    return max(ENGINE_KILLS_MIN, kills - sum(row.tally.counts["SIGKILL"] for row in rows))


def replay_line(row: Row, *, seed: int) -> str:
    """What runs a failure again."""
    arguments = row.tally.replay or f"SEED={seed}"
    return f"make crash {arguments} CRASH_ARGS='--only {row.phase.name}'"


def print_table(rows: list[Row], *, seed: int, say: Callable[[str], None]) -> None:
    """Counts by phase, for people."""
    say("")
    for row in rows:
        counts = ", ".join(f"{count:,} {what}" for what, count in row.tally.counts.items() if count)
        say(f"{'FAILED' if row.tally.wrong else 'ok':6}  {row.phase.name:14} {row.seconds:6.0f} s  {counts}")
        for note in row.tally.notes:
            say(f"{'':32}  {note}")
        if row.tally.wrong:
            say(f"{'':32}  {len(row.tally.wrong)} things did not hold; again with: {replay_line(row, seed=seed)}")
    if rows and rows[-1].phase is CANARIES:
        say(f"planted bugs found: {rows[-1].tally.counts['plants found']} of {len(PLANTS)}")
    total = sum((row.tally.counts for row in rows), start=Tally().counts)
    say(f"\n{total['SIGKILL']:,} SIGKILLs in {sum(row.seconds for row in rows):.0f} s, seed {seed}")
    if not any(row.tally.wrong for row in rows):
        say("0 orders sent twice, 0 fills lost, positions equal on all sides, nothing acknowledged is missing")


def run_planted(name: str, *, seed: int, say: Callable[[str], None]) -> int:
    """The phase that must find it, over a tree with the bug; its exit code."""
    (plant,) = (each for each in PLANTS if each.name == name)
    say(f"building a tree in which {plant.what}")
    with planted_tree() as tree:
        done = campaign_in(tree, plant.phase, plant=name, seed=seed)
    say(done.stdout + done.stderr)
    return done.returncode


def main(arguments: list[str] | None = None) -> int:
    """Entry point: 0 when everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=KILLS, help=f"SIGKILLs in all, at the least (default {KILLS})")
    parser.add_argument(
        "--only",
        action="append",
        choices=(*NAMES, CANARIES.name),
        metavar="PHASE",
        help=f"of: {', '.join(NAMES)}, canaries",
    )
    parser.add_argument("--plant", choices=PLANT_NAMES, help="a planted bug: the exit code must not be 0")
    parser.add_argument("--quick", action="store_true", help="a sample of each phase")
    parser.add_argument("--keep", type=Path, help="copy the folders of failed runs of engines into this one")
    chosen = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(text, flush=True)

    if chosen.plant:
        return run_planted(chosen.plant, seed=chosen.seed, say=say)
    rows = run_campaign(
        chosen.seed, kills=chosen.kills, only=chosen.only or (), quick=chosen.quick, keep=chosen.keep, say=say
    )
    print_table(rows, seed=chosen.seed, say=say)
    return 1 if any(row.tally.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
