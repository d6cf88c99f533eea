"""What a row of the table is, and what it can come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bench.harness import Options, ns_text

Unit = Literal["ns", "per second"]


@dataclass(frozen=True)
class Figures:
    """What one row measured; `verified` says what was found equal. A p99 of 0 was not measured."""

    ours: float
    theirs: float
    verified: str
    ours_p99: float = 0.0
    theirs_p99: float = 0.0


@dataclass(frozen=True)
class Row:
    """One comparison, fixed before it is run.

    `layout` says how both are run; `if_lost` says why, should the other be better. `packages` are what it needs, the
    first of them the one compared with; none: the machine itself.
    """

    section: str
    what: str
    packages: tuple[str, ...]
    unit: Unit
    layout: str
    if_lost: str
    measure: Callable[[Options], Figures]
    two_cores: bool = False


@dataclass(frozen=True)
class Result:
    """A row that was measured."""

    row: Row
    figures: Figures
    versions: str

    @property
    def ratio(self) -> float:
        """How many times better hotpath is; below 1 it lost."""
        return _better(self.row.unit, self.figures.ours, self.figures.theirs)

    @property
    def ratio_p99(self) -> float:
        """The same of the p99; 0 where there is none."""
        if not self.figures.ours_p99 or not self.figures.theirs_p99:
            return 0.0
        return _better(self.row.unit, self.figures.ours_p99, self.figures.theirs_p99)

    @property
    def lost(self) -> bool:
        """Whether the other is better, at the median or in the tail."""
        return self.ratio < 1 or 0 < self.ratio_p99 < 1

    def cell(self, *, ours: bool) -> str:
        """One side's figure, with its p99 where there is one."""
        value, p99 = (
            (self.figures.ours, self.figures.ours_p99) if ours else (self.figures.theirs, self.figures.theirs_p99)
        )
        if self.row.unit == "ns":
            return f"{ns_text(value)}, p99 {ns_text(p99)}" if p99 else ns_text(value)
        return rate_text(value)

    @property
    def ratio_cell(self) -> str:
        """The ratio as printed."""
        return factor_text(self.ratio) + (f", p99 {factor_text(self.ratio_p99)}" if self.ratio_p99 else "")

    def record(self) -> dict[str, Any]:
        """For machines."""
        row, figures = self.row, self.figures
        return {
            "section": row.section, "what": row.what, "peer": row.packages[0] if row.packages else "this machine",
            "versions": self.versions, "unit": row.unit, "ours": figures.ours, "theirs": figures.theirs,
            "ratio": self.ratio, "ours_p99": figures.ours_p99, "theirs_p99": figures.theirs_p99,
            "ratio_p99": self.ratio_p99, "lost": self.lost, "verified": figures.verified, "layout": row.layout,
            "why": row.if_lost if self.lost else "",
        }  # fmt: skip


def _better(unit: Unit, ours: float, theirs: float) -> float:
    return theirs / ours if unit == "ns" else ours / theirs


def factor_text(factor: float) -> str:
    """0.31x, 2.4x, 51x."""
    return f"{factor:.2f}x" if factor < 1 else f"{factor:.1f}x" if factor < 10 else f"{factor:.0f}x"


def rate_text(rate: float) -> str:
    """Messages a second as people read it."""
    return f"{rate / 1e6:.2f} M/s" if rate >= 1e6 else f"{rate / 1e3:.0f} k/s"
