"""The pictures of a backtest: equity with its drawdown, and what each trade brought. Drawn as a run's report is."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from hotpath.backtest.report import BacktestReport
from hotpath.backtest.view import day_time
from hotpath.history.figures import BLUE, GREEN, HEIGHT, MUTED, RED, STYLE, WIDTH, Picture, picture_of, short

MICROS = 1_000_000
HOURS = 3600.0


def draw(report: BacktestReport, base: BacktestReport | None = None) -> list[Picture]:
    """Every picture that this run has something to show in. `base`: the run that it is compared with."""
    pictures = []
    with mpl.rc_context(STYLE):
        if len(report.equity) > 1:
            words = "Cash and positions at their reference prices, less fees; below, how far it lies under its height."
            pictures.append(picture_of("equity", "Equity and drawdown", words, _equity(report, base)))
        if report.trades:
            words = "Round trips in the order in which they ended, after fees; those still open are at their marks."
            pictures.append(picture_of("trades", "Result of each trade", words, _trades(report)))
    return pictures


def _curve(report: BacktestReport) -> tuple[Any, Any]:
    times = np.array([time_ns for time_ns, _ in report.equity], float)
    return (times - times[0]) / 1e9, np.array([micros for _, micros in report.equity], float) / MICROS


def _equity(report: BacktestReport, base: BacktestReport | None) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT * 1.35))
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2.4, 1]})
    seconds, values = _curve(report)
    if base is not None and len(base.equity) > 1:
        above.plot(*_curve(base), color=MUTED, linewidth=1.1, label="as it was")
    above.plot(seconds, values, color=BLUE, label="this run")
    above.axhline(0, color=MUTED, linewidth=0.8)
    above.set_title("equity after fees")
    if base is not None:
        above.legend(loc="upper left")
    fall = values - np.maximum.accumulate(np.maximum(values, 0))
    below.fill_between(seconds, fall, color=RED, alpha=0.35, lw=0)
    below.set_title("drawdown")
    for axes in (above, below):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    begin = report.equity[0][0]
    below.xaxis.set_major_formatter(FuncFormatter(lambda value, _: day_time(begin + round(value * 1e9))[:5]))
    below.set_xlabel("time of day, UTC")
    return figure


def _trades(report: BacktestReport) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT))
    axes = figure.subplots()
    nets = np.array([trade.net for trade in report.trades], float) / MICROS
    places = np.arange(1, len(nets) + 1)
    colours = [GREEN if net >= 0 else RED for net in nets]
    axes.bar(places, nets, color=colours, width=0.9 if len(nets) < 200 else 1.0, alpha=0.85)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_xlabel("trade")
    axes.set_title("net of each trade")
    return figure
