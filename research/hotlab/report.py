"""An evaluation as one page: figures with intervals, calibration, importance, equity, latency. Nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hotlab.dataset import write_atomic
from hotlab.errors import need
from hotlab.evaluation import Evaluation, Evidence, calibration
from hotlab.training import TrainRun
from hotlab.walk import Interval
from hotpath.history.figures import BLUE, GREEN, GREY, HEIGHT, MUTED, ORANGE, STYLE, WIDTH, Picture, picture_of
from hotpath.history.page import STYLE as PAGE_STYLE
from hotpath.history.page import figure_html, table_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 1000  # of a line
COLUMNS_SHOWN = 20
NS_PER_US = 1000
Drawer = Callable[[TrainRun, Evaluation, Evidence], "Figure"]


def write_report(folder: Path, run: TrainRun, evaluation: Evaluation, evidence: Evidence) -> Path:
    """report.html in the run's folder."""
    path = folder / "report.html"
    write_atomic(path, render(run, evaluation, draw(run, evaluation, evidence)).encode())
    return path


# ---- pictures --------------------------------------------------------------------------------------


def draw(run: TrainRun, evaluation: Evaluation, evidence: Evidence) -> list[Picture]:
    """Every picture."""
    mpl = need("matplotlib", extra="research", why="a report")
    drawers: tuple[tuple[str, str, str, Drawer], ...] = (
        ("calibration", "Calibration", "Mean label of each tenth of the scores; bars: how many rows.", _calibration),
        (
            "importance",
            "Importance",
            "What each input contributes, by the model's own account, in parts of 1.",
            _importance,
        ),
        (
            "equity",
            "Equity, a sketch",
            "Ticks, one lot by the sign of the score, half the spread for each change.",
            _equity,
        ),
        ("latency", "Latency", "One row, ONNX Runtime called from Python on this machine.", _latency),
    )
    with mpl.rc_context(STYLE):
        return [
            picture_of(name, title, words, drawer(run, evaluation, evidence)) for name, title, words, drawer in drawers
        ]


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, HEIGHT))


def _calibration(_run: TrainRun, _evaluation: Evaluation, evidence: Evidence) -> Figure:
    figure = _figure()
    axes = figure.add_subplot()
    found = calibration(evidence)
    scores, labels = [score for score, _, _ in found], [label for _, label, _ in found]
    axes.plot(scores, labels, color=BLUE, marker="o", markersize=4)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("mean score")
    axes.set_ylabel("mean label")
    counts = axes.twinx()
    counts.hist(evidence.score, bins=40, color=GREY, alpha=0.25)
    counts.set_yticks([])
    return figure


def _importance(run: TrainRun, _evaluation: Evaluation, _evidence: Evidence) -> Figure:
    figure = _figure()
    axes = figure.add_subplot()
    first = sorted(run.importance.items(), key=lambda item: item[1])[-COLUMNS_SHOWN:]
    axes.barh([name for name, _ in first], [part for _, part in first], color=BLUE)
    axes.tick_params(axis="y", labelsize=7)
    return figure


def _equity(_run: TrainRun, evaluation: Evaluation, evidence: Evidence) -> Figure:
    figure = _figure()
    axes = figure.add_subplot()
    gains, _ = evidence.gains(evaluation.threshold)
    equity = np.cumsum(gains)
    shown = np.unique(np.linspace(0, len(equity) - 1, min(POINTS, len(equity))).astype(int))
    seconds = (evidence.time_ns - evidence.time_ns[0]) / 1e9
    axes.plot(seconds[shown], equity[shown], color=GREEN)
    peak = np.maximum.accumulate(equity)
    axes.fill_between(seconds[shown], equity[shown], peak[shown], color=ORANGE, alpha=0.15, linewidth=0)
    axes.set_xlabel("seconds of venue time since the first test")
    axes.set_ylabel("ticks")
    return figure


def _latency(_run: TrainRun, evaluation: Evaluation, _evidence: Evidence) -> Figure:
    figure = _figure()
    axes = figure.add_subplot()
    latency = evaluation.latency
    names, values = ("p50", "p99", "first"), (latency.p50_ns, latency.p99_ns, latency.cold_ns)
    bars = axes.barh(names, [value / NS_PER_US for value in values], color=[BLUE, ORANGE, GREY])
    axes.bar_label(bars, labels=[f"{value / NS_PER_US:,.1f} us" for value in values], padding=4, fontsize=8)
    axes.set_xlabel("microseconds")
    return figure


# ---- the page --------------------------------------------------------------------------------------


def render(run: TrainRun, evaluation: Evaluation, pictures: Sequence[Picture]) -> str:
    """The whole page."""
    spec = run.spec
    title = f"{spec.estimator} on {spec.label}"
    about = (
        f"{run.rows:,} rows · {len(spec.columns)} inputs · seed {spec.seed} · {len(evaluation.folds)} folds, embargo "
        f"{evaluation.embargo_ns / 1e9:g} s · data {run.dataset_identity[:12]} · "
        f"code {run.code_commit[:12] or 'unknown'}"
    )
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}: hotlab</title>",
        f"<style>{PAGE_STYLE}</style></head><body>",
        f'<header><h1>{escape(title)}</h1><span class="muted">{escape(about)}</span></header>',
        *(f'<div class="notice">{escape(note)}</div>' for note in evaluation.notes),
        "<h2>Out of sample</h2>",
        f'<div class="scroll">{_figures(evaluation)}</div>',
        '<div class="pair">',
        *(figure_html(picture) for picture in pictures),
        "</div>",
        "<h2>Folds</h2>",
        f'<div class="scroll">{_folds(evaluation)}</div>',
        "<h2>How it was made</h2>",
        f'<div class="scroll">{_settings(run)}</div>',
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _interval(interval: Interval) -> tuple[str, str]:
    return f"{interval.value:.4g}", f"{interval.low:.4g} to {interval.high:.4g}"


def _figures(evaluation: Evaluation) -> str:
    rows = [("", (name.replace("_", " "), *_interval(each))) for name, each in evaluation.figures.items()]
    rows.append(("", ("net ticks of the sketch", *_interval(evaluation.net_ticks))))
    rows.append(
        ("", ("lots traded there", f"{evaluation.trades:,}", f"at |score| of {evaluation.threshold:g} or more"))
    )
    return table_html(("figure", "value", "95 % interval, blocks resampled"), rows)


def _folds(evaluation: Evaluation) -> str:
    heads = ("fold", "learned from", "purged", "tested on", "correlation", "hit rate")
    rows = [
        (
            "",
            (
                str(number),
                f"{fold.train_rows:,}",
                f"{fold.purged_rows:,}",
                f"{fold.test_rows:,}",
                f"{fold.correlation:.3f}",
                f"{fold.hit_rate:.3f}",
            ),
        )
        for number, fold in enumerate(evaluation.folds, start=1)
    ]
    return table_html(heads, rows)


def _settings(run: TrainRun) -> str:
    spec = run.spec
    made = [f"{each.name} = {each.op}({', '.join(each.of)})" for each in spec.made]
    rows = [
        ("inputs", ", ".join(spec.columns)),
        ("made of others", "; ".join(made) or "none"),
        ("asked", f"{spec.sampling.trigger} {spec.sampling.every if spec.sampling.trigger == 'every_n' else ''}"),
        ("parameters", ", ".join(f"{key} {value}" for key, value in spec.parameters.items()) or "as given"),
        ("libraries", ", ".join(f"{name} {version}" for name, version in run.libraries.items())),
        ("model", run.model_sha256),
        ("runtime differs by", f"{run.worst_difference:.3g} at most, over the golden rows"),
    ]
    return table_html(("", ""), [("", (name, escape(words))) for name, words in rows])
