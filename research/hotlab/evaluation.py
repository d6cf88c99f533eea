"""Honest evidence: the model refitted along the day, tested only on what came after, with intervals.

Every figure is out of sample. The equity is a sketch, at mid less half the spread for each change of position, one lot
to each instrument: what the engine would have done is a replay of the whole path (docs/backtest.md).
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from hotlab import graphs, training, walk
from hotlab.dataset import Dataset, write_atomic
from hotlab.errors import TrainingError
from hotlab.walk import Doubles, Interval
from hotpath.registry.manifest import MODEL_FILE

EVALUATION_FILE, EVIDENCE_FILE = "evaluation.json", "evidence.npz"
LATENCY_RUNS, LATENCY_WARM = 2000, 200
CALIBRATION_BINS = 10
Progress = Callable[[str, int, int], None]


class FoldFigures(Struct, frozen=True):
    """One fold."""

    train_rows: int
    test_rows: int
    purged_rows: int
    correlation: float
    hit_rate: float


class LatencyFigures(Struct, frozen=True):
    """One row at a time, by ONNX Runtime from Python, on this machine: an upper bound of what the path takes."""

    executor: str
    host: str
    p50_ns: int
    p99_ns: int
    cold_ns: int


class Evaluation(Struct):
    """evaluation.json."""

    folds: list[FoldFigures]
    embargo_ns: int
    threshold: float
    figures: dict[str, Interval]
    trades: int
    net_ticks: Interval
    latency: LatencyFigures
    notes: list[str] = field(default_factory=list)


class Evidence:
    """Out of sample, row by row: what figures and pictures are made of."""

    def __init__(self, score: Doubles, matrix: training.Matrix, rows: npt.NDArray[np.intp]) -> None:
        self.score = score
        self.label = matrix.target[rows]
        self.time_ns = matrix.time_ns[rows]
        self.instrument, self.part = matrix.instrument[rows], matrix.part[rows]
        self.mid, self.spread = matrix.mid[rows], matrix.spread[rows]

    def gains(self, threshold: float) -> tuple[Doubles, int]:
        """Ticks won or lost at each row, after half the spread for each lot traded, and how many were.

        Each instrument holds one lot by the sign of its last score beyond the threshold, and is flat at a source's end.
        """
        gains, trades = np.zeros(len(self.score)), 0
        for part in np.unique(self.part):
            for instrument in np.unique(self.instrument):
                rows = np.flatnonzero((self.part == part) & (self.instrument == instrument))
                if len(rows) > 1:
                    trades += self._own_gains(rows, threshold, gains)
        return gains, trades

    def _own_gains(self, rows: npt.NDArray[np.intp], threshold: float, gains: Doubles) -> int:
        wished = np.where(np.abs(self.score[rows]) >= threshold, np.sign(self.score[rows]), 0)
        last = np.maximum.accumulate(np.where(wished != 0, np.arange(len(rows)), -1))
        held = np.where(last >= 0, wished[np.maximum(last, 0)], 0.0)
        held[-1] = 0
        moves = np.diff(self.mid[rows], append=self.mid[rows[-1]])
        changes = np.abs(np.diff(held, prepend=0.0))
        gains[rows] = held * moves - changes * self.spread[rows] / 2
        return int(changes.sum())


def evaluate(
    folder: Path, *, folds: int, embargo_ns: int, threshold: float, progress: Progress
) -> tuple[Evaluation, Evidence]:
    """Walk forward with the model of `folder`, and write evaluation.json. Raises TrainingError."""
    run = training.read_run(folder)
    dataset = Dataset(Path(run.dataset))
    if dataset.identity != run.dataset_identity:
        raise TrainingError(
            f"{dataset.folder}: is not as it was when the model was trained", next_step="train it again: hotlab train"
        )
    matrix = training.matrix_of(dataset, run.spec)
    order = np.argsort(matrix.time_ns, kind="stable")
    scores = np.full(len(order), np.nan)
    figures: list[FoldFigures] = []
    time_ns, end_ns = matrix.time_ns[order], matrix.end_ns[order]
    for fold in walk.walk_forward(time_ns, end_ns, folds=folds, embargo_ns=embargo_ns):
        model = training.estimator_of(run.spec)
        model.fit(matrix.inputs[order[fold.train]], matrix.target[order[fold.train]])
        scores[fold.test] = model.predict(matrix.inputs[order[fold.test]])
        columns = [scores[fold.test], matrix.target[order[fold.test]]]
        measured = walk.correlation(columns), walk.hit_rate(columns)
        figures.append(FoldFigures(len(fold.train), len(fold.test), fold.purged, *measured))
        progress("fold", len(figures), folds)
    tested = ~np.isnan(scores)
    evidence = Evidence(scores[tested], matrix, order[tested])
    gains, trades = evidence.gains(threshold)
    columns = [evidence.score, evidence.label]
    seed = run.spec.seed
    evaluation = Evaluation(
        folds=figures,
        embargo_ns=embargo_ns,
        threshold=threshold,
        figures={name: walk.bootstrap(each, columns, seed=seed) for name, each in walk.STATISTICS.items()},
        trades=trades,
        net_ticks=walk.bootstrap(lambda found: float(found[0].sum()), [gains], seed=seed),
        latency=measure_latency(folder, matrix.inputs),
        notes=_notes(dataset, figures, trades),
    )
    write_atomic(folder / EVALUATION_FILE, msgspec.json.format(msgspec.json.encode(evaluation), indent=1))
    return evaluation, evidence


def _notes(dataset: Dataset, folds: list[FoldFigures], trades: int) -> list[str]:
    gaps = sum(each.gap_count for each in dataset.about.sources)
    notes = [f"{gaps:,} gaps in its sources (dataset.json lists them)"] if gaps else []
    if np.isnan([each.correlation for each in folds]).any():
        notes.append("in a fold score or label never varied: its figures cannot be told")
    if not trades:
        notes.append("no score ever reached the threshold: the equity is empty")
    return notes


def measure_latency(folder: Path, rows: graphs.Floats) -> LatencyFigures:
    """One row at a time through ONNX Runtime, from Python."""
    data = (folder / MODEL_FILE).read_bytes()
    session = training.open_session(data)
    name = session.get_inputs()[0].name
    taken = []
    for number in range(LATENCY_WARM + LATENCY_RUNS):
        row = rows[number % len(rows)][None]
        begin = time.perf_counter_ns()
        session.run(None, {name: row})
        taken.append(time.perf_counter_ns() - begin)
    warm = np.array(taken[LATENCY_WARM:])
    p50, p99 = (int(each) for each in np.percentile(warm, [50, 99]))
    return LatencyFigures("onnxruntime from Python", platform.machine(), p50, p99, taken[0])


def calibration(evidence: Evidence) -> list[tuple[float, float, int]]:
    """Mean score, mean label and rows of each tenth of the scores, from the lowest."""
    order = np.argsort(evidence.score, kind="stable")
    found = []
    for rows in np.array_split(order, CALIBRATION_BINS):
        if len(rows):
            found.append((float(evidence.score[rows].mean()), float(evidence.label[rows].mean()), len(rows)))
    return found
