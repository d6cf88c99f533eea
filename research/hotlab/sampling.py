"""At which events a model is asked: the trigger that its manifest declares.

An event is *eligible* where the signal stage would look for a decision: fresh, on a two-sided book that is not locked
or crossed, and with the top of the book moved or an execution printed. Of each instrument's eligible events

    book_change   every one
    every_n       the first, then every n-th
    timer         the first, then the first at or after each whole `interval_ns` of origin time since the one before

so that the rows depend on the events alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ffi import lib
from hotlab.schema import Events
from hotpath.registry.manifest import Sampling

PRINTS = (lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE, lib.NORM_TRADE)
Rows = npt.NDArray[np.intp]


def eligible(events: Events, *, instruments: int) -> npt.NDArray[np.bool_]:
    """The events at which the signal stage evaluates."""
    header = events["header"]
    moved = (header["flags"] & lib.FLAG_TOP != 0) | np.isin(header["type"], PRINTS)
    fresh = header["flags"] & lib.FLAG_STALE == 0
    bid, ask = events["bid_price_ticks"], events["ask_price_ticks"]
    return np.asarray((header["instrument"] < instruments) & moved & fresh & (bid != 0) & (ask != 0) & (bid < ask))


def sample_rows(events: Events, sampling: Sampling, *, instruments: int) -> Rows:
    """Rows at which the model is asked, in order."""
    rows = np.flatnonzero(eligible(events, instruments=instruments))
    if sampling.trigger == "book_change":
        return rows
    owner = events["header"]["instrument"][rows]
    kept = [_thinned(events, rows[owner == each], sampling) for each in np.unique(owner)]
    return np.sort(np.concatenate(kept)) if kept else rows


def _thinned(events: Events, rows: Rows, sampling: Sampling) -> Rows:
    """Those of one instrument."""
    if sampling.trigger == "every_n":
        return rows[:: sampling.every]
    period = events["header"]["origin_time_ns"][rows] // np.uint64(sampling.interval_ns)
    latest = np.maximum.accumulate(period)  # time that runs back is of the interval that is open
    first = np.ones(len(rows), bool)
    first[1:] = latest[1:] > latest[:-1]
    return rows[first]
