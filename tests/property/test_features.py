"""The feature and strategy kernels equal their NumPy references at every event, NaN positions included.

The kernel moves on by one event in a few dozen nanoseconds; the references (research/hotlab) look at the whole
day and know no state. Hypothesis makes days of every shape; a real morning follows.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotlab import features, strategies
from hotlab.features import FEATURE_NAMES, FeatureConfig
from hotlab.kernel import by_name, compute_features, compute_scores
from hotlab.strategies import COMPONENT_NAMES, StrategyConfig
from tests.book_driver import DrivenBook

EVENT = dtype_of("norm_event")
# The kernel's integers are exact and its recurrences are the references' own, so what differs is rounding: a few
# units in the last place of the price. Where a feature is a difference of prices, that is an absolute error.
RELATIVE = 1e-9
ABSOLUTE = {"zscore": 1e-9, "rsi": 1e-6, "volatility": 1e-12}
PRICE_ABSOLUTE = {"macd": 2.0**-48, "macd_signal": 2.0**-48}  # in parts of the highest mid
SCORE_ABSOLUTE = 1e-6  # the reference takes microprice from mid: half an ulp of 200,000 dollars, in half spreads

STRATEGY = StrategyConfig(
    weight=(0.5, -0.25, 0.25, 0.0, 0.0),
    threshold=0.3,
    imbalance_scale=0.4,
    momentum_scale=0.0005,
    zscore_scale=2.5,
    rsi_scale=30.0,
)

# ---- days that Hypothesis makes -----------------------------------------------------------------------

TRADES = [lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE, lib.NORM_TRADE, lib.NORM_CROSS]
kinds = st.sampled_from([lib.NORM_ADD, lib.NORM_DELETE, *TRADES, lib.NORM_EXECUTE, lib.NORM_STATUS])
flags = st.sampled_from(
    [lib.FLAG_PRINTABLE] * 4
    + [lib.FLAG_PRINTABLE | lib.FLAG_SELL] * 4
    + [0, lib.FLAG_STALE, lib.FLAG_PRINTABLE | lib.FLAG_UNKNOWN_ORDER, lib.FLAG_STALE | lib.FLAG_PRINTABLE]
)
few_lots = st.integers(1, 500)
odd_values = st.sampled_from([0, -1, lib.FEATURE_VALUE_MAX + 1, 2**62])
steps = st.tuples(
    kinds,
    flags,
    st.integers(-30, 400),  # ns since the event before
    st.sampled_from([0, 0, 0, 1, -1, 2, -2, 25, -25]),  # ticks that the bid moves
    st.sampled_from([1, 1, 1, 2, 3, 50, 0, -1]),  # spread, ticks
    st.one_of(st.integers(1, 3), few_lots),
    st.one_of(st.integers(1, 3), few_lots),
    few_lots,  # lots of the event itself
    st.sampled_from([None] * 30 + ["bid_price_ticks", "ask_price_ticks", "ask_quantity_lots", "quantity_lots"]),
    odd_values,
)


def make_day(start_ticks: int, moves: list[Any]) -> features.Events:
    """Events along a walk; now and then one field holds what no market has."""
    day = np.zeros(len(moves), dtype=EVENT)
    bid, time_ns = start_ticks, 10_000
    for event, (kind, flag, wait_ns, step, spread, bid_lots, ask_lots, lots, odd_field, odd) in zip(
        day, moves, strict=True
    ):
        bid, time_ns = max(bid + step, 1), time_ns + wait_ns
        event["header"]["type"], event["header"]["flags"], event["header"]["origin_time_ns"] = kind, flag, time_ns
        event["price_ticks"], event["quantity_lots"] = bid + (spread if flag & lib.FLAG_SELL else 0), lots
        event["bid_price_ticks"], event["ask_price_ticks"] = bid, bid + spread
        event["bid_quantity_lots"], event["ask_quantity_lots"] = bid_lots, ask_lots
        event["bid_depth_lots"], event["ask_depth_lots"] = bid_lots + 3 * lots, max(ask_lots - 2, 0)
        if odd_field:
            event[odd_field] = odd
    return day


periods = st.integers(1, 6)
clocks = st.one_of(
    st.integers(50, 2_000).map(lambda ns: (ns, 0)),
    st.integers(1, 5).map(lambda trades: (0, trades)),
)


@st.composite
def configs(draw: st.DrawFn) -> FeatureConfig:
    """Short windows, so that a short day warms them up and turns them over many times."""
    bar_ns, bar_trades = draw(clocks)
    fast = {name: draw(periods) for name in ("ema", "sma", "macd")}
    return FeatureConfig(
        bar_ns=bar_ns,
        bar_trades=bar_trades,
        sample_every=draw(st.integers(1, 3)),
        ema_fast=fast["ema"],
        ema_slow=fast["ema"] + draw(periods),
        zscore_window=draw(st.integers(2, 9)),
        flow_window=draw(periods),
        sma_fast=fast["sma"],
        sma_slow=fast["sma"] + draw(periods),
        rsi_period=draw(periods),
        macd_fast=fast["macd"],
        macd_slow=fast["macd"] + draw(periods),
        macd_signal=draw(periods),
        atr_period=draw(periods),
        volatility_bars=draw(periods),
    )


def assert_equal(computed: npt.NDArray[Any], expected: npt.NDArray[Any], *, name: str, highest_ticks: float) -> None:
    """Equal within the stated tolerance, and NaN in the same places."""
    absolute = ABSOLUTE.get(name, 0.0) + PRICE_ABSOLUTE.get(name, 0.0) * highest_ticks
    np.testing.assert_allclose(computed, expected, rtol=RELATIVE, atol=absolute, equal_nan=True, err_msg=name)


def assert_kernels_equal_references(day: features.Events, config: FeatureConfig) -> dict[str, features.Floats]:
    """Both kernels over one day against both references; returns the kernel's features."""
    values, ready = compute_features(day, config)
    expected = features.reference(day, config)
    assert tuple(expected) == FEATURE_NAMES
    highest_ticks = np.nan_to_num(expected["mid"]).max(initial=0.0)
    for index, name in enumerate(FEATURE_NAMES):
        assert_equal(values[:, index], expected[name], name=name, highest_ticks=highest_ticks)
        np.testing.assert_array_equal((ready >> index) & 1, ~np.isnan(values[:, index]), err_msg=name)
    computed = by_name(values)
    assert_scores_equal(values, ready, computed)
    return computed


def assert_scores_equal(
    values: features.Floats, ready: npt.NDArray[np.uint32], by_feature: dict[str, features.Floats]
) -> None:
    """The strategies' scores, on the very features that the kernel saw."""
    scores, components = compute_scores(values, ready, STRATEGY)
    expected_scores, expected_components = strategies.reference(by_feature, STRATEGY)
    np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=SCORE_ABSOLUTE)
    for name in COMPONENT_NAMES:
        recorded = strategies.as_recorded(expected_components[name]).astype(int)
        assert np.abs(components[name].astype(int) - recorded).max(initial=0) <= 1, name


@settings(
    max_examples=100, deadline=None, phases=set(Phase) - {Phase.explain}, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    start_ticks=st.sampled_from([40, 3_240_000, 2_000_000_000]), moves=st.lists(steps, max_size=60), config=configs()
)
def test_kernels_equal_their_references(start_ticks: int, moves: list[Any], config: FeatureConfig) -> None:
    assert_kernels_equal_references(make_day(start_ticks, moves), config)


# ---- long days ------------------------------------------------------------------------------------------

BY_TIME = FeatureConfig(
    bar_ns=1_000_000_000,
    bar_trades=0,
    sample_every=1,
    ema_fast=16,
    ema_slow=64,
    zscore_window=lib.FEATURE_WINDOW_MAX,
    flow_window=lib.FEATURE_FLOW_MAX,
    sma_fast=10,
    sma_slow=30,
    rsi_period=14,
    macd_fast=12,
    macd_slow=26,
    macd_signal=9,
    atr_period=14,
    volatility_bars=30,
)
BY_TRADES = replace(
    BY_TIME,
    bar_ns=0,
    bar_trades=2,
    sample_every=5,
    sma_slow=lib.FEATURE_WINDOW_MAX,
    volatility_bars=lib.FEATURE_WINDOW_MAX,
)


def walk(count: int, seed: int) -> features.Events:
    """A seeded day with an instrument's usual manners: mostly quiet, sometimes stale or one-sided."""
    draw = np.random.default_rng(seed)
    moves = zip(
        draw.choice([lib.NORM_ADD, lib.NORM_DELETE, lib.NORM_EXECUTE, lib.NORM_TRADE], count, p=[0.5, 0.3, 0.15, 0.05]),
        draw.choice(
            [lib.FLAG_PRINTABLE, lib.FLAG_PRINTABLE | lib.FLAG_SELL, lib.FLAG_STALE], count, p=[0.49, 0.49, 0.02]
        ),
        draw.exponential(50e6, count).astype(int),
        draw.choice([0, 100, -100], count, p=[0.6, 0.2, 0.2]),
        draw.choice([100, 200, 0], count, p=[0.7, 0.28, 0.02]),
        draw.integers(1, 900, count),
        draw.integers(1, 900, count),
        draw.integers(1, 200, count),
        [None] * count,
        [0] * count,
        strict=True,
    )
    return make_day(3_240_000, [tuple(v if v is None else int(v) for v in move) for move in moves])


@pytest.mark.parametrize("config", [BY_TIME, BY_TRADES], ids=["time bars", "trade bars"])
def test_kernels_equal_their_references_over_a_long_walk(config: FeatureConfig) -> None:
    computed = assert_kernels_equal_references(walk(20_000, seed=7), config)
    assert not any(np.isnan(values).all() for values in computed.values()), "every feature warmed up"


def real_events(path: Path, *, midnight_ns: int) -> features.Events:
    """A file of length-prefixed ITCH of one instrument, decoded and booked by the path's own kernels."""
    driven = DrivenBook(instruments=1, orders_max=100_000, levels_max=20_000)
    located = np.zeros(65_536, dtype=np.uint32)
    context = ffi.new(
        "itch_context *", {"instrument": ffi.from_buffer("uint32_t[]", located), "midnight_ns": midnight_ns}
    )
    data = path.read_bytes()
    source = ffi.from_buffer("uint8_t[]", data)
    events = np.zeros(len(data) // 14, dtype=EVENT)  # no message takes fewer than 2 + 12 bytes
    event_at = ffi.from_buffer("norm_event[]", events, require_writable=True)
    offset = count = 0
    while offset < len(data):
        (length,) = struct.unpack_from(">H", data, offset)
        assert lib.itch_normalise(context, source + offset + 2, length, event_at + count) == lib.ITCH_OK
        lib.book_apply(driven.book, event_at + count)
        offset, count = offset + 2 + length, count + 1
    return events[:count]


@pytest.mark.parametrize(
    ("file", "midnight_ns", "messages"),
    [
        ("itch_aapl_20200130/locate-13-10k.bin", 1_580_360_400_000_000_000, 10_000),
        ("itch_goog_20120621_derived/GOOG_20120621_L10.itch50", 1_340_251_200_000_000_000, 239_568),
    ],
    ids=["AAPL before the open", "GOOG, a day"],
)
@pytest.mark.parametrize("config", [BY_TIME, BY_TRADES], ids=["time bars", "trade bars"])
def test_kernels_equal_their_references_on_real_data(
    shared_data: Path, file: str, midnight_ns: int, messages: int, config: FeatureConfig
) -> None:
    events = real_events(shared_data / file, midnight_ns=midnight_ns)
    assert len(events) == messages
    computed = assert_kernels_equal_references(events, config)
    assert not any(np.isnan(values).all() for values in computed.values()), "every feature warmed up"


def test_configurations_have_the_kernels_own_fields() -> None:
    for struct_name, config in (("feature_config", FeatureConfig), ("strategy_config", StrategyConfig)):
        native = [name for name, _ in ffi.typeof(struct_name).fields]
        assert list(config.__dataclass_fields__) == native
