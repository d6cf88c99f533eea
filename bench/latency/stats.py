"""Is B slower than A? Intervals of a ratio that hold on a noisy machine, and a verdict that never guesses.

    unit      fresh processes of both sides, rounds of A B, B A, A B, ...: what drifts steadily cancels within it
    effect    median over a unit's rounds of log(B / A): one number a unit, whatever happened inside
    centre    mean of the effects without the lowest and highest fifth: a stall of the host moves it little
    bounds    bootstrap over units of the studentised centre, widened where neighbours resemble each other

    pass when the upper bound is inside the margin, fail when the lower is outside, else inconclusive

Each bound is one-sided. A job fails when any test does, so their levels share FAMILY_ERROR (Bonferroni, over
tests and looks); it passes only when all do, so there each may have the whole (an intersection), shared over looks.
Trimmed means and their studentised bootstrap: Wilcox, Introduction to Robust Estimation, chapters 3 and 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.latency.verdict import Verdict

FAMILY_ERROR = 0.05
LOOKS = 2  # the rounds, and their one extension
POWER = 0.8  # at the detectable effect
RESAMPLES = 4000
TRIMMED = 0.2  # of the effects, at either end
UNITS_MIN = 10  # fewer prove nothing
LIKENESS_MAX = 0.8
ERROR_MIN = 1e-5  # of a centre: equal figures, to the clock's step, are no proof of more than this
Effects = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A ratio and how sure it is. Bounds at two levels: a pass needs the one, a fail the other."""

    ratio: float
    upper_pass: float  # the ratio is below it, but for FAMILY_ERROR over the looks
    lower_pass: float
    lower_fail: float  # the ratio is above it, but for FAMILY_ERROR over tests and looks
    error: float  # standard error of the log ratio
    units: int
    pull_fail: float  # standard errors from the centre to lower_fail

    def verdict(self, margin: float) -> Verdict:
        """Of a margin over 1: slower than that, shown not to be, or not known."""
        if self.units < UNITS_MIN:
            return Verdict.INCONCLUSIVE
        if self.lower_fail > margin:
            return Verdict.FAIL
        return Verdict.PASS if self.upper_pass < margin else Verdict.INCONCLUSIVE

    def equivalent(self, margin: float) -> bool:
        """Shown to be within the margin on both sides: what an A/A control must be."""
        return self.units >= UNITS_MIN and self.upper_pass < margin and self.lower_pass > 1 / margin

    def detectable(self, margin: float) -> float:
        """The smallest true ratio that such units would have called a failure, POWER of the time."""
        # The error is an estimate too: beyond the bound its own scatter stands beside the centre's.
        scatter = math.sqrt(1 + self.pull_fail**2 / (2 * trimmed_freedom(self.units)))
        return margin * safe_exp((self.pull_fail + NormalDist().inv_cdf(POWER) * scatter) * self.error)

    def record(self, prefix: str = "") -> dict[str, Any]:
        """For machines."""
        named = {"ratio": self.ratio, "upper": self.upper_pass, "lower": self.lower_pass, "lower_fail": self.lower_fail}
        return {f"{prefix}{name}": value for name, value in named.items()}


def effects_of(before: npt.ArrayLike, after: npt.ArrayLike) -> Effects:
    """One effect a unit, from figures of shape (units, rounds), of which every other round went backwards.

    The median of either direction, so that spoilt rounds are left out; the mean of the two, so that drift cancels.
    """
    ratios = np.log(np.maximum(after, 1e-9)) - np.log(np.maximum(before, 1e-9))
    there = np.median(ratios[:, 0::2], axis=1)
    back = np.median(ratios[:, 1::2], axis=1) if ratios.shape[1] > 1 else there
    return np.asarray((there + back) / 2, np.float64)


def interval_of(effects: Effects, *, tests: int, seed: int = 1) -> Interval:
    """The interval of a ratio from the effects of its units, one of so many tests of the job."""
    level_pass = FAMILY_ERROR / LOOKS
    level_fail = FAMILY_ERROR / LOOKS / max(1, tests)
    count = len(effects)
    if count < 2:
        return Interval(math.nan, math.inf, 0.0, 0.0, math.inf, count, math.inf)
    (centre,), (error,) = centres_and_errors(effects[np.newaxis, :])
    drawn = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    centres, errors = centres_and_errors(effects[drawn])
    pulls = (centres - centre) / errors
    error *= widening(effects)
    low, high = np.quantile(pulls, (level_pass, 1 - level_pass))
    high_fail = float(np.quantile(pulls, 1 - level_fail))
    # Nothing narrower than Student would have it: few units give few distinct resamples.
    floor_pass, floor_fail = (student(1 - level, trimmed_freedom(count)) for level in (level_pass, level_fail))
    pull_fail = max(high_fail, floor_fail)
    return Interval(
        ratio=math.exp(centre),
        upper_pass=safe_exp(centre + max(-low, floor_pass) * error),
        lower_pass=safe_exp(centre - max(high, floor_pass) * error),
        lower_fail=safe_exp(centre - pull_fail * error),
        error=float(error),
        units=count,
        pull_fail=pull_fail,
    )


def centres_and_errors(rows: Effects) -> tuple[Effects, Effects]:
    """Of each row: the trimmed mean and its standard error, from the winsorised variance (Tukey and McLaughlin)."""
    count = rows.shape[1]
    cut = int(TRIMMED * count)
    ordered = np.sort(rows, axis=1)
    kept = ordered[:, cut : count - cut]
    pulled_in = np.clip(ordered, kept[:, :1], kept[:, -1:])
    errors = pulled_in.std(axis=1, ddof=1) / ((1 - 2 * cut / count) * math.sqrt(count))
    return kept.mean(axis=1), np.maximum(errors, ERROR_MIN)


def widening(effects: Effects) -> float:
    """How much wider an error is for units that resemble their neighbours: never below 1.

    A first-order correlation, of ranks, without the bias that few units give it (Kendall 1954).
    """
    ranks = np.argsort(np.argsort(effects, kind="stable"), kind="stable").astype(np.float64)
    ranks -= ranks.mean()
    spread = float(ranks @ ranks)
    if spread == 0:
        return 1.0
    count = max(4, len(effects))
    found = (float(ranks[:-1] @ ranks[1:]) / spread + 1 / count) / (1 - 3 / count)
    likeness = min(LIKENESS_MAX, max(0.0, found))
    return math.sqrt((1 + likeness) / (1 - likeness))


def trimmed_freedom(count: int) -> int:
    """Degrees of freedom of a trimmed mean."""
    return max(1, count - 2 * int(TRIMMED * count) - 1)


def student(probability: float, freedom: int) -> float:
    """Student's quantile (Hill 1970, as Abramowitz and Stegun 26.7.5 expand it): to a percent from 5 degrees on."""
    z = NormalDist().inv_cdf(probability)
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def safe_exp(value: float) -> float:
    """exp that ends at infinity."""
    return math.exp(value) if value < 700 else math.inf
