"""A score of your own on the path: a compiled function that the signal stage calls at each event.

    @strategy_cfunc                                          # my_score.py
    def lean(features, ready, market, state):
        if not ready >> FEATURE_IMBALANCE_TOP & 1:
            return 0.0
        return features[FEATURE_IMBALANCE_TOP]

    [signal]
    native = "my_score.py:lean"
    weights = { custom = 1.0 }

C signature (ffi/include/native.h): ``double f(const double *features, uint32_t ready, const int64_t *market,
double *state)``. In numba the pointers are arrays: ``features`` of FEATURES_MAX float64, NaN where the bit in
``ready`` is clear; ``market`` of NATIVE_MARKET_MAX int64; ``state`` of NATIVE_STATE_MAX float64, the function's
own, one set for each instrument. Returns a score in [-1, 1], positive for buying.

It is trusted code. Inside the signal stage an index out of range overwrites the engine's memory; an exception
is printed by numba under the GIL and counts as 0.0. Another compiler will do as well: whatever the reference
names needs an attribute ``address``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ffi import ffi, lib
from ffi.dtypes import enum_values
from hotpath.errors import ConfigError, StageError
from hotpath.user_code import load_object

KEY = "signal.native"
SELF_CHECKS = 3  # calls before the run

# FEATURE_MID, NATIVE_BID_PRICE_TICKS, NORM_EXECUTE, FLAG_SELL ...: constants that numba compiles in.
_CONSTANTS = {
    name: value
    for enum in ("feature_id", "native_market", "event_type", "event_flag")
    for name, value in enum_values(enum).items()
}


def __getattr__(name: str) -> int:
    try:
        return _CONSTANTS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def strategy_cfunc(function: Callable[..., float]) -> Any:
    """Compile a Python function for [signal] native, with numba (``pip install 'hotpath-engine[strategies]'``).

    Returns numba's compiled function; `.ctypes` calls it from Python. Raises StageError without numba, and what
    numba raises when it cannot compile the function.
    """
    numba = _numba()
    types = numba.types
    signature = types.float64(
        types.CPointer(types.float64), types.uint32, types.CPointer(types.int64), types.CPointer(types.float64)
    )
    compiled = numba.njit(error_model="numpy")(function)
    features_max, market_max, state_max = lib.FEATURES_MAX, lib.NATIVE_MARKET_MAX, lib.NATIVE_STATE_MAX

    def native(features: Any, ready: Any, market: Any, state: Any) -> Any:
        return compiled(
            numba.carray(features, features_max),
            ready,
            numba.carray(market, market_max),
            numba.carray(state, state_max),
        )

    native.__name__ = function.__name__
    native.__doc__ = function.__doc__
    return numba.cfunc(signature)(native)


def _numba() -> Any:
    try:
        import numba
    except ImportError:
        raise StageError(
            "a compiled strategy needs numba, which is not installed",
            next_step="pip install 'hotpath-engine[strategies]'",
        ) from None
    return numba


def load_native(reference: str) -> tuple[Any, Any]:
    """(``native_function``, what keeps it alive), checked on a made-up event. Raises ConfigError or StageError."""
    found = load_object(reference, key=KEY)
    address = getattr(found, "address", None)
    if not isinstance(address, int) or not address:
        raise ConfigError(
            f"{KEY}: {reference} is {type(found).__name__}, not a compiled function",
            next_step="decorate it with hotpath.native.strategy_cfunc",
        )
    function = ffi.cast("native_function", address)
    check_native(function, reference)
    return function, found


def check_native(function: Any, reference: str) -> None:
    """Call it as the path will: each result must be a finite number, and equal calls must give equal results.

    A function that crashes takes this process with it, before the run rather than in it.
    """
    masks = (0, 2**lib.FEATURES_MAX - 1)
    results = [[_made_up_call(function, ready=ready) for ready in masks] for _ in range(SELF_CHECKS)]
    if not all(math.isfinite(score) for each in results for score in each):
        raise StageError(f"{KEY}: {reference} returned {results[0]} on a made-up event: not finite")
    if any(each != results[0] for each in results):
        raise StageError(
            f"{KEY}: {reference} returned {results[0]}, then another score on the same event: a replay would differ",
            next_step="keep what it remembers in `state`",
        )


def _made_up_call(function: Any, *, ready: int) -> float:
    event = ffi.new("norm_event *")
    event.header.type = lib.NORM_ADD
    event.price_ticks, event.quantity_lots = 1_000_000, 100
    event.bid_price_ticks, event.ask_price_ticks = 1_000_000, 1_000_100
    event.bid_quantity_lots, event.ask_quantity_lots = 300, 100
    event.bid_depth_lots, event.ask_depth_lots = 900, 700
    value = ffi.new("double[]", [1_000_050.0 + index for index in range(lib.FEATURES_MAX)])
    value[lib.FEATURE_SPREAD] = 100.0
    value[lib.FEATURE_IMBALANCE_TOP], value[lib.FEATURE_IMBALANCE_DEPTH] = 0.5, 0.125
    if not ready:
        value = ffi.new("double[]", [math.nan] * lib.FEATURES_MAX)
    state = ffi.new("double[]", lib.NATIVE_STATE_MAX)
    native = ffi.new("native_strategy *", {"function": function, "state": state})
    return float(lib.native_score(native, event, 0, value, ready))
