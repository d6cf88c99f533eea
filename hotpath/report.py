"""What a run did, as one structure: for the report at its end, for `--json`, and for tests.

Collected from the engine's memory just before it is removed. Percentiles of hops are over order-producing
events, from the instant at which a message was due or its packet was in memory.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from ffi import ffi, lib
from ffi.dtypes import enum_names
from hotpath.engine import EngineMemory, hop_names
from hotpath.topology import STAGES

MICROS = 1_000_000
PERCENTILES = (50.0, 99.0, 99.9)

# ns, p99: the budget of each hop on the author's design table, with real book, features and every limit.
BUDGET_P99_NS = {"order_feed": 300, "order_signal": 400, "order_risk": 150, "order_gateway": 300}
BUDGET_PATH_P99_NS = {"fused": 1500, "paired": 2000, "split": 2500}


class HopReport(Struct):
    """Percentiles of one hop, in ns. `count` 0: nothing was recorded."""

    name: str
    count: int = 0
    p50_ns: int = 0
    p99_ns: int = 0
    p999_ns: int = 0
    max_ns: int = 0
    budget_p99_ns: int | None = None


class SpinReport(Struct):
    """What an empty loop on the same processor saw, beside the run."""

    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int
    verdict: str


class RunReport(Struct):
    """One run."""

    engine: str
    topology: str
    counters: dict[str, dict[str, int]]  # by stage, by name
    rejects: dict[str, int]  # by reason, those that happened
    hops: list[HopReport]
    position_lots: int
    pnl_currency: float
    turns: dict[str, int]
    seconds: float = 0.0
    order_log_sha256: str = ""
    outcome: str = ""
    spin: SpinReport | None = None
    notices: list[str] = field(default_factory=list)

    def to_json(self) -> bytes:
        """For machines."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def counter_names(stage: str) -> dict[int, str]:
    """Counter names of a stage by index: lower case, without the stage's own prefix."""
    prefix = f"{stage.upper()}_"
    skipped = {f"{prefix}COUNTERS", f"{prefix}REJECTS"}
    names = enum_names(f"{stage}_counter")
    return {index: name.removeprefix(prefix).lower() for index, name in names.items() if name not in skipped}


def collect_counters(memory: EngineMemory) -> dict[str, dict[str, int]]:
    """Every stage's counters by name; gauges of money are signed."""
    counters = {}
    for stage in STAGES:
        values = memory.segments[f"stage.{stage}"].view("stage_page")["counter"][0].astype("int64")
        counters[stage] = {name: int(values[index]) for index, name in counter_names(stage).items()}
    return counters


def collect_rejects(memory: EngineMemory) -> dict[str, int]:
    """Rejects of the risk gate by reason."""
    values = memory.segments["stage.risk"].view("stage_page")["counter"][0]
    found = {}
    for index, name in enum_names("reject_reason").items():
        if 0 < index < lib.REJECT_REASONS_MAX and values[lib.RISK_REJECTS + index]:
            found[name.removeprefix("REJECT_").lower()] = int(values[lib.RISK_REJECTS + index])
    return found


def collect_hop(memory: EngineMemory, index: int, name: str, *, budget_p99_ns: int | None) -> HopReport:
    """One hop over all stages: each records the hops that it ends."""
    total = ffi.new("histogram *")
    lib.histogram_reset(total)
    for stage in STAGES:
        source = memory.segments[f"hops.{stage}"].cast("histogram *")
        lib.histogram_merge(total, ffi.addressof(source[index]))
    if not total.total_count:
        return HopReport(name, budget_p99_ns=budget_p99_ns)
    p50, p99, p999 = (int(lib.histogram_value_at(total, percentile)) for percentile in PERCENTILES)
    return HopReport(name, int(total.total_count), p50, p99, p999, int(total.value_max), budget_p99_ns)


def collect_hops(memory: EngineMemory) -> list[HopReport]:
    """Every hop, with the budget where there is one."""
    budgets: dict[str, Any] = {
        **BUDGET_P99_NS,
        "order_path": BUDGET_PATH_P99_NS[memory.spec.config.engine.topology],
    }
    return [collect_hop(memory, index, name, budget_p99_ns=budgets.get(name)) for index, name in enumerate(hop_names())]


def collect_report(memory: EngineMemory) -> RunReport:
    """The whole run, from its memory."""
    counters = collect_counters(memory)
    return RunReport(
        engine=memory.spec.name,
        topology=memory.spec.config.engine.topology,
        counters=counters,
        rejects=collect_rejects(memory),
        hops=collect_hops(memory),
        position_lots=counters["risk"]["position_lots"],
        pnl_currency=counters["risk"]["pnl_micros"] / MICROS,
        turns={stage: int(memory.stage_page(stage).turns) for stage in STAGES},
    )
