"""Indicators beside TA-Lib, numba and talipp: SMA, RSI, MACD with its signal line, and ATR over one series of closes.

    whole series   hotpath: the feature kernel from C, bar by bar      TA-Lib: Function API      numba: one loop
    bar by bar     hotpath: one cffi call a bar from Python            TA-Lib: Streaming API     talipp

The kernel always computes all eighteen of its features; the others only the six compared. Where warm-up is seeded
differently (TA-Lib's MACD starts from simple averages), values are compared once the difference has died away.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness import OUT, BenchError, Options, compile_program, json_lines, run_program
from bench.peers.alone import alone
from bench.peers.rows import Figures

Floats = npt.NDArray[np.float64]
NAMES = ("sma_fast", "sma_slow", "rsi", "macd", "macd_signal", "atr")
SMA_FAST, SMA_SLOW, RSI, MACD_FAST, MACD_SLOW, MACD_SIGNAL, ATR = 10, 30, 14, 12, 26, 9, 14
WARM = 1000  # bars after which the way an average was seeded no longer shows
TOLERANCE = 1e-6  # ticks, and points of the RSI
HISTORY = 100  # bars that the streaming interfaces are opened with


def closes_file(bars: int) -> Path:
    """A seeded walk in even ticks, as int64."""
    path = OUT / "inputs" / f"closes-{bars}.i64"
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = np.random.default_rng(7).integers(-5, 6, bars) * 2
    (100_000 * 10 + np.cumsum(steps)).astype(np.int64).tofile(path)
    return path


def held(mine: str, other: str, what: str) -> str:
    """Both sets of values, the same after warming up. Raises BenchError; says how far they are apart at most."""
    a, b = np.load(mine)[WARM:], np.load(other)[WARM:]
    apart = float(np.abs(a - b).max())
    if not apart <= TOLERANCE:
        raise BenchError(f"{what}: values differ by {np.abs(a - b).max(axis=0)} ({NAMES})")
    return f"{len(a):,} bars within {max(apart, 1e-12):.0e}"


def whole(options: Options, rival: str) -> Figures:
    """ns a bar over an array."""
    bars = options.pick(smoke=20_000, quick=200_000, full=1_000_000)
    rounds = options.pick(smoke=2, quick=10, full=20)
    closes, values, mine, other = closes_file(bars), OUT / "features.bin", OUT / "features.npy", OUT / f"{rival}.npy"
    program = compile_program("peers/programs/feature_bars.c", "feature", "feature_math")
    (ours,) = json_lines(run_program(program, closes, rounds, values, cpu=options.engine_cpu))
    save_named(values, mine)
    theirs = alone(
        f"bench.peers.indicators:{rival}_whole",
        cpu=options.engine_cpu,
        closes=str(closes),
        rounds=rounds,
        target=str(other),
    )
    return Figures(ours=ours["ns_per_bar"], theirs=theirs["ns_per_bar"], verified=held(str(mine), str(other), rival))


def each(options: Options, rival: str) -> Figures:
    """ns a bar, one bar at a time from Python."""
    bars = options.pick(smoke=5_000, quick=20_000, full=100_000)
    closes, mine, other = closes_file(bars), OUT / "features.npy", OUT / f"{rival}.npy"
    ours, theirs = (
        alone(f"bench.peers.indicators:{name}_each", cpu=options.engine_cpu, closes=str(closes), target=str(target))
        for name, target in (("hotpath", mine), (rival, other))
    )
    return Figures(ours=ours["ns_per_bar"], theirs=theirs["ns_per_bar"], verified=held(str(mine), str(other), rival))


def save_named(values: Path, target: Path) -> None:
    """Of all the kernel's features, those compared."""
    from hotlab.features import FEATURE_NAMES

    every = np.fromfile(values, np.float64).reshape(-1, len(FEATURE_NAMES))
    np.save(target, every[:, [FEATURE_NAMES.index(name) for name in NAMES]])


def best_of(rounds: int, run: Callable[[], Any], bars: int) -> tuple[float, Any]:
    """(ns a bar, what it gave), after one run that is not counted."""
    result, best = run(), float("inf")
    for _ in range(rounds):
        gc.collect()
        began = time.perf_counter_ns()
        result = run()
        best = min(best, time.perf_counter_ns() - began)
    return best / bars, result


# ---- over an array -------------------------------------------------------------------------------------------------


def talib_whole(closes: str, rounds: int, target: str) -> dict[str, Any]:
    """TA-Lib's Function API, one call an indicator over float64 arrays."""
    import talib

    close = np.fromfile(closes, np.int64).astype(np.float64)

    def run() -> tuple[Floats, ...]:
        macd, signal, _ = talib.MACD(close, MACD_FAST, MACD_SLOW, MACD_SIGNAL)
        averages = talib.SMA(close, SMA_FAST), talib.SMA(close, SMA_SLOW)
        return *averages, talib.RSI(close, RSI), macd, signal, talib.ATR(close, close, close, ATR)

    spent, result = best_of(rounds, run, len(close))
    np.save(target, np.column_stack(result))
    return {"ns_per_bar": spent}


def numba_whole(closes: str, rounds: int, target: str) -> dict[str, Any]:
    """The six as one explicit loop over preallocated arrays, compiled: what numba's performance tips advise."""
    import numba

    close = np.fromfile(closes, np.int64).astype(np.float64)
    values = np.full((len(close), len(NAMES)), np.nan)
    compiled: Any = numba.njit(one_loop)
    spent, _ = best_of(rounds, lambda: compiled(close, values), len(close))
    np.save(target, values)
    return {"ns_per_bar": spent}


def one_loop(close: Floats, values: Floats) -> None:
    """Rolling sums, Wilder's averages and exponential ones, seeded as the kernel's are."""
    fast_sum, slow_sum, gain, loss, ranges = 0.0, 0.0, 0.0, 0.0, 0.0
    fast = slow = close[0]
    signal = 0.0
    for i in range(len(close)):
        fast_sum += close[i] - (close[i - SMA_FAST] if i >= SMA_FAST else 0.0)
        slow_sum += close[i] - (close[i - SMA_SLOW] if i >= SMA_SLOW else 0.0)
        values[i, 0], values[i, 1] = fast_sum / SMA_FAST, slow_sum / SMA_SLOW
        if i:
            step = close[i] - close[i - 1]
            up, down, span = max(step, 0.0), max(-step, 0.0), abs(step)
            if i <= RSI:
                gain, loss, ranges = gain + up / RSI, loss + down / RSI, ranges + span / ATR
            else:
                gain = ((RSI - 1) * gain + up) / RSI
                loss = ((RSI - 1) * loss + down) / RSI
                ranges = ((ATR - 1) * ranges + span) / ATR
            fast += (close[i] - fast) * 2 / (MACD_FAST + 1)
            slow += (close[i] - slow) * 2 / (MACD_SLOW + 1)
        values[i, 2] = 100 - 100 / (1 + gain / loss) if loss else 50.0
        values[i, 3] = fast - slow
        signal = fast - slow if i < MACD_SLOW else signal + (fast - slow - signal) * 2 / (MACD_SIGNAL + 1)
        values[i, 4], values[i, 5] = signal, ranges


# ---- a bar at a time -----------------------------------------------------------------------------------------------


def timed_bars(close: Floats, update: Callable[[float], Any], first: int) -> tuple[float, list[Any]]:
    """(ns a bar, the values) of calls from a Python loop; the first half warms up."""
    prices: list[float] = close[first:].tolist()
    half = len(prices) // 2
    gc.collect()
    gc.disable()
    kept = [update(price) for price in prices[:half]]
    began = time.perf_counter_ns()
    later = [update(price) for price in prices[half:]]
    spent = time.perf_counter_ns() - began
    return spent / (len(prices) - half), kept + later


def save_from(first: int, rows: list[Any], target: str) -> None:
    """Rows that begin at bar `first`."""
    values = np.full((first + len(rows), len(NAMES)), np.nan)
    values[first:] = [[np.nan if value is None else value for value in row] for row in rows]
    np.save(target, values)


def hotpath_each(closes: str, target: str) -> dict[str, Any]:
    """`feature_update`, one call a bar; six of its values read from Python."""
    from ffi import ffi, lib
    from hotlab.features import FEATURE_NAMES, FeatureConfig
    from hotlab.kernel import _checked

    close = np.fromfile(closes, np.int64).astype(np.float64)
    config = FeatureConfig(
        bar_ns=0, bar_trades=1, sample_every=1, ema_fast=12, ema_slow=26, zscore_window=64, flow_window=32,
        sma_fast=SMA_FAST, sma_slow=SMA_SLOW, rsi_period=RSI, macd_fast=MACD_FAST, macd_slow=MACD_SLOW,
        macd_signal=MACD_SIGNAL, atr_period=ATR, volatility_bars=30,
    )  # fmt: skip
    native = _checked("feature_config", lib.feature_config_check, "enum feature_status", config)
    memory = ffi.new("uint8_t[]", ffi.sizeof("feature_state") + 64)
    address = int(ffi.cast("uintptr_t", memory))
    state = ffi.cast("feature_state *", address + -address % 64)
    lib.feature_init(state)
    event, values = ffi.new("norm_event *"), ffi.new("double[]", lib.FEATURES_MAX)
    event.header.type, event.header.flags, event.quantity_lots = lib.NORM_EXECUTE, lib.FLAG_PRINTABLE, 1
    event.bid_quantity_lots = event.ask_quantity_lots = event.bid_depth_lots = event.ask_depth_lots = 1
    run, wanted = lib.feature_update, [FEATURE_NAMES.index(name) for name in NAMES]
    a, b, c, d, e, f = wanted

    def update(price: float) -> tuple[float, ...]:
        ticks = int(price)
        event.price_ticks, event.bid_price_ticks, event.ask_price_ticks = ticks, ticks - 1, ticks + 1
        run(native, state, event, values)
        return values[a], values[b], values[c], values[d], values[e], values[f]

    spent, rows = timed_bars(close, update, 0)
    save_from(0, rows, target)
    return {"ns_per_bar": spent}


def talib_each(closes: str, target: str) -> dict[str, Any]:
    """TA-Lib's Streaming API: a handle an indicator, each told of the bar."""
    from talib import stream

    close = np.fromfile(closes, np.int64).astype(np.float64)
    before = close[:HISTORY]
    fast, slow = stream.SMA(before, SMA_FAST).update, stream.SMA(before, SMA_SLOW).update
    rsi, atr = stream.RSI(before, RSI).update, stream.ATR(before, before, before, ATR).update
    macd = stream.MACD(before, MACD_FAST, MACD_SLOW, MACD_SIGNAL).update

    def update(price: float) -> tuple[float, ...]:
        line, signal, _ = macd(price)
        return fast(price), slow(price), rsi(price), line, signal, atr(price, price, price)

    spent, rows = timed_bars(close, update, HISTORY)
    save_from(HISTORY, rows, target)
    return {"ns_per_bar": spent}


def talipp_each(closes: str, target: str) -> dict[str, Any]:
    """talipp's incremental indicators, `add` a bar."""
    from talipp import indicators as talipp
    from talipp.ohlcv import OHLCV

    close = np.fromfile(closes, np.int64).astype(np.float64)
    fast, slow, rsi = talipp.SMA(SMA_FAST), talipp.SMA(SMA_SLOW), talipp.RSI(RSI)
    macd, atr = talipp.MACD(MACD_FAST, MACD_SLOW, MACD_SIGNAL), talipp.ATR(ATR)

    def update(price: float) -> tuple[Any, ...]:
        for simple in (fast, slow, rsi, macd):
            simple.add(price)
        atr.add(OHLCV(price, price, price, price))
        both = macd[-1]
        return fast[-1], slow[-1], rsi[-1], both and both.macd, both and both.signal, atr[-1]

    spent, rows = timed_bars(close, update, 0)
    save_from(0, rows, target)
    return {"ns_per_bar": spent}
