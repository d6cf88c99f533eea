"""Samples as rows, each an event's share, priced: by stage; by function as compiled, with what was inlined into it; by
function as written, wherever it was inlined."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.harness import Table
from bench.profile.model import INDEX, Prices, bound_by, bound_text, terms_ns, total_ns
from bench.profile.reading import EVENTS, LOOP, STAGES, Costs, Place, Samples

COLUMNS = ["instr", "branches", "missed", "L1 code", "L1 read", "L1 write", "L2", "model ns", "share", "bound by"]
ORDER = (*STAGES, LOOP)


@dataclass
class Row:
    """A stage, or a function in a stage: what it costs an event."""

    name: str
    stage: str
    costs: Costs
    files: set[str] = field(default_factory=set)
    held_by: set[str] = field(default_factory=set)  # other functions, into which it was inlined
    inlined: set[str] = field(default_factory=set)  # other functions, inlined into it

    def cells(self, prices: Prices, whole_ns: float) -> list[str]:
        """As COLUMNS."""
        ns = total_ns(self.costs, prices)
        counts = [self.of("Ir"), self.of("Bc", "Bi"), self.of("Bcm", "Bim"), self.of("I1mr"), self.of("D1mr")]
        counts += [self.of("D1mw"), self.of("ILmr", "DLmr")]
        shown = [count_text(count) for count in counts]
        return [*shown, f"{ns:.1f}", f"{ns / whole_ns:.1%}", bound_text(self.costs, prices)]

    def of(self, *events: str) -> float:
        """The sum of some of callgrind's counts, an event."""
        return float(sum(self.costs[INDEX[name]] for name in events))

    def record(self, prices: Prices) -> dict[str, Any]:
        """For machines: callgrind's own names of what it counted."""
        return {
            "name": self.name,
            "stage": self.stage,
            "files": sorted(self.files),
            "inlined_into": sorted(self.held_by),
            "holds": sorted(self.inlined),
            **{name: round(self.of(name), 4) for name in EVENTS},
            "model_ns": round(total_ns(self.costs, prices), 3),
            "terms_ns": {name: round(ns, 3) for name, ns in terms_ns(self.costs, prices).items()},
            "bound_by": bound_by(self.costs, prices),
        }


def count_text(count: float) -> str:
    """Counts from a hundredth to thousands, so that a column can be read downwards."""
    if count < 0.005:
        return "."
    return f"{count:,.0f}" if count >= 100 else f"{count:.1f}" if count >= 10 else f"{count:.2f}"


def rows_of(samples: Samples, name: Callable[[Place], tuple[str, str]]) -> list[Row]:
    """Samples joined by (name, stage), the order left to the caller."""
    rows: dict[tuple[str, str], Row] = {}
    joined: dict[tuple[str, str], Costs] = defaultdict(lambda: np.zeros(len(EVENTS)))
    for place, costs in samples.items():
        key = name(place)
        joined[key] += costs
        row = rows.setdefault(key, Row(*key, costs=joined[key]))
        if place.function == key[0] and place.file:
            row.files.add(place.file)
        if place.held_by != key[0]:
            row.held_by.add(place.held_by)
        if place.function != key[0]:
            row.inlined.add(place.function)
    return list(rows.values())


def stage_rows(samples: Samples) -> list[Row]:
    """One row a stage, in the order of the path."""
    return sorted(rows_of(samples, lambda place: (place.stage, place.stage)), key=lambda row: ORDER.index(row.stage))


def kernel_rows(samples: Samples, prices: Prices) -> list[Row]:
    """One row a compiled function in each stage, the dearest first."""
    rows = rows_of(samples, lambda place: (place.held_by, place.stage))
    return sorted(rows, key=lambda row: -total_ns(row.costs, prices))


def source_rows(samples: Samples, prices: Prices) -> list[Row]:
    """One row a function of the source in each stage, the dearest first."""
    rows = rows_of(samples, lambda place: (place.function, place.stage))
    return sorted(rows, key=lambda row: -total_ns(row.costs, prices))


def stage_table(rows: list[Row], prices: Prices, measured_ns: dict[str, float]) -> Table:
    """The stages, their sum, and what the clock said beside them where it was asked."""
    whole_ns = sum(total_ns(row.costs, prices) for row in rows)
    columns = ["stage", *COLUMNS[:-1], "hop p50 ns", COLUMNS[-1]]
    table = Table("One event of the fused path, by stage", columns)
    whole = Row("event", "", np.sum([row.costs for row in rows], axis=0))
    for row in (*rows, whole):
        *cells, bound = row.cells(prices, whole_ns)
        hop = measured_ns.get(row.name)
        table.rows.append([row.name, *cells, f"{hop:,.0f}" if hop is not None else "-", bound])
    return table


def function_table(title: str, rows: list[Row], prices: Prices, shown: int) -> Table:
    """The dearest functions, and the rest as one line."""
    whole_ns = sum(total_ns(row.costs, prices) for row in rows)
    table = Table(title, ["function", "stage", "file", *COLUMNS])
    for row in rows[:shown]:
        table.rows.append([row.name, row.stage, ", ".join(sorted(row.files)), *row.cells(prices, whole_ns)])
    if rest := rows[shown:]:
        other = Row(f"{len(rest)} more (--top)", "", np.sum([row.costs for row in rest], axis=0))
        table.rows.append([other.name, "", "", *other.cells(prices, whole_ns)])
    return table
