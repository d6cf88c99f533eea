"""What would have been right to know: labels of events, each with the time at which it was known.

Every function looks at one instrument's decision rows: `time_ns` (never falling), `mid` (ticks, the mean of bid and ask
after the row). It returns a value for each row, NaN where the day ends first, and `end_ns`: the origin time of the
last event that the value depends on. Whoever splits train from test must keep the two apart by that time
(hotlab/walk.py), or the future leaks.

    fixed_horizon    mid at t + horizon less mid at t, ticks
    triple_barrier   +1, -1 or 0: whether mid first rose by `up`, fell by `down`, or did neither for `horizon`
    queue_aware      the move of fixed_horizon, where an order that joined the queue on the side that gains by it would
                     have been filled within the horizon; else 0. A move that nobody in the queue could have had
                     is none.

Slow oracles stand in tests/unit/test_labels.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ffi import lib
from hotlab.schema import Events

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]
EXECUTIONS = (lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE)


@dataclass(frozen=True)
class Labelled:
    """Values, and when each was known."""

    value: Floats
    end_ns: Times


def fixed_horizon(time_ns: Times, mid: Floats, *, horizon_ns: int) -> Labelled:
    """Mid as of t + horizon (of the last row up to then) less mid at t, ticks; NaN once the rows end before that."""
    at = np.searchsorted(time_ns, time_ns + horizon_ns, side="right") - 1
    known = time_ns + horizon_ns <= (time_ns[-1] if len(time_ns) else 0)
    return Labelled(np.where(known, mid[at] - mid, np.nan), time_ns + horizon_ns)


def triple_barrier(time_ns: Times, mid: Floats, *, up_ticks: float, down_ticks: float, horizon_ns: int) -> Labelled:
    """+1 where a later row within the horizon is first at mid + up or above, -1 where first at mid - down or below, 0
    where none is; NaN where the rows end before either a barrier or the horizon."""
    count = len(time_ns)
    value, end = np.full(count, np.nan), time_ns + horizon_ns
    last_ns = time_ns[-1] if count else 0
    until = np.searchsorted(time_ns, time_ns + horizon_ns, side="right")
    for row in range(count):
        ahead = mid[row + 1 : until[row]]
        touched = np.flatnonzero((ahead >= mid[row] + up_ticks) | (ahead <= mid[row] - down_ticks))
        if len(touched):
            first = int(touched[0])
            value[row] = 1.0 if ahead[first] >= mid[row] + up_ticks else -1.0
            end[row] = time_ns[row + 1 + first]
        elif end[row] <= last_ns:
            value[row] = 0.0
    return Labelled(value, end)


def queue_aware(events: Events, rows: Rows, *, horizon_ns: int) -> Labelled:
    """The move of `fixed_horizon` over `rows` of one instrument's `events`, 0 where its queue would not have filled.

    An order that joins the best bid stands behind all that is displayed there. It is filled, within the horizon, once
    more than that was executed at its price (cancellations ahead of it are not counted on), or when an execution of a
    resting buy, or the best offer, came to its price or below: the market went through it. Likewise at the offer.
    """
    time_ns = events["header"]["origin_time_ns"].astype(np.int64)
    mid = (events["bid_price_ticks"] + events["ask_price_ticks"]) / 2
    move = fixed_horizon(time_ns[rows], mid[rows], horizon_ns=horizon_ns)
    value = move.value.copy()
    ends = np.searchsorted(time_ns, time_ns[rows] + horizon_ns, side="right")
    for place in np.flatnonzero(np.nan_to_num(value) != 0).tolist():
        later = events[rows[place] + 1 : ends[place]]
        if not _fills(events[rows[place]], later, buy=value[place] > 0):
            value[place] = 0.0
    return Labelled(value, move.end_ns)


def _fills(now: np.void, later: Events, *, buy: bool) -> bool:
    """Whether an order that joins the best price of its side now is filled by the later events."""
    header = later["header"]
    printed = np.isin(header["type"], EXECUTIONS) & (header["flags"] & lib.FLAG_PRINTABLE != 0)
    resting_sell = header["flags"] & lib.FLAG_SELL != 0
    price, lots = later["price_ticks"], later["quantity_lots"]
    if buy:
        own, ahead = now["bid_price_ticks"], now["bid_quantity_lots"]
        ours = printed & ~resting_sell
        through = (ours & (price < own)) | ((later["ask_price_ticks"] > 0) & (later["ask_price_ticks"] <= own))
    else:
        own, ahead = now["ask_price_ticks"], now["ask_quantity_lots"]
        ours = printed & resting_sell
        through = (ours & (price > own)) | (later["bid_price_ticks"] >= own)
    return bool(through.any()) or int(lots[ours & (price == own)].sum()) > int(ahead)
