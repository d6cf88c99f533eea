"""Does B make A's tail worse? Pairs of slices A B, B A, ... of one run, and what their histograms can show.

    ratio = median over pairs of p99(slice of B) / p99(slice of A), the pairs drawn again and again (bootstrap)

The verdict is of the 95% upper bound: below the limit it is shown that B costs less. Otherwise nothing is
shown, and what could have been is printed beside: the effect by which the bound lies above the ratio itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib

RESAMPLES = 1000
PERCENTILE = 99.0
PAIRS_MIN = 10
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ratio:
    """p99 with over p99 without, and how sure that is; the p99s are medians over slices."""

    ratio: float
    lower: float  # 2.5%
    upper: float  # 95%, one-sided
    pairs: int
    p99_without_ns: int
    p99_with_ns: int

    @property
    def detectable(self) -> float:
        """The smallest effect that so many pairs of such slices could have shown."""
        return max(0.0, self.upper / self.ratio - 1)

    def verdict(self, limit: float) -> str:
        """ "met", or "unproven" with what could have been shown."""
        if self.pairs < PAIRS_MIN:
            return f"unproven: {self.pairs} pairs prove nothing"
        if self.upper < limit:
            return f"met: below {limit:g} with 95% confidence"
        return f"unproven: the bound is not below {limit:g}; an effect of {self.detectable:.1%} could have been shown"

    def record(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ratio_p99": self.ratio, "ratio_p99_lower": self.lower, "ratio_p99_upper": self.upper,
            "detectable": self.detectable, "pairs": self.pairs,
            "p99_without_ns": self.p99_without_ns, "p99_with_ns": self.p99_with_ns,
        }  # fmt: skip


def counts_of(histogram: Any) -> Counts:
    """A copy of a ``histogram *``'s counts."""
    return np.frombuffer(ffi.buffer(histogram.count), np.uint64).astype(np.int64)


@cache
def value_of_bucket(index: int) -> int:
    """What a count in this bucket stands for, in ns."""
    single = ffi.new("histogram *")
    lib.histogram_reset(single)
    single.count[index] = single.total_count = 1
    single.value_max = lib.HISTOGRAM_VALUE_MAX
    return int(lib.histogram_value_at(single, PERCENTILE))


def value_of(counts: npt.NDArray[Any]) -> int:
    """The p99 of a slice, in ns."""
    below = np.cumsum(counts)
    return value_of_bucket(int(np.searchsorted(below, below[-1] * PERCENTILE / 100)))


def p99_ratio(without: list[Counts], with_it: list[Counts], *, seed: int = 1) -> Ratio:
    """The median over pairs of one slice's p99 over the other's; a stall of the host in one slice moves it little."""
    before = np.array([value_of(counts) for counts in without], np.float64)
    after = np.array([value_of(counts) for counts in with_it], np.float64)
    ratios = after / np.maximum(1, before)
    drawn = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    medians = np.median(ratios[drawn], axis=1)
    return Ratio(
        ratio=float(np.median(ratios)),
        lower=float(np.quantile(medians, 0.025)),
        upper=float(np.quantile(medians, 0.95)),
        pairs=len(ratios),
        p99_without_ns=int(np.median(before)),
        p99_with_ns=int(np.median(after)),
    )
