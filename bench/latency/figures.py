"""The plots of the trend page, in the style of `hotpath report`."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hotpath.history.figures import BLUE, HEIGHT, STYLE, WIDTH, _svg


def trend(name: str, values_ns: list[float]) -> str:
    """Head's figure over jobs, as an SVG for a page."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.add_subplot()
        axes.plot(range(1, len(values_ns) + 1), values_ns, color=BLUE, marker="o", markersize=3)
        axes.set_ylim(bottom=0, top=max(values_ns) * 1.15)
        axes.set_xlabel("job")
        axes.set_ylabel("ns")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _svg(figure, name)
