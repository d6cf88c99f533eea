"""What does the engine take from the machine, before and after: allocations, system calls, memory, time to start?

    100,000 path events   allocations, mappings, system calls     exact: one more than before fails
    the engine at rest    shared memory, resident memory          over 1% more fails
    real processes        start to armed, gateway killed to       reported; fails only when the interval of
                          the next order                          the ratio of medians lies beyond 1.10

Counted inside each tree (inside.py, inside_run.py), base and head in turns. A commit may accept what has grown, by
the same trailer as for instructions (accept.py).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Options, Table, flow_file
from bench.latency.accept import TRAILER, accepted
from bench.latency.kernels import BUILT, shared_library
from bench.latency.trees import Tree
from bench.latency.verdict import Part, Verdict, worst

EVENTS = 100_000
FEED = {"messages": 300_000, "instruments": 64, "live_orders": 5000}
MEMORY_MARGIN = 1.01
TIME_MARGIN = 1.10
PAIRS_MIN = 5  # below this, times are told and judge nothing
RESAMPLES = 2000
EXACT = {
    "allocations": "allocated",
    "mappings": "mapped",
    "system_calls": "system_calls",
}
MEMORY = {"shared_memory": "shared_bytes", "resident_memory": "resident_bytes"}
PHASES = {
    "start": ("memory", "ready", "armed"),
    "restart": ("noticed", "ready", "session", "order"),
}
SAID = {
    "start": "start: the command to armed",
    "restart": "restart: gateway killed to the next order",
}


@dataclass(frozen=True)
class Times:
    """Seconds of each repeat, by phase."""

    phases: list[dict[str, float]]

    def of(self, phase: str) -> list[float]:
        """One phase, in the order of the repeats."""
        return [each[phase] for each in self.phases]

    def median(self, phase: str) -> float:
        """The middle one."""
        return statistics.median(self.of(phase))


def compare(base: Tree, head: Tree, options: Options) -> Part:
    """Count and measure both, compare, judge. Raises BenchError when a tree cannot be run."""
    events = options.pick(smoke=5000, quick=EVENTS, full=EVENTS)
    reasons = accepted(base.commit, head.commit)
    part = judge_counts(count(base, events), count(head, events), reasons)
    for what in PHASES:
        before, after = measure(base, head, what, repeats=options.pick(smoke=1, quick=2, full=6))
        judge_times(part, what, before, after, reasons)
    return part


# ---- allocations, system calls, memory -----------------------------------------------------------------


def count(tree: Tree, events: int) -> dict[str, Any]:
    """What inside.py counted of a tree. Raises BenchError."""
    feed = flow_file(**FEED)
    command = tree.python(
        ["-m", "bench.latency.inside", "calls", feed, events], env={"LD_PRELOAD": str(counting_library())}
    )
    found: dict[str, Any] = json.loads(command.run(timeout=300))
    return found


def counting_library(folder: Path = BUILT) -> Path:
    """bench/programs/confine.c, compiled to be preloaded."""
    return shared_library("confine", folder, "-fno-builtin", "-ldl")


def judge_counts(before: dict[str, Any], after: dict[str, Any], reasons: dict[str, str]) -> Part:
    """The table of what is counted, and its verdict."""
    title = f"What {after['events']:,} events take, and the engine's memory"
    table = Table(title, ["", "base", "head", "head less base", ""])
    part = Part("resources", Verdict.PASS, tables=[table])
    verdicts = []
    for name, key in {**EXACT, **MEMORY}.items():
        old, new = int(before[key]), int(after[key])
        grew = new > old if name in EXACT else new > old * MEMORY_MARGIN
        reason = reasons.get(name, "")
        said = "pass" if not grew else f"accepted: {reason}" if reason else "fail"
        verdicts.append(Verdict.FAIL if said == "fail" else Verdict.PASS)
        shown = [f"{each:,}" if name in EXACT else f"{each / 2**20:.2f} MiB" for each in (old, new)]
        more = f"{new - old:+,}" if name in EXACT else f"{new / old - 1:+.2%}" if old else "-"
        table.rows.append([name.replace("_", " "), *shown, more, said])
        part.records.append({"test": name, "base": old, "head": new, "verdict": said})
        if said == "fail":
            part.caught.append(f"{name}: {shown[0]} -> {shown[1]} in {after['events']:,} events")
    made = {int(number): times for number, times in after["calls"].items()}
    if made:
        listed = ", ".join(f"number {number}: {times:,}" for number, times in sorted(made.items()))
        table.notes.append(f"system calls of head by their numbers: {listed}")
    part.verdict = worst(verdicts)
    if part.verdict is Verdict.FAIL:
        table.notes.append(f"meant to be so? Say it in the commit: {TRAILER}: NAME: reason")
    return part


# ---- times -----------------------------------------------------------------------------------------------


def measure(base: Tree, head: Tree, what: str, *, repeats: int) -> tuple[Times, Times]:
    """Both trees in turns, A B, B A, ..."""
    found: dict[str, list[dict[str, float]]] = {"base": [], "head": []}
    for index in range(repeats):
        pair = [("base", base), ("head", head)]
        for side, tree in pair if index % 2 == 0 else reversed(pair):
            command = tree.python(["-m", "bench.latency.inside_run", what, *words_of(what)])
            found[side].append(json.loads(command.run(timeout=120)))
    return Times(found["base"]), Times(found["head"])


def words_of(what: str) -> list[Path]:
    """What else inside_run must be told."""
    return [flow_file(**FEED)] if what == "start" else []


def judge_times(part: Part, what: str, before: Times, after: Times, reasons: dict[str, str]) -> None:
    """Add one table to the part: phases by their medians, judged by the last of them."""
    table = Table(
        f"{SAID[what]}, seconds, median of {len(after.phases)}", ["until", "base", "head", "ratio", "95%", ""]
    )
    part.tables.append(table)
    last = PHASES[what][-1]
    for phase in PHASES[what]:
        ratio, lower, upper = ratio_of_medians(before.of(phase), after.of(phase))
        judged = phase == last and len(after.phases) >= PAIRS_MIN
        grew = judged and lower > TIME_MARGIN
        reason = reasons.get(what, "")
        said = ("reported" if not grew else f"accepted: {reason}" if reason else "fail") if phase == last else ""
        table.rows.append(
            [phase, f"{before.median(phase):.3f}", f"{after.median(phase):.3f}", f"{ratio:.2f}",
             f"{lower:.2f} to {upper:.2f}", said]
        )  # fmt: skip
        part.records.append(
            {"test": f"{what}_{phase}", "base": before.median(phase), "head": after.median(phase), "ratio": ratio,
             "lower": lower, "upper": upper, "pairs": len(after.phases), "verdict": said}
        )  # fmt: skip
        if said == "fail":
            part.verdict = Verdict.FAIL
            part.caught.append(f"{what}: {ratio:.2f} times as long, at least {lower:.2f}")
    table.notes.append(
        f"fails only where the interval's lower end is over {TIME_MARGIN:g}, of {PAIRS_MIN} pairs or more"
    )


def ratio_of_medians(before: Sequence[float], after: Sequence[float], *, seed: int = 1) -> tuple[float, float, float]:
    """The median over pairs of after/before, and its 95% interval by bootstrap."""
    ratios = np.array(after, np.float64) / np.array(before, np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    medians = np.median(ratios[drawn], axis=1)
    return float(np.median(ratios)), float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))
