"""A curve: what one figure does while one thing grows, and where it bends.

    y |            .'        two straight pieces that meet, fitted to the medians; a bend is claimed
      |          .'          only where they explain clearly more than one piece does, and where the
      | ...----''            slope changes by more than the figure scatters
      +------------- x
               ^ bend

On logarithmic axes a slope is a factor for each doubling; on plain ones it is ns for each one more.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

POINTS_MIN = 5  # two pieces and a bend are four parameters
F_MIN = 10.0  # of the second piece: how much more it explains than chance would
DOUBLING_CHANGE_MIN = 0.05  # of the factor of a doubling
CHANGE_MIN = 0.25  # of the steeper slope, on plain axes
KNOTS = 60  # tried between the second point and the last but one
Scale = Literal["log", "plain"]


@dataclass(frozen=True)
class Point:
    """One figure, measured again and again; modelled ones have a single value."""

    x: float
    repeats: tuple[float, ...]
    modelled: bool = False

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.repeats)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the repeats lies below the first, and above the second."""
        low, high = np.quantile(self.repeats, (0.25, 0.75))
        return float(low), float(high)


@dataclass(frozen=True)
class Bend:
    """Where the slope changes. On logarithmic axes the slopes are factors of a doubling."""

    x: float
    before: float
    after: float


@dataclass
class Line:
    """Points of one way of doing it."""

    name: str
    points: list[Point]

    @property
    def xs(self) -> list[float]:
        """Where it was measured."""
        return [point.x for point in self.points]

    @property
    def values(self) -> list[float]:
        """The medians."""
        return [point.value for point in self.points]

    def measured(self) -> Line:
        """Without what was modelled."""
        return Line(self.name, [point for point in self.points if not point.modelled])


@dataclass
class Curve:
    """One question's answer. `why` says what bends it; `limits` what could not be measured."""

    name: str
    title: str
    topology: str
    x_label: str
    y_label: str
    unit: Literal["ns", "per second"]
    lines: list[Line]
    scale: Scale = "log"
    y_scale: Scale = "plain"
    why: str = ""
    limits: list[str] = field(default_factory=list)
    control: str = ""  # what an empty loop on the same processor saw meanwhile
    facts: dict[str, Any] = field(default_factory=dict)  # beside the points, for machines

    def bends(self) -> dict[str, Bend | None]:
        """Each line's bend, of what was measured."""
        return {
            line.name: find_bend(line.measured().xs, line.measured().values, scale=self.scale) for line in self.lines
        }

    def records(self) -> list[dict[str, Any]]:
        """A line for each line of the plot."""
        bends = self.bends()
        return [
            {
                "line": line.name,
                "unit": self.unit,
                "points": [
                    {"x": point.x, "value": point.value, "repeats": list(point.repeats), "modelled": point.modelled}
                    for point in line.points
                ],
                "bend": bends[line.name],
                "why": self.why,
                "control": self.control,
                **self.facts,
            }
            for line in self.lines
        ]


def find_bend(xs: Sequence[float], ys: Sequence[float], *, scale: Scale = "log") -> Bend | None:
    """The meeting point of two straight pieces; None where one piece says as much, or points are too few."""
    if len(xs) < POINTS_MIN or min(ys) <= 0:
        return None
    log = scale == "log"
    x, y = (np.log2(each) if log else np.asarray(each, np.float64) for each in (xs, ys))
    _, whole = _fit(x, y, None)
    knots = np.linspace(x[1], x[-2], KNOTS)
    pieces = [(_fit(x, y, float(knot)), float(knot)) for knot in knots]
    ((_, before, change), error), knot = min(pieces, key=lambda each: each[0][1])
    scatter = max(error, 1e-9) / max(len(xs) - 4, 1)
    if (whole - error) / 2 / scatter < F_MIN:
        return None
    after = before + change
    if log:
        factors = float(2**before), float(2**after)
        return Bend(float(2**knot), *factors) if abs(factors[1] - factors[0]) >= DOUBLING_CHANGE_MIN else None
    return Bend(knot, before, after) if abs(change) >= CHANGE_MIN * max(abs(before), abs(after)) else None


def _fit(x: Any, y: Any, knot: float | None) -> tuple[tuple[float, ...], float]:
    """Offset, slope and change of slope at the knot; what is left of the squares."""
    columns = [np.ones_like(x), x] + ([] if knot is None else [np.maximum(0.0, x - knot)])
    matrix = np.stack(columns, axis=1)
    solved = np.linalg.lstsq(matrix, y, rcond=None)[0]
    return tuple(map(float, solved)), float(np.sum((y - matrix @ solved) ** 2))


def slope(line: Line, *, scale: Scale) -> float:
    """One piece over all of a line: the factor of a doubling, or the change for one more."""
    measured = line.measured()
    log = scale == "log"
    x, y = (np.log2(each) if log else np.asarray(each, np.float64) for each in (measured.xs, measured.values))
    (_, found), _ = _fit(x, y, None)
    return float(2**found) if log else found


def bend_text(line: Line, bend: Bend | None, *, scale: Scale, unit: str, of: str) -> str:
    """The bend of a line in words. `of` names what grows."""
    if len(line.measured().points) < 2:
        return "too few points for a slope"
    each: Callable[[float], str] = (
        (lambda found: f"x{found:.2f} a doubling") if scale == "log" else (lambda found: f"{found:+.1f} {unit} each")
    )
    if bend is None:
        return f"no bend: {each(slope(line, scale=scale))}"
    return f"bends at about {count_text(bend.x)} {of}: {each(bend.before)} before, {each(bend.after)} after"


def count_text(value: float) -> str:
    """Two digits of a count: 14, 1,200, 2.4 M."""
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    if value < 100:
        return f"{value:.3g}"
    magnitude = 10 ** (len(str(int(value))) - 2)
    return f"{round(value / magnitude) * magnitude:,}"
