"""Does the path as it stands meet its budget? The table of the architecture, measured here: ``--only budget``.

    fused    feed, signal, risk, gateway spin in one process on one processor          the budget's own topology
    split    four processes; each should spin on a processor of its own. With fewer     for what it is: no budget
             they yield to each other on what there is

Raw figures over order-producing events at stated open-loop rates, from the instant at which a message was due. The
spin control of the same processor stands beside them: where its p99 is over 100 ns, the host is insufficient and
the words "met" and "missed" mean nothing. A budget that is missed is no regression, so this fails no gate.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from bench import path
from bench.engine import PathRun, bench_config, bench_spec, feed_instruments, scratch
from bench.harness import (
    BenchError,
    Finding,
    Options,
    Table,
    flow_file,
    ns_text,
    pinned,
    spin_limit_ns,
    spin_note,
)
from ffi import lib
from hotpath.host import SpinControl, spin_control
from hotpath.report import RunReport, collect_report
from hotpath.supervisor import EngineName, Supervisor, supervise

SOURCE = "ARCHITECTURE, section 9: p99 in ns, ours"
# The stages of the table there, with the whole of features, every limit and the intent record on; the model is to come.
BUDGET_NS = {"order_feed": 300, "order_signal": 400, "order_risk": 150, "order_gateway": 300, "order_path": 1500}
LABELS = {
    "order_feed": "market data (decode + book)",
    "order_signal": "signal (features, no model yet)",
    "order_risk": "risk (all limits)",
    "order_gateway": "order (encode + intent)",
    "order_path": "total",
}
PATH_P50_NS = 600
SPLIT_BUDGET_NS = 2500  # over four spinning processors
SPLIT_CPUS = 4
SPLIT_RATE = 20_000
FUSED_RATE = 100_000
COLUMNS = ["stage", "p50", "p99", "budget p99", "", "p99.9", "max"]


@dataclass(frozen=True)
class Line:
    """One stage against its budget."""

    name: str
    p50_ns: int
    p99_ns: int
    budget_ns: int | None

    def word(self, control: SpinControl) -> str:
        """ "met", "missed" by how much, or that the host cannot tell."""
        if self.budget_ns is None:
            return ""
        if control.p99_ns > spin_limit_ns():
            return "host insufficient"
        return "met" if self.p99_ns <= self.budget_ns else f"missed ({self.p99_ns / self.budget_ns:.2f}x)"


def run(options: Options) -> Finding:
    """The fused path against its budget, and the split one beside it."""
    finding = Finding("budget")
    fused = run_fused(options)
    add(finding, fused, "The budget, fused on one core", budgets=dict(BUDGET_NS))
    path_p50 = fused.report.stat.hops["order_path"].p50_ns
    whole = Line("order_path p50", path_p50, path_p50, PATH_P50_NS).word(fused.control)
    finding.tables[0].notes.insert(0, f"p50 of the total: {ns_text(path_p50)}, aim {ns_text(PATH_P50_NS)}: {whole}")
    finding.tables[0].notes.append(f"budgets: {SOURCE}; the journal and the model are not in the path yet")
    split, cpus = run_split(options)
    spinning = cpus >= SPLIT_CPUS
    budgets = {"order_path": SPLIT_BUDGET_NS} if spinning else {}
    how = "spinning on one each" if spinning else f"yielding to each other on {cpus}"
    add(finding, split, f"Split: four processes, {how}", budgets=budgets)
    if not spinning:
        finding.tables[1].notes.append(
            f"{ns_text(SPLIT_BUDGET_NS)} is for {SPLIT_CPUS} spinning processors, here are {cpus}: host insufficient"
        )
    return finding


def add(finding: Finding, result: PathRun, title: str, *, budgets: dict[str, int]) -> None:
    """One topology's table and record."""
    hops = result.report.stat.hops
    rate = f"{result.rate_per_second:,} messages a second, {result.orders:,} orders"
    table = Table(f"{title}: {rate}", COLUMNS)
    words = {}
    for name, label in LABELS.items():
        hop = hops[name]
        line = Line(name, hop.p50_ns, hop.p99_ns, budgets.get(name))
        words[name] = line.word(result.control)
        shown = ns_text(line.budget_ns) if line.budget_ns is not None else ""
        table.rows.append(
            [label, ns_text(hop.p50_ns), ns_text(hop.p99_ns), shown, words[name], ns_text(hop.p999_ns),
             ns_text(hop.max_ns)]
        )  # fmt: skip
    table.notes.append(spin_note(result.control))
    finding.tables.append(table)
    record: dict[str, Any] = path.record_of(result, topology="split" if "Split" in title else "fused")
    finding.records.append({**record, "budget_ns": budgets, "verdicts": words})


def run_fused(options: Options) -> PathRun:
    """As bench/path.py measures it: 100,000 order-producing events and more."""
    messages = max(FUSED_RATE * options.pick(smoke=0, quick=2, full=10), 20_000)
    with scratch() as folder, pinned(options.engine_cpu):
        spec = path.fused_spec(
            folder_name=str(folder), name="bench-budget", options=options, messages=messages, rate=FUSED_RATE
        )
        return path.measure_and_check(spec, options)


def run_split(options: Options) -> tuple[PathRun, int]:
    """The four stages as processes over every processor there is, and how many that is."""
    cpus = sorted(os.sched_getaffinity(0))
    messages = max(SPLIT_RATE * options.pick(smoke=0, quick=3, full=10), 20_000)
    file = flow_file(messages=messages, instruments=path.INSTRUMENTS, live_orders=path.live_orders(messages))
    reports: list[RunReport] = []
    with scratch() as folder:
        # Neighbours on the path share a processor where some must; those that share one yield.
        places = [cpus[stage * min(len(cpus), SPLIT_CPUS) // SPLIT_CPUS] for stage in range(SPLIT_CPUS)]
        config = bench_config(
            "bench-split",
            file,
            engine={"state_dir": str(folder), "topology": "split"},
            feed={"rate_per_second": SPLIT_RATE},
        )
        spec = bench_spec(config, feed_instruments(file), cpus=places)

        def finished() -> bool:
            page = supervisor.memory.stage_page("feed")
            return int(page.counter[lib.FEED_MESSAGES]) >= messages

        def collect() -> None:
            reports.append(collect_report(supervisor.memory, seconds=messages / SPLIT_RATE))

        with EngineName(config):
            supervisor = Supervisor(spec, arm=True)
            outcome = supervise(supervisor, until=finished, before_removal=collect)
        control = spin_control(duration_ns=300_000_000, interval_ns=10**9 // SPLIT_RATE, cpu=options.engine_cpu)
    if outcome.failed:
        raise BenchError(outcome.reason)
    result = PathRun(reports[0], control, SPLIT_RATE, messages)
    path.check(result)
    return result, len(cpus)
