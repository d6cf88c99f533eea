"""The pictures of a report, drawn with matplotlib: the same ones as SVG for the page and as PNG.

Colours in an SVG are the page's own, so that one drawing is read on a light and on a dark page: what is
drawn in INK, MUTED or GRID becomes a variable of the page's style sheet. Series have colours that stand out
on both.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffi import lib
from hotpath import histograms
from hotpath.errors import HistoryError
from hotpath.history.reader import Numbers, RunHistory
from hotpath.history.summary import RunSummary
from hotpath.report import MICROS

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
except ImportError:
    raise HistoryError(
        "the pictures of a report are drawn with matplotlib, which is not installed",
        next_step="pip install 'hotpath-engine[report]'  (or: hotpath report --no-html, for the table alone)",
    ) from None

INK, MUTED, GRID = "#1b1f24", "#6a737d", "#d8dee4"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)"}
BLUE, ORANGE, GREEN, RED, PURPLE, TEAL, GREY = (
    "#3b82d6", "#e08a1e", "#2fa36b", "#dc4c4c", "#9168d6", "#17a2a8", "#8b949e",
)  # fmt: skip
HOPS = {
    "order_path": ("order, T0 to T1", BLUE),
    "order_feed": ("feed", GREEN),
    "order_signal": ("signal", ORANGE),
    "order_risk": ("risk", RED),
    "order_gateway": ("gateway", PURPLE),
    "feed": ("feed, every event", TEAL),
    "wait": ("wait in packet", GREY),
}
PARTS = ("order_feed", "order_signal", "order_risk", "order_gateway")
NINES = (0.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999)
METADATA = ("Creator", "Date", "Format", "Type")  # that an SVG would otherwise bear
WIDTH, HEIGHT = 7.2, 3.3  # inches
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "hotpath",
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.4,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Picture:
    """One drawing, twice. `png` has a white ground."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


def draw(history: RunHistory, summary: RunSummary) -> list[Picture]:
    """Every picture that this run has something to show in."""
    pictures = []
    with mpl.rc_context(STYLE):
        for name, title, caption, drawer in DRAWERS:
            figure = drawer(history, summary)
            if figure is not None:
                pictures.append(picture_of(name, title, caption, figure))
    return pictures


def picture_of(name: str, title: str, caption: str, figure: Figure) -> Picture:
    """A figure drawn under STYLE, as a page and as a file have it."""
    return Picture(name, title, caption, _svg(figure, title), _png(figure))


def _svg(figure: Figure, title: str) -> str:
    """For a page: without XML head and size, in the page's colours."""
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata=dict.fromkeys(METADATA))
    text = target.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    head, _, rest = text.partition(">")
    box = head.split('viewBox="')[1].split('"')[0]
    return f'<svg viewBox="{box}" role="img" aria-label="{title}" xmlns:xlink="http://www.w3.org/1999/xlink">{rest}'


def _png(figure: Figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return target.getvalue()


# ---- latency -----------------------------------------------------------------------------------------


def _percentiles(history: RunHistory, summary: RunSummary) -> Figure | None:
    """Latency against percentile, both logarithmic, a curve a hop."""
    hops = [name for name in HOPS if name in history.histograms and name in summary.hops]
    if not hops:
        return None
    figure, axes = _axes(height=3.9)
    most = max(summary.hops[name].count for name in hops)
    right = 1.0 / max(1.0 / most, 10.0**-7)
    for name in reversed(hops):
        label, colour = HOPS[name]
        chief = name == "order_path"
        beside = name in ("wait", "feed")
        inverse, spans = percentile_curve(history.histograms[name])
        axes.plot(
            inverse,
            spans,
            color=colour,
            label=label,
            linewidth=2.4 if chief else 1.3,
            linestyle=(0, (4, 2)) if beside else "-",
            zorder=4 if chief else 3,
        )
        budget = summary.hops[name].budget_ns
        if budget:
            axes.plot(
                [100.0], [budget], marker="D", markersize=6 if chief else 4, color=colour, zorder=5, clip_on=False
            )
    if summary.spin is not None:
        spin = summary.spin
        axes.plot(
            [2.0, 100.0, 1000.0],
            [max(span, 1) for span in (spin.p50_ns, spin.p99_ns, spin.p999_ns)],
            color=MUTED, linestyle=":", marker="o", markersize=3, linewidth=1.2, label="empty loop there", zorder=2,
        )  # fmt: skip
    axes.plot([], [], marker="D", markersize=4, linestyle="", color=MUTED, label="budget, at p99")
    axes.set_xscale("log")
    axes.set_xlim(1.0, right)
    ticks = [1 / (1 - percent / 100) for percent in NINES if 1 / (1 - percent / 100) <= right * 1.01]
    axes.xaxis.set_major_locator(FixedLocator([*ticks, 2.0]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{100 - 100 / at:.6g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("percentile")
    _latency_axis(axes)
    axes.set_ylim(bottom=10)
    handles, labels = axes.get_legend_handles_labels()
    first = len(hops)  # they were drawn last to first, so that the path lies on top
    order = [*reversed(range(first)), *range(first, len(handles))]
    _legend(axes, [handles[at] for at in order], [labels[at] for at in order])
    return figure


def percentile_curve(histogram: histograms.Histogram) -> tuple[Numbers, Numbers]:
    """(1 / (1 - quantile), value): a point for each value that was recorded. The last is that of the maximum."""
    counts = histogram["count"][0]
    recorded = np.flatnonzero(counts)
    reached = np.cumsum(counts[recorded]).astype(np.float64)
    total = reached[-1]
    values = np.array([int(lib.histogram_highest_equivalent(int(index))) for index in recorded], dtype=np.float64)
    below = np.concatenate(([0.0], reached[:-1]))
    inverse = total / np.maximum(total - below, 1.0)
    return np.append(inverse, total), np.append(np.maximum(values, 1.0), max(values[-1], 1.0))


def _latency_over_time(history: RunHistory, summary: RunSummary) -> Figure | None:
    """The order's way in each interval, and the p99 of its parts."""
    if "order_path" not in history.hops:
        return None
    figure, (above, below) = _two_axes()
    path = history.hops["order_path"]
    above.fill_between(
        path.seconds, np.maximum(path.p50_ns, 1), np.maximum(path.p99_ns, 1), color=BLUE, alpha=0.18, lw=0
    )
    above.plot(path.seconds, path.p50_ns, color=BLUE, label="p50")
    above.plot(path.seconds, path.p99_ns, color=BLUE, linewidth=0.9, alpha=0.9, label="p99")
    above.plot(path.seconds, path.max_ns, color=GREY, linewidth=0, marker=".", markersize=2.5, label="max")
    budget = summary.hops["order_path"].budget_ns if "order_path" in summary.hops else None
    if budget:
        above.axhline(budget, color=RED, linewidth=1, linestyle=(0, (4, 3)), label="budget of the p99")
    above.set_title("order, T0 to T1")
    for name in (part for part in PARTS if part in history.hops):
        label, colour = HOPS[name]
        hop = history.hops[name]
        below.plot(hop.seconds, np.maximum(hop.p99_ns, 1), color=colour, linewidth=1.2, label=label)
    below.set_title("its parts, p99")
    for axes in (above, below):
        _latency_axis(axes)
        _legend_beside(axes)
    _time_axis(below, history)
    return figure


# ---- work --------------------------------------------------------------------------------------------


def _rates(history: RunHistory, summary: RunSummary) -> Figure | None:
    """What came in, and what was made of it."""
    if not history.last("feed.messages"):
        return None
    figure, (above, below) = _two_axes()
    above.fill_between(history.seconds, history.rate("feed.messages"), color=TEAL, alpha=0.25, step="pre", lw=0)
    above.plot(history.seconds, history.rate("feed.messages"), color=TEAL, drawstyle="steps-pre", label="messages in")
    above.set_title("market data, a second")
    for name, label, colour in (
        ("signal.signals", "signals", ORANGE),
        ("risk.approved", "approved", BLUE),
        ("risk.rejected", "rejected", RED),
    ):
        below.plot(history.seconds, history.rate(name), color=colour, drawstyle="steps-pre", linewidth=1.2, label=label)
    below.set_title("decisions, a second")
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        _legend_beside(axes)
    _time_axis(below, history)
    return figure


def _queues(history: RunHistory, summary: RunSummary) -> Figure | None:
    """How far readers were behind, as a part of their ring, and what was refused for want of room."""
    if not summary.queues:
        return None
    figure, axes = _axes()
    colours = [BLUE, ORANGE, GREEN, RED, PURPLE, TEAL]
    for colour, (name, queue) in zip(colours, summary.queues.items(), strict=False):
        ring, reader = name.split(": ")
        lag = history.values(f"ring.{ring}.lag.{reader}")
        share = np.maximum(100.0 * lag / max(queue.capacity, 1), 1e-3)
        axes.plot(history.seconds, share, color=colour, drawstyle="steps-pre", linewidth=1.2, label=name)
    axes.set_yscale("log")
    axes.set_ylim(1e-3, 120)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_title("events not yet read when sampled, as a part of the ring")
    _legend_beside(axes)
    _time_axis(axes, history)
    return figure


# ---- trading -----------------------------------------------------------------------------------------


def _order_flow(history: RunHistory, summary: RunSummary) -> Figure | None:
    """What went to the venue and what came back, and how many orders were open."""
    if not history.last("gateway.new_orders"):
        return None
    figure, (above, below) = _two_axes()
    for name, label, colour in (
        ("gateway.new_orders", "new", BLUE),
        ("gateway.replaces", "replaced", ORANGE),
        ("gateway.cancels", "cancelled", GREY),
        ("gateway.fills", "fills", GREEN),
        ("gateway.rejected", "refused by the venue", RED),
    ):
        if history.last(name):
            rate = history.rate(name)
            above.plot(history.seconds, rate, color=colour, drawstyle="steps-pre", linewidth=1.2, label=label)
    above.set_ylim(bottom=0)
    above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    above.set_title("at the venue, a second")
    opened = history.values("gateway.open_orders")
    below.fill_between(history.seconds, opened, color=PURPLE, alpha=0.25, step="post", lw=0)
    below.plot(history.seconds, opened, color=PURPLE, drawstyle="steps-post", label="open orders")
    below.set_ylim(bottom=0)
    below.set_title("open orders")
    _legend_beside(above)
    _time_axis(below, history)
    return figure


def _rejects(history: RunHistory, summary: RunSummary) -> Figure | None:
    """Which limits said no."""
    reasons = list(summary.rejects.items())[:12]
    if not reasons:
        return None
    figure, axes = _axes(height=0.7 + 0.26 * len(reasons))
    places = np.arange(len(reasons))
    counts = [count for _, count in reasons]
    axes.barh(places, counts, color=RED, alpha=0.75, height=0.62)
    axes.set_yticks(places, [reason.replace("_", " ") for reason, _ in reasons])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    for place, count in zip(places, counts, strict=True):
        axes.annotate(f"{count:,}", (count, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0, max(counts) * 1.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_title("orders that risk refused, by reason")
    return figure


def _money(history: RunHistory, summary: RunSummary) -> Figure | None:
    """Profit and loss, and what it was made with."""
    pnl = history.values("risk.pnl_micros") / MICROS
    if not pnl.any():
        return None
    figure, (above, below) = _two_axes()
    seconds = np.concatenate(([0.0], history.seconds))
    line = np.concatenate(([0.0], pnl))
    above.fill_between(seconds, line, where=(line >= 0).tolist(), color=GREEN, alpha=0.22, interpolate=True, lw=0)
    above.fill_between(seconds, line, where=(line <= 0).tolist(), color=RED, alpha=0.22, interpolate=True, lw=0)
    above.plot(seconds, line, color=GREEN if line[-1] >= 0 else RED)
    above.axhline(0, color=MUTED, linewidth=0.8)
    above.set_title("profit and loss, at the last reference prices")
    gross = history.values("risk.gross_value_micros") / MICROS
    below.plot(history.seconds, gross, color=BLUE, drawstyle="steps-post", label="gross value held")
    below.set_ylim(bottom=0)
    below.set_title("gross value of positions")
    for axes in (above, below):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        _legend_beside(axes, needed=False)
    _time_axis(below, history)
    return figure


DRAWERS: tuple[tuple[str, str, str, Callable[[RunHistory, RunSummary], Figure | None]], ...] = (
    (
        "percentiles",
        "Latency by percentile",
        "Every order-producing event of the run. A diamond is the budget of that hop's p99; dotted, what an empty "
        "loop on the same core saw: no code there could have been quicker.",
        _percentiles,
    ),
    (
        "latency",
        "Latency over time",
        "Each interval on its own. A step in all parts at once is the machine's; in one part, that stage's.",
        _latency_over_time,
    ),
    ("rates", "Rates", "Market data in, and what signal and risk made of it.", _rates),
    ("orders", "Order flow", "Frames to the venue and its answers; orders open when sampled.", _order_flow),
    ("pnl", "Profit and loss", "Cash plus positions at the reference prices that risk knew.", _money),
    ("queues", "Queues", "At the instants of the samples; what happens between two of them is not seen.", _queues),
    ("rejects", "Refused by risk", "The limit that refused an order first.", _rejects),
)


# ---- axes --------------------------------------------------------------------------------------------


def _axes(*, height: float = HEIGHT) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots()


def _two_axes() -> tuple[Figure, tuple[Any, Any]]:
    figure = Figure(figsize=(WIDTH, HEIGHT * 1.35))
    above, below = figure.subplots(2, 1, sharex=True)
    return figure, (above, below)


def _legend_beside(axes: Any, *, needed: bool = True) -> None:
    """To the right, where it hides nothing."""
    if axes.get_legend_handles_labels()[0] and needed:
        _legend(axes, *axes.get_legend_handles_labels())


def _legend(axes: Any, handles: list[Any], labels: list[str]) -> None:
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.005, 1.02), borderaxespad=0, labelspacing=0.45)


def _latency_axis(axes: Any) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: span(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _time_axis(axes: Any, history: RunHistory) -> None:
    last = float(history.seconds[-1]) if len(history.seconds) else 1.0
    axes.set_xlim(0, max(last, 1e-3))
    unit, label = (3600.0, "hours") if last > 3 * 3600 else (60.0, "minutes") if last > 300 else (1.0, "seconds")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:g}"))
    axes.set_xlabel(f"{label} from the start")


def span(value_ns: float) -> str:
    """ "250 ns", "10 us"."""
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if value_ns >= unit:
            return f"{value_ns / unit:g} {name}"
    return f"{value_ns:g} ns"


def short(value: float) -> str:
    """ "20 k", "1.5 M"."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"
