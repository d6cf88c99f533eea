"""Splits that do not look ahead, and intervals that do not flatter.

    time  ------------------------------------------------------------------>
    fold 1   [ train ............ ]x~[ test ]
    fold 2   [ train ....................... ]x~[ test ]
    fold 3   [ train .................................. ]x~[ test ]
                                         x  purged: labels that end in the test or after it began
                                         ~  embargo: so much time besides

A row is trained on only if its label was known, and `embargo_ns` gone by, before the first test row. Rows of one hour
look alike, so that a bootstrap over rows would promise too much: blocks of consecutive rows are drawn instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hotlab.errors import TrainingError

Doubles = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]
CONFIDENCE = 0.95
RESAMPLES = 300


@dataclass(frozen=True)
class Fold:
    """Rows to learn from and rows to be tested on; `purged` were left out between them."""

    train: Rows
    test: Rows
    purged: int


def walk_forward(
    time_ns: Times, end_ns: Times, *, folds: int, embargo_ns: int = 0, window_ns: int = 0
) -> Iterator[Fold]:
    """Folds over rows in time order. `window_ns`: how far back to learn from; 0: to the beginning.

    The first of folds + 1 equal stretches of rows is never tested. Raises TrainingError when a fold has nothing to
    learn from.
    """
    if folds < 1 or len(time_ns) < (folds + 1) * 10:
        raise TrainingError(f"{len(time_ns):,} rows are too few for {folds} folds", next_step="take fewer: --folds")
    bounds = np.linspace(0, len(time_ns), folds + 2).astype(int)
    for number, (begin, end) in enumerate(pairwise(bounds[1:]), start=1):
        before = np.arange(begin)
        first_ns = time_ns[begin]
        kept = (end_ns[before] + embargo_ns < first_ns) & (time_ns[before] + embargo_ns < first_ns)
        if window_ns:
            kept &= time_ns[before] >= first_ns - window_ns
        if not kept.any():
            raise TrainingError(
                f"fold {number}: no row's label was known {embargo_ns:,} ns before its test",
                next_step="take fewer folds, a shorter horizon, or a shorter --embargo-ns",
            )
        yield Fold(before[kept], np.arange(begin, end), int((~kept).sum()))


@dataclass(frozen=True)
class Interval:
    """A figure, and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float


Statistic = Callable[[Sequence[Doubles]], float]


def bootstrap(statistic: Statistic, columns: Sequence[Doubles], *, seed: int, resamples: int = RESAMPLES) -> Interval:
    """A statistic of columns of equal length, and its interval by the moving-block bootstrap; NaN without rows."""
    count = len(columns[0])
    value = statistic(columns) if count else float("nan")
    if count < 20:
        return Interval(value, float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    block = max(1, round(count ** (1 / 3) * 2))
    starts_each = -(-count // block)
    drawn = []
    for _ in range(resamples):
        starts = random.integers(0, count - block + 1, starts_each)
        rows = (starts[:, None] + np.arange(block)).reshape(-1)[:count]
        drawn.append(statistic([column[rows] for column in columns]))
    tail = (1 - CONFIDENCE) / 2
    known = np.array(drawn)[~np.isnan(drawn)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


# ---- what is measured: each of (score, label) ----------------------------------------------------------


def correlation(columns: Sequence[Doubles]) -> float:
    """Pearson's, of score and label; NaN where one does not vary."""
    score, label = columns
    return float(np.corrcoef(score, label)[0, 1]) if score.std() > 0 and label.std() > 0 else float("nan")


def hit_rate(columns: Sequence[Doubles]) -> float:
    """Of the moves with an opinion, how many went its way."""
    score, label = columns
    told = (score != 0) & (label != 0)
    return float((np.sign(score[told]) == np.sign(label[told])).mean()) if told.any() else float("nan")


def area(columns: Sequence[Doubles]) -> float:
    """That a rise was given a higher score than a fall: the area under the ROC curve; ties count half."""
    score, label = columns
    up, down = score[label > 0], np.sort(score[label < 0])
    if not len(up) or not len(down):
        return float("nan")
    below = np.searchsorted(down, up, side="left")
    ties = np.searchsorted(down, up, side="right") - below
    return float((below + ties / 2).sum() / (len(up) * len(down)))


def brier(columns: Sequence[Doubles]) -> float:
    """Mean squared error of (score + 1) / 2 as the probability of a rise, over rows that moved."""
    score, label = columns
    moved = label != 0
    return float((((score[moved] + 1) / 2 - (label[moved] > 0)) ** 2).mean()) if moved.any() else float("nan")


STATISTICS: dict[str, Statistic] = {
    "correlation": correlation, "hit_rate": hit_rate, "area_under_curve": area, "brier": brier,
}  # fmt: skip
