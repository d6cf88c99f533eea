"""The one strategy that every engine here runs, as hotpath's own: compiled, on the path ([signal] native).

Where the top of the book leans past a threshold that it did not lean past before, take the far touch, one share,
immediate or cancel; but not within 200 us of the last order. A venue answers once its market has moved on, and
hotpath has one order at work in an instrument: so the one before is always answered, in every engine.

    lean = (bid - ask) / (bid + ask) of the best quantities, where both sides have one
"""

from __future__ import annotations

from typing import Any

from hotpath.native import (
    NATIVE_ASK_QUANTITY_LOTS,
    NATIVE_BID_QUANTITY_LOTS,
    NATIVE_ORIGIN_TIME_NS,
    strategy_cfunc,
)

THRESHOLD = 0.9
QUIET_NS = 200_000


@strategy_cfunc
def lean(features: Any, ready: Any, market: Any, state: Any) -> Any:
    """1 to buy, -1 to sell, 0 where nothing is new; `state`: how the book leaned before, and the last order's time."""
    bid, ask = market[NATIVE_BID_QUANTITY_LOTS], market[NATIVE_ASK_QUANTITY_LOTS]
    if bid == 0 or ask == 0:
        return 0.0
    leaning = (bid - ask) / (bid + ask)
    side = 1.0 if leaning > THRESHOLD else -1.0 if leaning < -THRESHOLD else 0.0
    before = state[0]
    state[0] = side
    time_ns = market[NATIVE_ORIGIN_TIME_NS]
    if side == 0.0 or side == before or time_ns - state[1] < QUIET_NS:
        return 0.0
    state[1] = time_ns
    return side
