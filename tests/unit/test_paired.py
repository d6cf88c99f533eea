"""The bench's verdict on pairs of slices: sure where there is nothing, and sure where there is something."""

from __future__ import annotations

import numpy as np

from bench.paired import Counts, counts_of, p99_ratio
from ffi import ffi, lib


def slices(scale: float, *, pairs: int, seed: int) -> list[Counts]:
    """Histograms of 5,000 spans each, lognormal about 1 us."""
    random = np.random.default_rng(seed)
    found = []
    histogram = ffi.new("histogram *")
    for _ in range(pairs):
        lib.histogram_reset(histogram)
        for span in random.lognormal(7, 0.3, 5000) * scale:
            lib.histogram_record(histogram, int(span))
        found.append(counts_of(histogram))
    return found


def test_no_difference_is_told_from_one_that_matters() -> None:
    without = slices(1.0, pairs=40, seed=1)
    same = p99_ratio(without, slices(1.0, pairs=40, seed=2))
    assert same.lower <= 1.0 <= same.upper and same.upper < 1.02 and same.verdict(1.02).startswith("met")
    worse = p99_ratio(without, slices(1.1, pairs=40, seed=3))
    assert worse.lower > 1.05 and 1.08 < worse.ratio < 1.12
    assert worse.verdict(1.02).startswith("unproven: the bound is not below 1.02; an effect of ")


def test_few_slices_prove_nothing() -> None:
    few = p99_ratio(slices(1.0, pairs=2, seed=1), slices(1.05, pairs=2, seed=2))
    assert few.verdict(1.02).startswith("unproven") and few.pairs == 2
