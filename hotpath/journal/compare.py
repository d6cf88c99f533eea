"""``hotpath journal diff``: where two journals part, ring by ring, field by field.

What a run measured differs each time (when an event was published, how long a hop took) and is left out unless
asked for; what it decided must not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hotpath.journal.reader import Journal

MEASURED = {"publish_time_ns", "ingress_time_ns", "feed_ns", "signal_ns"}
STAMP = "header.stamp"
PIECE = 1 << 16


class RingDifference(Struct):
    """How one ring of two journals compares."""

    ring: str
    events: tuple[int, int]
    different: int  # events of one sequence whose fields differ
    first: int | None  # the first sequence at which they part
    fields: dict[str, int]  # how often each field differs
    values: dict[str, tuple[str, str]]  # at the first: a field's two values

    @property
    def same(self) -> bool:
        """Nothing differs."""
        return self.first is None


def compare(left: Path, right: Path, *, rings: Sequence[str] = (), measured: bool = False) -> list[RingDifference]:
    """Compare every ring that either has, or those named."""
    a, b = Journal(left), Journal(right)
    names = rings or sorted({*a.rings, *b.rings})
    return [_compare_ring(a, b, ring, measured=measured) for ring in names]


def _compare_ring(a: Journal, b: Journal, ring: str, *, measured: bool) -> RingDifference:
    counts = a.count(ring), b.count(ring)
    begin, end = max(a.first(ring), b.first(ring)), min(a.next(ring), b.next(ring))
    result = RingDifference(ring, counts, 0, None, {}, {})
    for at in range(begin, end, PIECE):
        upto = min(at + PIECE, end)
        left, right = a.events(ring, at, upto), b.events(ring, at, upto)
        if len(left) != len(right):  # a hole in one of them
            result.first = at if result.first is None else result.first
            result.different += abs(len(left) - len(right))
            continue
        _compare_events(left, right, at, result, measured=measured)
    if result.first is None and a.next(ring) != b.next(ring):
        result.first = end
    return result


def _compare_events(
    left: npt.NDArray[Any], right: npt.NDArray[Any], at: int, result: RingDifference, *, measured: bool
) -> None:
    differs = np.zeros(len(left), bool)
    by_field = {}
    for name, a, b in _columns(left, right):
        if name == STAMP or (not measured and name.rpartition(".")[2] in MEASURED):
            continue
        same = (a == b) | ((a != a) & (b != b)) if a.dtype.kind == "f" else a == b
        unequal = ~(same.all(axis=1) if same.ndim == 2 else same)
        if unequal.any():
            by_field[name] = unequal
            result.fields[name] = result.fields.get(name, 0) + int(unequal.sum())
            differs |= unequal
    result.different += int(differs.sum())
    if result.first is None and differs.any():
        place = int(np.flatnonzero(differs)[0])
        result.first = at + place
        columns = {name: (str(a[place].tolist()), str(b[place].tolist())) for name, a, b in _columns(left, right)}
        result.values = {name: columns[name] for name, unequal in by_field.items() if unequal[place]}


def _columns(left: npt.NDArray[Any], right: npt.NDArray[Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    found = []
    for name in left.dtype.names or ():
        if left[name].dtype.fields:
            found += _columns(left[name], right[name], f"{prefix}{name}.")
        else:
            found.append((prefix + name, left[name], right[name]))
    return found
