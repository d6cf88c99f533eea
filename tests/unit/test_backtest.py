"""Settings by name, and money from executions: what a backtest is made of, without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.backtest.accounts import drawdown_of, fills_of, ledger_of, trades_of
from hotpath.backtest.collect import KEPT, LINE_STATES, Equity, Run
from hotpath.backtest.compare import compare_runs
from hotpath.backtest.settings import full_key, with_settings
from hotpath.config import Config
from hotpath.errors import ConfigError
from hotpath.journal import event_type

SECOND_NS = 10**9

# ---- settings ------------------------------------------------------------------------------------------


def test_limits_have_short_names() -> None:
    assert full_key("limits.collar_ppm_max") == "risk.defaults.collar_ppm_max"
    assert full_key("limits.open_orders_max") == "risk.open_orders_max"
    assert full_key("limits.GOOG.position_lots_max") == "risk.instruments.GOOG.position_lots_max"
    assert full_key("signal.threshold") == "signal.threshold"


def test_settings_reach_every_part_of_the_configuration() -> None:
    config = with_settings(
        Config(),
        [
            "limits.collar_ppm_max=50",
            "limits.GOOG.position_lots_max=7",
            "signal.threshold=0.25",
            "gateway.paper.fills=through",
            "fees.paper.taker_micros_per_lot=3000",
        ],
    )
    assert config.risk.defaults.collar_ppm_max == 50 and config.risk.limits_of("GOOG").position_lots_max == 7
    assert config.signal.threshold == 0.25 and config.gateway.paper.fills == "through"
    assert config.fees["paper"].taker_micros_per_lot == 3000


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "limits.coller_ppm_max=1",
            r"there is no risk\.defaults\.coller_ppm_max \(did you mean risk\.defaults\.collar",
        ),
        ("signal.threshold=2", "signal.threshold=2: expected `float` <= 1"),
        ("signal.threshold", "no value"),
        ("gateway.paper.fills=lucky", "invalid enum value"),
        ("nothing.at.all=1", "there is no nothing.at.all"),
        ("signal.features.ema_fast=99", "must be below ema_slow"),
    ],
)
def test_wrong_setting_is_named(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        with_settings(Config(), [setting])


# ---- money ---------------------------------------------------------------------------------------------


def run_of(fills: list[dict[str, Any]]) -> Run:
    """A run of one instrument whose tick is a cent, with these fills and nothing else."""
    events = {ring: np.zeros(0, dtype_of(event_type(ring))) for ring in KEPT}
    executions = np.zeros(len(fills), dtype_of("exec_event"))
    for number, (row, fill) in enumerate(zip(executions, fills, strict=True), start=1):
        row["header"]["type"] = lib.EXEC_FILL
        row["header"]["origin_time_ns"] = number * SECOND_NS
        row["order_id"] = row["match_id"] = number
        row["liquidity"] = ord("A")
        row["venue"] = lib.VENUE_PAPER
        for name, value in fill.items():
            row[name] = value
    events["exec"] = executions
    return Run("made", Config(), ["X"], [10_000], events, last_marks=[1000])


def fill(lots: int, price: int) -> dict[str, Any]:
    return {"side": lib.SIDE_BUY if lots > 0 else lib.SIDE_SELL, "quantity_lots": abs(lots), "price_ticks": price}


def test_round_trip_that_goes_through_flat_is_two_trades() -> None:
    run = run_of([fill(100, 900), fill(-150, 1000), fill(50, 950)])
    ledger, entries = ledger_of(run)
    trades = trades_of(run, fills_of(run, entries))
    assert [(trade.side, trade.lots_max, trade.open) for trade in trades] == [
        ("long", 100, False),
        ("short", 50, False),
    ]
    assert [trade.gross_micros for trade in trades] == [100 * 100 * 10_000, 50 * 50 * 10_000]
    assert sum(trade.net_micros for trade in trades) == ledger.value_at(0, 1000).net_micros


def test_open_trade_stands_at_its_mark() -> None:
    run = run_of([fill(-10, 1100)])
    (trade,) = trades_of(run, fills_of(run, ledger_of(run)[1]))
    assert trade.open and trade.net_micros == 10 * 100 * 10_000


def test_drawdown_is_the_deepest_fall_from_a_height_before_it() -> None:
    curve = [(1, 0), (2, 50), (3, 20), (4, 80), (5, -10), (6, 100), (7, 30)]
    fall = drawdown_of(curve)
    assert (fall.micros, fall.begin_ns, fall.end_ns) == (90, 4, 5)
    assert drawdown_of([(1, -5), (2, -30)]).micros == 30, "the start counts as a height"
    assert drawdown_of([]).micros == 0


def test_equity_is_cash_and_positions_at_their_marks() -> None:
    run = run_of([fill(100, 900)])
    equity = Equity(run)
    equity.executions(run.events["exec"])
    market = np.zeros(40, dtype_of("norm_event"))
    market["header"]["type"] = lib.NORM_ADD
    market["header"]["origin_time_ns"] = np.arange(40) * SECOND_NS
    market["bid_price_ticks"], market["ask_price_ticks"] = 900 + np.arange(40), 902 + np.arange(40)
    market["header"]["type"][20] = LINE_STATES[0]
    market["header"]["origin_time_ns"][20] = 2**62  # dated by another clock
    equity.market(market[:25])
    equity.market(market[25:])
    equity.finish()
    assert run.equity_micros[-1] == 100 * 40 * 10_000 and run.last_marks == [940]
    assert run.equity_time_ns == sorted(run.equity_time_ns) and run.equity_time_ns[-1] < 2**62


def test_runs_without_orders_do_not_differ() -> None:
    comparison = compare_runs(run_of([]), run_of([]))
    assert comparison.equal and comparison.orders_base == 0
