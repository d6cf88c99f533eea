"""What each feature means: one readable NumPy function each, from its textbook definition.

These are the references that ``ffi/src/feature.c`` is held to, at every event, NaN positions included
(tests/property/test_features.py). They look at the whole day at once and share nothing with the kernel
but the names.

Events are arrays of ``ffi.dtypes.dtype_of("norm_event")`` in order, all of one instrument. Every feature is a
float64 array of the same length: NaN where there is not enough data yet, and on stale events. Prices are in
ticks. Which events count as quote, sample, trade and bar is said once, in ``ffi/include/feature.h``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ffi import ffi, lib

Events = npt.NDArray[np.void]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

FEATURE_NAMES: tuple[str, ...] = tuple(
    name.removeprefix("FEATURE_").lower()
    for value, name in sorted(ffi.typeof("enum feature_id").elements.items())
    if value < lib.FEATURES_MAX
)


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Windows and clocks of the features, by the names of the kernel's ``feature_config``.

    Exactly one of `bar_ns` and `bar_trades` is not 0.
    """

    bar_ns: int
    bar_trades: int
    sample_every: int
    ema_fast: int
    ema_slow: int
    zscore_window: int
    flow_window: int
    sma_fast: int
    sma_slow: int
    rsi_period: int
    macd_fast: int
    macd_slow: int
    macd_signal: int
    atr_period: int
    volatility_bars: int


# ---- which events count -----------------------------------------------------------------------------


def _has_flag(events: Events, flag: int) -> Mask:
    return np.asarray((events["header"]["flags"] & flag) != 0)


def _in_range(values: npt.NDArray[np.int64]) -> Mask:
    return np.asarray((values > 0) & (values <= lib.FEATURE_VALUE_MAX))


def is_fresh(events: Events) -> Mask:
    """Events whose book can be trusted."""
    return ~_has_flag(events, lib.FLAG_STALE)


def is_quoted(events: Events) -> Mask:
    """Fresh events that leave a two-sided book."""
    bid, ask = events["bid_price_ticks"], events["ask_price_ticks"]
    sides = _in_range(bid) & _in_range(ask) & (bid < ask)
    quantities = _in_range(events["bid_quantity_lots"]) & _in_range(events["ask_quantity_lots"])
    return is_fresh(events) & sides & quantities


def is_trade(events: Events) -> Mask:
    """Fresh events that are printed executions."""
    kinds = [lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE, lib.NORM_TRADE, lib.NORM_CROSS]
    printed = np.isin(events["header"]["type"], kinds) & _has_flag(events, lib.FLAG_PRINTABLE)
    return is_fresh(events) & printed & _in_range(events["price_ticks"]) & _in_range(events["quantity_lots"])


def sample_rows(events: Events, *, sample_every: int) -> Rows:
    """Rows of the samples: the first, then each `sample_every`-th event at which the top of the book moved."""
    rows = np.flatnonzero(is_quoted(events))
    if not len(rows):
        return rows
    names = ("bid_price_ticks", "ask_price_ticks", "bid_quantity_lots", "ask_quantity_lots")
    top = np.column_stack([events[name][rows] for name in names])
    moved = np.ones(len(rows), dtype=bool)
    moved[1:] = (top[1:] != top[:-1]).any(axis=1)
    return rows[moved][::sample_every]


def held(events: Events, *, rows: Rows, values: Floats) -> Floats:
    """Spread `values`, which became known at `rows`, over all events: each holds until the next."""
    known = np.searchsorted(rows, np.arange(len(events)), side="right")
    spread = np.concatenate([[np.nan], values])[known]
    return np.where(is_fresh(events), spread, np.nan)


# ---- the quote --------------------------------------------------------------------------------------


def mid(events: Events) -> Floats:
    """Half-way between best bid and best offer, ticks."""
    return np.where(is_quoted(events), (events["bid_price_ticks"] + events["ask_price_ticks"]) / 2, np.nan)


def spread(events: Events) -> Floats:
    """Best offer less best bid, ticks."""
    return np.where(is_quoted(events), events["ask_price_ticks"] - events["bid_price_ticks"], np.nan)


def microprice(events: Events) -> Floats:
    """Mean of the best prices, each weighted by the quantity on the *other* side, ticks."""
    quoted = is_quoted(events)
    bid_lots, ask_lots = events["bid_quantity_lots"], events["ask_quantity_lots"]
    weighted = events["bid_price_ticks"] * 1.0 * ask_lots + events["ask_price_ticks"] * 1.0 * bid_lots
    return np.where(quoted, weighted / np.where(quoted, bid_lots + ask_lots, 1), np.nan)


def _imbalance(bid_lots: npt.NDArray[np.int64], ask_lots: npt.NDArray[np.int64], where: Mask) -> Floats:
    return np.where(where, (bid_lots - ask_lots) / np.where(where, bid_lots + ask_lots, 1), np.nan)


def imbalance_top(events: Events) -> Floats:
    """(bid - ask) / (bid + ask) of the quantities at the best prices, in (-1, 1)."""
    return _imbalance(events["bid_quantity_lots"], events["ask_quantity_lots"], is_quoted(events))


def imbalance_depth(events: Events) -> Floats:
    """The same over the best DEPTH_LEVELS levels of each side."""
    bid_lots, ask_lots = events["bid_depth_lots"], events["ask_depth_lots"]
    return _imbalance(bid_lots, ask_lots, is_quoted(events) & (bid_lots > 0) & (ask_lots > 0))


# ---- trades -----------------------------------------------------------------------------------------


def _signed_trades(events: Events) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Rows and signed lots of the trades whose aggressor is known: positive when a resting sell was hit."""
    kinds = [lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE]
    known = np.isin(events["header"]["type"], kinds) & ~_has_flag(events, lib.FLAG_UNKNOWN_ORDER)
    rows = np.flatnonzero(is_trade(events) & known)
    sign = np.where(_has_flag(events, lib.FLAG_SELL)[rows], 1, -1)
    return rows, sign * events["quantity_lots"][rows]


def trade_flow(events: Events, *, flow_window: int) -> Floats:
    """Lots that aggressors bought less lots they sold, over the last `flow_window` trades with a known aggressor."""
    rows, signed_lots = _signed_trades(events)
    return held(events, rows=rows, values=_rolling(signed_lots, flow_window).sum(axis=1).astype(np.float64))


def trade_imbalance(events: Events, *, flow_window: int) -> Floats:
    """The flow over all the lots of the same trades, in [-1, 1]."""
    rows, signed_lots = _signed_trades(events)
    windows = _rolling(signed_lots, flow_window)
    return held(events, rows=rows, values=windows.sum(axis=1) / np.abs(windows).sum(axis=1))


def vwap(events: Events) -> Floats:
    """Volume-weighted mean price of every trade so far, ticks."""
    rows = np.flatnonzero(is_trade(events))
    price, lots = events["price_ticks"][rows], events["quantity_lots"][rows]
    return held(events, rows=rows, values=np.cumsum(price * lots) / np.cumsum(lots))


# ---- samples of the mid -----------------------------------------------------------------------------


def _rolling(values: npt.NDArray[np.generic], window: int) -> npt.NDArray[np.float64]:
    """The last `window` values at each position; NaN rows until there are so many."""
    padded = np.concatenate([np.full(window - 1, np.nan), values.astype(np.float64)])
    return sliding_window_view(padded, window) if len(values) else np.empty((0, window))


def _exponential_average(values: Floats, period: int) -> Floats:
    """e = w v + (1 - w) e with w = 2 / (period + 1), seeded by the first value; NaN for the first period - 1."""
    weight = 2 / (period + 1)
    averages = values.copy()
    for i in range(1, len(values)):
        averages[i] = weight * values[i] + (1 - weight) * averages[i - 1]
    averages[: period - 1] = np.nan
    return averages


def ema(events: Events, *, period: int, sample_every: int) -> Floats:
    """Exponential average of the sampled mids, ticks."""
    rows = sample_rows(events, sample_every=sample_every)
    return held(events, rows=rows, values=_exponential_average(mid(events)[rows], period))


def zscore(events: Events, *, window: int, sample_every: int) -> Floats:
    """How many (population) standard deviations the last sampled mid lies from the mean of its window.

    0 where the window is flat. Only distances matter, so prices are taken from the first one, which keeps
    the deviation's digits.
    """
    rows = sample_rows(events, sample_every=sample_every)
    mids = mid(events)[rows]
    windows = _rolling(mids - mids[:1], window)
    deviation = windows.std(axis=1)
    flat = np.ptp(windows, axis=1) == 0
    scores = (windows[:, -1] - windows.mean(axis=1)) / np.where(flat, 1, deviation)
    return held(events, rows=rows, values=np.where(flat, 0.0, scores))


# ---- bars -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bars:
    """Closed bars of the mid, ticks; `row` is the event at which each became known."""

    row: Rows
    high: Floats
    low: Floats
    close: Floats


def bars(events: Events, *, bar_ns: int = 0, bar_trades: int = 0) -> Bars:
    """Cut the day into bars by origin time or by trades. The bar in progress at the end is none."""
    rows = np.flatnonzero(is_fresh(events))
    mids = mid(events)[rows]
    if bar_ns:
        interval = np.maximum.accumulate(events["header"]["origin_time_ns"][rows] // np.uint64(bar_ns))
        ends = np.flatnonzero(np.diff(interval)) + 1
        known_at = rows[ends]  # the first event after it
    else:
        ends = np.flatnonzero(is_trade(events)[rows])[bar_trades - 1 :: bar_trades] + 1
        known_at = rows[ends - 1]  # its last trade
    closed = []
    for start, end, row in zip([0, *ends[:-1]], ends, known_at, strict=False):
        seen = mids[start:end][~np.isnan(mids[start:end])]
        if len(seen):
            closed.append((row, seen.max(), seen.min(), seen[-1]))
    known, high, low, close = np.array(closed, dtype=np.float64).reshape(-1, 4).T
    return Bars(row=known.astype(np.intp), high=high, low=low, close=close)


def _wilder_average(values: Floats, period: int) -> Floats:
    """Wilder's smoothing: the mean of the first `period` values, then ((period - 1) a + v) / period."""
    averages = np.full(len(values), np.nan)
    if len(values) >= period:
        averages[period - 1] = values[:period].mean()
    for i in range(period, len(values)):
        averages[i] = ((period - 1) * averages[i - 1] + values[i]) / period
    return averages


def sma(closes: Floats, *, period: int) -> Floats:
    """Mean of the last `period` closes."""
    return np.asarray(_rolling(closes, period).mean(axis=1))


def rsi(closes: Floats, *, period: int) -> Floats:
    """Wilder's relative strength: 100 - 100 / (1 + average gain / average loss); 50 where nothing moved."""
    change = np.diff(closes)
    gain = _wilder_average(np.maximum(change, 0), period)
    loss = _wilder_average(np.maximum(-change, 0), period)
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = 100 - 100 / (1 + gain / loss)
    strength = np.where((gain == 0) & (loss == 0), 50.0, strength)
    return _after_first_bar(closes, strength)


def macd(closes: Floats, *, fast: int, slow: int) -> Floats:
    """Fast less slow exponential average of the closes, once both are ready."""
    return _exponential_average(closes, fast) - _exponential_average(closes, slow)


def macd_signal(closes: Floats, *, fast: int, slow: int, signal: int) -> Floats:
    """Exponential average of the MACD line, seeded by the line's first ready value."""
    line = macd(closes, fast=fast, slow=slow)
    return np.concatenate([line[: slow - 1], _exponential_average(line[slow - 1 :], signal)])


def atr(day: Bars, *, period: int) -> Floats:
    """Wilder's average of the true range: the bar's range widened to the close before it."""
    before = day.close[:-1]
    true_range = np.maximum(day.high[1:], before) - np.minimum(day.low[1:], before)
    return _after_first_bar(day.close, _wilder_average(true_range, period))


def volatility(closes: Floats, *, period: int) -> Floats:
    """Realised volatility over `period` bars: the root of the summed squared log returns.

    Not annualised: multiply by sqrt(bars per year / period).
    """
    squares = np.diff(np.log(closes)) ** 2
    return _after_first_bar(closes, np.sqrt(_rolling(squares, period).sum(axis=1)))


def _after_first_bar(closes: Floats, of_changes: Floats) -> Floats:
    """Values of changes between bars, laid beside the bars: the first bar has none before it."""
    return np.concatenate([np.full(min(len(closes), 1), np.nan), of_changes])


# ---- all of them ------------------------------------------------------------------------------------


def reference(events: Events, config: FeatureConfig) -> dict[str, Floats]:
    """Every feature of one instrument's events by name, each a float64 array as long as `events`."""
    every = {"sample_every": config.sample_every}
    day = bars(events, bar_ns=config.bar_ns, bar_trades=config.bar_trades)
    macd_line = macd(day.close, fast=config.macd_fast, slow=config.macd_slow)
    signal_line = macd_signal(day.close, fast=config.macd_fast, slow=config.macd_slow, signal=config.macd_signal)
    by_bar = {
        "sma_fast": sma(day.close, period=config.sma_fast),
        "sma_slow": sma(day.close, period=config.sma_slow),
        "rsi": rsi(day.close, period=config.rsi_period),
        "macd": macd_line,
        "macd_signal": signal_line,
        "atr": atr(day, period=config.atr_period),
        "volatility": volatility(day.close, period=config.volatility_bars),
    }
    return {
        "mid": mid(events),
        "spread": spread(events),
        "microprice": microprice(events),
        "imbalance_top": imbalance_top(events),
        "imbalance_depth": imbalance_depth(events),
        "trade_flow": trade_flow(events, flow_window=config.flow_window),
        "trade_imbalance": trade_imbalance(events, flow_window=config.flow_window),
        "vwap": vwap(events),
        "ema_fast": ema(events, period=config.ema_fast, **every),
        "ema_slow": ema(events, period=config.ema_slow, **every),
        "zscore": zscore(events, window=config.zscore_window, **every),
        **{name: held(events, rows=day.row, values=values) for name, values in by_bar.items()},
    }
