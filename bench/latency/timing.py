"""Was the path or the ring slower? Base, head and base again, in turns on one processor, in one job.

    unit:   base head control | control head base      fresh processes; the order goes round from unit to unit
    tests:  head / base       p50 within 1.02, p99 within 1.10 (p99.9 is shown, not judged)
    check:  control / base    must be shown equal within the same margins, or the test says nothing

`path` is one process at a time, one event a loop, in batches of 1,000 events. `ring` is two processes on two
processors: what one core does to the lines of another shows nowhere else. A subject with an inconclusive test
is measured on, once, until it has twice the units.
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
from bench.latency.programs import ring_program
from bench.latency.remote import PathRunner
from bench.latency.stats import Interval, effects_of, interval_of
from bench.latency.trees import Tree
from bench.latency.verdict import Part, Verdict, worst
from hotpath.host import spin_control

ROLES = ("base", "head", "control")
ORDERS = list(permutations(ROLES))
MARGIN_P50 = 1.02
MARGIN_P99 = 1.10
INSTRUMENTS = 64
SPIN_NS = 200_000_000
Figures = dict[str, float]  # of one side in one round: ns by percentile
Unit = dict[str, list[Figures]]  # by role, in the order of the rounds


@dataclass(frozen=True)
class Question:
    """One question: the figure's name, and how much slower is too much."""

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
    shown: tuple[Question, ...]  # reported, never judged

    def unit(self, order: tuple[str, ...]) -> Unit:
        """Fresh processes, two rounds: the order given, then the same backwards."""


@dataclass
class PathSubject:
    """A fused engine, one event a loop."""

    trees: dict[str, Tree]
    feed: Path
    cpu: int
    batches: int
    name: str = "path"
    tests: tuple[Question, ...] = (
        Question("path", "p50_ns", "p50", MARGIN_P50),
        Question("path", "p99_ns", "p99", MARGIN_P99),
    )
    shown: tuple[Question, ...] = (Question("path", "p999_ns", "p99.9", 0.0),)

    def unit(self, order: tuple[str, ...]) -> Unit:
        """Three runners, of which one runs while the others wait."""
        runners: dict[str, PathRunner] = {}
        found: Unit = {role: [] for role in ROLES}
        try:
            for role in order:
                runners[role] = PathRunner(self.trees[role], self.feed, cpu=self.cpu)
            for role in (*order, *reversed(order)):
                found[role].append(runners[role].slice(batches=self.batches))
        finally:
            for runner in runners.values():
                runner.close()
        return found


@dataclass
class RingSubject:
    """ring_bench of each tree: two processes, round trips and one way."""

    programs: dict[str, Path]
    cpus: tuple[int, int]
    rounds: int
    trips: int
    messages: int
    name: str = "ring"
    tests: tuple[Question, ...] = (
        Question("ring", "ring_64", "round trip, 64 B", MARGIN_P50),
        Question("ring", "ring_128", "round trip, 128 B", MARGIN_P50),
        Question("ring", "ring_64_p99", "round trip p99, 64 B", MARGIN_P99),
    )
    shown: tuple[Question, ...] = (
        Question("ring", "one_way", "one way", 0.0),
        Question("ring", "floor", "floor", 0.0),
    )

    def unit(self, order: tuple[str, ...]) -> Unit:
        """Each side's program twice."""
        found: Unit = {role: [] for role in ROLES}
        for role in (*order, *reversed(order)):
            amounts = (*self.cpus, self.rounds, self.trips, self.messages)
            records = {each["what"]: each for each in json_lines(run_program(self.programs[role], *amounts))}
            figures = {name: float(record["ns"]) for name, record in records.items()}
            found[role].append({**figures, "ring_64_p99": float(records["ring_64"]["p99_ns"])})
        return found


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
        return np.array([[each[figure] for each in unit[role]] for unit in self.units], np.float64)

    def other_work(self) -> list[str]:
        """A note where head sent other orders than base on the same events: its time is then of other work."""
        if "orders" not in self.units[0]["base"][0]:
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
    units = options.pick(smoke=1, quick=16, full=24)
    series = [Series(subject) for subject in subjects(trees, options)]
    tests = sum(len(each.subject.tests) for each in series)
    extended: list[str] = []
    for each in series:
        say(f"timing {each.subject.name}: {units} units of two rounds")
        each.measure(units)
        if options.size == "smoke" or conclusive(each, tests):
            continue
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
    batches = options.pick(smoke=4, quick=100, full=200)
    messages = 20_000 + (2 * batches + 30) * 1100  # a unit's slices and what warms them
    feed = flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=min(20_000, messages // 10))
    yield PathSubject(trees, feed, options.engine_cpu, batches)
    if options.two_cores:
        programs = {role: ring_program(tree) for role, tree in trees.items()}
        trips = options.pick(smoke=1000, quick=10_000, full=20_000)
        yield RingSubject(programs, (options.engine_cpu, options.driver_cpu), 3, trips, trips * 5)


def table_of(series: list[Series], outcomes: list[Outcome], tests: int, extended: list[str], options: Options) -> Table:
    """The tests, then what is shown without being judged."""
    title = f"Timing, head against base, in turns ({len(series[0].units)} units, {2 * len(series[0].units)} rounds)"
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
