"""Was the path or the ring slower? Base, head and base again, in turns, in one job.

    unit     fresh processes of all three; many rounds, each the other way round than the one before
             base head control | control head base | ...        the order goes round from unit to unit
    tests    head / base       p50 within 1.02, p99 within 1.10 (p99.9 is shown, not judged), of batches of 1,000
    check    control / base    must be shown equal within the same margins, or the test says nothing

`path` is one process at a time on one processor, one event a loop. `ring` is round trips between two processors:
what one core does to the lines of another shows nowhere else. A subject with an inconclusive test is measured on,
once, until it has twice the units.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.harness import Options, Table, flow_file, json_lines, ns_text, run_program, spin_note
from bench.latency import runner
from bench.latency.programs import ring_driver, ring_side
from bench.latency.remote import PathRunner
from bench.latency.stats import Interval, effects_of, interval_of
from bench.latency.trees import Tree
from bench.latency.verdict import Part, Verdict, worst
from hotpath.host import spin_control

ROLES = ("base", "head", "control")
ORDERS = list(permutations(ROLES))
MARGIN_P50 = 1.02
MARGIN_P99 = 1.10
TRIPS = 1000  # of a batch of the ring
LIVE_ORDERS = 5000
INSTRUMENTS = 64
SPIN_NS = 200_000_000
ROUNDS = 12  # of a unit of the path: a slice that a neighbour spoilt is one in twelve
Unit = dict[str, dict[str, list[float]]]  # by role, by figure: ns, one a round or one a unit


@dataclass(frozen=True)
class Question:
    """One test: the figure's name, and how much slower is too much (0: shown, not judged)."""

    subject: str
    figure: str
    label: str
    margin: float

    @property
    def name(self) -> str:
        """As it stands in verdicts and records."""
        return f"{self.subject} {self.label}"


class Subject(Protocol):
    """Something timed in base, head and control."""

    name: str
    tests: tuple[Question, ...]
    shown: tuple[Question, ...]

    def unit(self, order: tuple[str, ...]) -> Unit:
        """Fresh processes; rounds in the order given and the same backwards, by turns."""


@dataclass
class PathSubject:
    """A fused engine, one event a loop: three runners, of which one runs while the others wait."""

    trees: dict[str, Tree]
    feed: Path
    cpu: int
    rounds: int
    batches: int  # of a slice
    name: str = "path"
    tests: tuple[Question, ...] = (
        Question("path", "p50", "p50", MARGIN_P50),
        Question("path", "p99", "p99", MARGIN_P99),
    )
    shown: tuple[Question, ...] = (Question("path", "p999", "p99.9", 0.0),)

    def unit(self, order: tuple[str, ...]) -> Unit:
        """Three runners, from start to end."""
        runners: dict[str, PathRunner] = {}
        slices: dict[str, list[dict[str, Any]]] = {role: [] for role in ROLES}
        try:
            for role in order:
                runners[role] = PathRunner(self.trees[role], self.feed, cpu=self.cpu)
            for index in range(self.rounds):
                for role in order if index % 2 == 0 else reversed(order):
                    slices[role].append(runners[role].slice(batches=self.batches))
        finally:
            for runner in runners.values():
                runner.close()
        return {
            role: {
                "p50": [each["p50_ns"] for each in found],
                **tails([ns for each in found for ns in each["ns"]]),
                "orders": [each["orders"] for each in found],
            }
            for role, found in slices.items()
        }


@dataclass
class RingSubject:
    """The ring of each tree between two processors, batch by batch in one program."""

    sides: dict[str, Path]
    cpus: tuple[int, int]
    rounds: int
    name: str = "ring"
    tests: tuple[Question, ...] = (
        Question("ring", "p50", "p50", MARGIN_P50),
        Question("ring", "p99", "p99", MARGIN_P99),
    )
    shown: tuple[Question, ...] = (
        Question("ring", "64_p50", "p50, 64 B", 0.0),
        Question("ring", "128_p50", "p50, 128 B", 0.0),
        Question("ring", "p999", "p99.9", 0.0),
    )

    def unit(self, order: tuple[str, ...]) -> Unit:
        """One run of ring_turns."""
        arguments = (*self.cpus, self.rounds, TRIPS, *(self.sides[role] for role in order))
        batches: dict[str, dict[int, list[float]]] = {role: {} for role in ROLES}
        for record in json_lines(run_program(ring_driver(), *arguments)):
            batches[order[record["side"]]][record["slot_size"]] = record["ns"]
        return {role: both_sizes(found[64], found[128]) for role, found in batches.items()}


def both_sizes(small_ns: list[float], large_ns: list[float]) -> dict[str, list[float]]:
    """The geometric mean of two slot sizes' figures: a round's effect is then the mean of theirs."""
    pairs = {"p50": (small_ns, large_ns)}
    tail = tails(small_ns), tails(large_ns)
    pairs |= {name: (tail[0][name], tail[1][name]) for name in tail[0]}
    means = {name: np.sqrt(np.multiply(*pair)).tolist() for name, pair in pairs.items()}
    return {**means, "64_p50": small_ns, "128_p50": large_ns}


def tails(batches_ns: list[float]) -> dict[str, list[float]]:
    """What only all batches of a unit together can tell."""
    p99, p999 = np.percentile(batches_ns, (99, 99.9))
    return {"p99": [float(p99)], "p999": [float(p999)]}


@dataclass
class Outcome:
    """What the units of a subject said of one test."""

    test: Question
    head: Interval
    control: Interval
    base_ns: float
    head_ns: float

    @property
    def verdict(self) -> Verdict:
        """Inconclusive wherever base and base again were not shown equal."""
        if not self.control.equivalent(self.test.margin):
            return Verdict.INCONCLUSIVE
        return self.head.verdict(self.test.margin)

    @property
    def sentence(self) -> str:
        """Why, for the summary."""
        margin = f"{self.test.margin - 1:.0%}"
        shift = f"{change(self.head.ratio)} ({change(self.head.lower_pass)} to {change(self.head.upper_pass)})"
        if self.verdict == Verdict.FAIL:
            return f"{self.test.name}: {shift}: slower by more than {margin}"
        if not self.control.equivalent(self.test.margin):
            span = f"{change(self.control.lower_pass)} to {change(self.control.upper_pass)}"
            return f"{self.test.name}: base against itself was {span}, not within {margin}; head {shift}"
        return f"{self.test.name}: {shift}: neither shown to be within {margin} nor beyond it"

    def record(self) -> dict[str, Any]:
        """For machines."""
        return {
            "test": self.test.name, "margin": self.test.margin, "verdict": self.verdict.word, "units": self.head.units,
            "base_ns": self.base_ns, "head_ns": self.head_ns, **self.head.record(), **self.control.record("control_"),
            "detectable": self.head.detectable(self.test.margin),
        }  # fmt: skip


@dataclass
class Series:
    """A subject and its units so far."""

    subject: Subject
    units: list[Unit] = field(default_factory=list)

    def measure(self, count: int) -> None:
        """So many more units."""
        for _ in range(count):
            self.units.append(self.subject.unit(ORDERS[len(self.units) % len(ORDERS)]))

    def figures(self, role: str, figure: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """ns, of shape (units, rounds)."""
        return np.array([unit[role][figure] for unit in self.units], np.float64)

    def other_work(self) -> list[str]:
        """A note where head sent other orders than base on the same events: its time is then of other work."""
        if "orders" not in self.units[0]["base"]:
            return []
        base, head = (int(self.figures(role, "orders").sum()) for role in ("base", "head"))
        return [] if base == head else [f"{self.subject.name}: head sent {head:,} orders where base sent {base:,}"]

    def outcome(self, test: Question, *, tests: int) -> Outcome:
        """One test over all units."""
        base, head, control = (self.figures(role, test.figure) for role in ROLES)
        return Outcome(
            test=test,
            head=interval_of(effects_of(base, head), tests=tests),
            control=interval_of(effects_of(base, control), tests=tests),
            base_ns=float(np.median(base)),
            head_ns=float(np.median(head)),
        )


def compare(base: Tree, head: Tree, options: Options, say: Callable[[str], None] = lambda _: None) -> Part:
    """Both subjects, timed and judged."""
    began = time.monotonic()
    trees = {"base": base, "head": head, "control": base.relabelled("control")}
    units = options.pick(smoke=1, quick=16, full=20)
    series = [Series(subject) for subject in subjects(trees, options)]
    tests = sum(len(each.subject.tests) for each in series)
    extended: list[str] = []
    for each in series:
        say(f"timing {each.subject.name}: {units} units")
        each.measure(units)
        if options.size == "smoke" or conclusive(each, tests):
            continue
        for question in each.subject.tests:
            say(f"  {each.outcome(question, tests=tests).sentence}")
        say(f"timing {each.subject.name}: inconclusive, {units} units more")
        each.measure(units)
        extended.append(each.subject.name)
    outcomes = [each.outcome(test, tests=tests) for each in series for test in each.subject.tests]
    part = Part("timing", worst(outcome.verdict for outcome in outcomes))
    part.tables = [table_of(series, outcomes, tests, extended, options)]
    part.records = [outcome.record() for outcome in outcomes]
    part.caught = [outcome.sentence for outcome in outcomes if outcome.verdict == Verdict.FAIL]
    part.doubts = [outcome.sentence for outcome in outcomes if outcome.verdict == Verdict.INCONCLUSIVE]
    if not options.two_cores:
        part.doubts.append("ring: not measured: it needs a second processor")
        part.verdict = worst((part.verdict, Verdict.INCONCLUSIVE))
    part.seconds = time.monotonic() - began
    return part


def conclusive(series: Series, tests: int) -> bool:
    """Whether more units could change nothing: all tests pass, or one fails already."""
    verdicts = {series.outcome(test, tests=tests).verdict for test in series.subject.tests}
    return Verdict.FAIL in verdicts or verdicts == {Verdict.PASS}


def subjects(trees: dict[str, Tree], options: Options) -> Iterator[Subject]:
    """What is timed here."""
    rounds, batches = (2, 4) if options.size == "smoke" else (ROUNDS, 40)
    messages = rounds * batches * 1100 + (rounds + 2) * runner.SLICE_WARM_EVENTS  # a unit's, without a new engine
    feed = flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=LIVE_ORDERS)
    yield PathSubject(trees, feed, options.engine_cpu, rounds, batches)
    if options.two_cores:
        sides = {role: ring_side(tree) for role, tree in trees.items()}
        yield RingSubject(sides, (options.engine_cpu, options.driver_cpu), options.pick(smoke=8, quick=200, full=400))


def table_of(series: list[Series], outcomes: list[Outcome], tests: int, extended: list[str], options: Options) -> Table:
    """The tests, then what is shown without being judged."""
    counted = ", ".join(f"{each.subject.name} {len(each.units)}" for each in series)
    title = f"Timing, head against base, in turns (units: {counted})"
    table = Table(title, ["test", "base", "head", "change", "from", "to", "margin", "control", "detectable", "verdict"])
    for outcome in outcomes:
        head, control, margin = outcome.head, outcome.control, outcome.test.margin
        control_span = f"{change(control.lower_pass)} to {change(control.upper_pass)}"
        table.rows.append([
            outcome.test.name, ns_text(outcome.base_ns), ns_text(outcome.head_ns), change(head.ratio),
            change(head.lower_pass), change(head.upper_pass), change(margin), control_span,
            change(head.detectable(margin)), outcome.verdict.word,
        ])  # fmt: skip
    for each in series:
        for test in each.subject.shown:
            base, head_ns = (float(np.median(each.figures(role, test.figure))) for role in ("base", "head"))
            row = [test.name, ns_text(base), ns_text(head_ns), change(head_ns / base)]
            table.rows.append([*row, *[""] * 5, "not judged"])
    level = 0.05 / 2 / tests
    table.notes.append(
        f"{tests} tests and up to two looks share a family-wise error of 5%: a fail is called at {level:.2%} a test, "
        "a pass at 2.5%, one-sided; detectable: the true change that would fail 4 times in 5"
    )
    if extended:
        table.notes.append(f"measured on once, being inconclusive: {', '.join(extended)}")
    for each in series:
        table.notes.extend(each.other_work())
    spin = spin_control(
        duration_ns=SPIN_NS if options.size != "smoke" else SPIN_NS // 20, interval_ns=10_000, cpu=options.engine_cpu
    )
    table.notes.append(spin_note(spin))
    return table


def change(ratio: float) -> str:
    """A ratio as people say it: +1.4%."""
    return f"{ratio - 1:+.1%}" if 0.01 < ratio < 100 else "unknown"
