"""Compiled: a score of one's own on the path, called from C at each event (needs numba).

    [signal]
    native = "hotpath.examples.strategies.microprice:microprice"
    weights = { microprice = 0.0, momentum = 0.0, reversion = 0.0, custom = 1.0 }

How far the microprice lies from the mid, in half spreads, is where the next trade is likely; averaged over the last
events, since one cancelled order says little; and less when it already holds much. The built-in machinery does the
rest: threshold, orders, cancels, as [signal] says.
"""

from __future__ import annotations

from typing import Any

from hotpath.native import (
    FEATURE_MICROPRICE,
    FEATURE_MID,
    FEATURE_SPREAD,
    NATIVE_POSITION_LOTS,
    strategy_cfunc,
)

WEIGHT = 0.2  # of the newest event in the average
POSITION_FULL = 1000.0  # lots that halve a score of their own direction


@strategy_cfunc
def microprice(features: Any, ready: int, market: Any, state: Any) -> float:
    """Score in [-1, 1]; state[0] holds the average."""
    if not ready >> FEATURE_MICROPRICE & 1 or features[FEATURE_SPREAD] <= 0.0:
        return 0.0
    lean = 2.0 * (features[FEATURE_MICROPRICE] - features[FEATURE_MID]) / features[FEATURE_SPREAD]
    state[0] += WEIGHT * (lean - state[0])
    held = market[NATIVE_POSITION_LOTS] / POSITION_FULL
    score: float = state[0]
    if score * held > 0.0:
        score /= 1.0 + abs(held)
    return score
