"""The budget: its words, and that both topologies can be measured against it."""

from __future__ import annotations

import dataclasses

from bench.harness import default_options
from bench.latency import budget
from bench.latency.budget import BUDGET_NS, Line
from hotpath.host import SpinControl
from hotpath.stat import HOP_BUDGET_NS, PATH_BUDGET_NS

QUIET = SpinControl(
    cpu=0, interval_ns=1000, arrivals=1000, readings=9000, elapsed_ns=10**6, p50_ns=20, p99_ns=90, p999_ns=95,
    max_ns=99, gaps_per_second=0.0, taken_ppm=0.0,
)  # fmt: skip
NOISY = dataclasses.replace(QUIET, p99_ns=101)


def test_words_say_what_the_figures_can() -> None:
    assert Line("order_risk", 80, 150, 150).word(QUIET) == "met"
    assert Line("order_risk", 80, 180, 150).word(QUIET) == "missed (1.20x)"
    assert Line("order_risk", 80, 180, 150).word(NOISY) == "host insufficient"
    assert Line("order_risk", 80, 120, 150).word(NOISY) == "host insufficient", "nor is luck a proof"
    assert Line("order_risk", 80, 180, None).word(QUIET) == ""


def test_budget_is_the_one_that_stat_shows() -> None:
    stages = {name: limit for name, limit in BUDGET_NS.items() if name != "order_path"}
    assert stages == {name: limit for name, limit in HOP_BUDGET_NS.items() if name in stages}
    assert set(HOP_BUDGET_NS) - set(stages) <= {"order_sync"}, "a disk is no part of the path's budget"
    assert {1: BUDGET_NS["order_path"], 2: 2000, 4: budget.SPLIT_BUDGET_NS} == PATH_BUDGET_NS


def test_both_topologies_are_measured() -> None:
    finding = budget.run(default_options("smoke"))
    fused, split = finding.tables
    assert [row[0] for row in fused.rows] == list(budget.LABELS.values())
    assert all(row[4] for row in fused.rows) and any("spin control" in note for note in fused.notes)
    assert [record["topology"] for record in finding.records] == ["fused", "split"]
    assert len(split.rows) == len(fused.rows)
