"""The plots, in the style of `hotpath report`: medians, quartiles, bends; what is modelled is hollow and dashed."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.harness import ns_text
from bench.scale.curve import Curve, count_text
from hotpath.history.figures import BLUE, GREEN, MUTED, ORANGE, STYLE, WIDTH, Picture, _png, _svg

HEIGHT = 3.6
COLOURS = (BLUE, ORANGE, GREEN)


def draw(curve: Curve) -> Picture:
    """One curve."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.add_subplot()
        bends = curve.bends()
        for line, colour in zip(curve.lines, COLOURS, strict=False):
            axes.plot(
                line.xs,
                line.values,
                color=colour,
                linestyle=":" if len(line.measured().points) < len(line.points) else "-",
                label=line.name,
            )
            for point in line.points:
                face = "white" if point.modelled else colour
                axes.plot(point.x, point.value, marker="o", markersize=4, color=colour, markerfacecolor=face)
                if not point.modelled:
                    axes.vlines(point.x, *point.quartiles, color=colour, linewidth=3, alpha=0.35)
            if bend := bends[line.name]:
                axes.axvline(bend.x, color=colour, linewidth=0.8, linestyle=(0, (1, 3)))
        if any(point.modelled for line in curve.lines for point in line.points):
            axes.plot(
                [], [], color=MUTED, marker="o", markersize=4, markerfacecolor="white", linestyle=":", label="modelled"
            )
        if any(bends.values()):
            axes.plot([], [], color=MUTED, linewidth=0.8, linestyle=(0, (1, 3)), label="bend")
        if curve.scale == "log":
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
        if curve.y_scale == "log":
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(bottom=0)
        each = ns_text if curve.unit == "ns" else count_text
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: each(value)))
        axes.set_xlabel(curve.x_label)
        axes.set_ylabel(curve.y_label)
        axes.legend()
        return Picture(curve.name, curve.title, curve.why, _svg(figure, curve.title), _png(figure))
