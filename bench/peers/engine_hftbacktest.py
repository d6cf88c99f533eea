"""hftbacktest's part of engines.py: L2 changes through its array book, the rule compiled by numba.

As its documentation has it: data in its own event format, a strategy in `njit`, constant latencies (here 0, as the
paper venue's), and the exchange model without partial fills: orders are of one share. Its array book over a range of
prices is 1.8 times as fast as its hash map; best_bid_qty of it is a price in 2.4.4, so quantities are asked by tick.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.peers.market import BUY, QUIET_NS, THRESHOLD

TICK = 0.01
UNITS = 10_000  # of a price in ITCH
ORDERS_MAX = 1 << 18
STEP_NS = 1000  # between messages: it shows what has one time as one event, and two messages may have one


def replay(levels: str, rounds: int, **_: str) -> dict[str, Any]:
    """Seconds of processor time of the quickest round; compiling is not counted."""
    import hftbacktest as hft
    from hftbacktest.order import IOC
    from numba import njit

    changes = np.load(levels)
    events = np.zeros(len(changes), hft.event_dtype)
    sides = np.where(changes["side"] == BUY, hft.BUY_EVENT, hft.SELL_EVENT)
    events["ev"] = sides | np.int64(hft.DEPTH_EVENT | hft.EXCH_EVENT | hft.LOCAL_EVENT)
    events["exch_ts"] = events["local_ts"] = changes["number"] * STEP_NS
    events["px"], events["qty"] = changes["price"] / UNITS, changes["quantity"]
    low, high = (float(each) for each in np.percentile(events["px"], (0.5, 99.5)) * (0.5, 1.5))  # without stub quotes
    low_tick, high_tick = round(low / TICK), round(high / TICK)
    shown = changes["time_ns"][np.append(changes["number"][1:] != changes["number"][:-1], True)]  # a time a step
    limit, threshold, quiet_ns = hft.LIMIT, THRESHOLD, QUIET_NS

    @njit
    def run(hbt: Any, shown: Any, times: Any, sides: Any, ticks: Any) -> Any:
        count = steps = leaned = ordered_ns = 0
        while hbt.wait_next_feed(False, 10**15) == 2:
            time_ns = shown[steps]
            steps += 1
            depth = hbt.depth(0)
            bid_tick, ask_tick = depth.best_bid_tick, depth.best_ask_tick
            if bid_tick < low_tick or ask_tick > high_tick:  # that side is empty
                continue
            bid, ask = depth.bid_qty_at_tick(bid_tick), depth.ask_qty_at_tick(ask_tick)
            if bid <= 0 or ask <= 0:
                continue
            lean = (bid - ask) / (bid + ask)
            side = 1 if lean > threshold else -1 if lean < -threshold else 0
            if side != 0 and side != leaned and time_ns - ordered_ns >= quiet_ns:
                if side > 0:
                    ticks[count] = ask_tick
                    hbt.submit_buy_order(0, count, depth.best_ask, 1.0, IOC, limit, False)
                else:
                    ticks[count] = bid_tick
                    hbt.submit_sell_order(0, count, depth.best_bid, 1.0, IOC, limit, False)
                times[count], sides[count], ordered_ns = time_ns, side, time_ns
                count += 1
                hbt.clear_inactive_orders(0)
            leaned = side
        return count, steps

    best, found = float("inf"), {}
    for measured in range(rounds + 1):
        asset = (
            hft.BacktestAsset()
            .data(events)
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0.0, 0.0)
            .tick_size(TICK)
            .lot_size(1.0)
            .roi_lb(low)
            .roi_ub(high)
        )
        hbt = hft.ROIVectorMarketDepthBacktest([asset])
        times, way, ticks = (np.zeros(ORDERS_MAX, np.int64) for _column in range(3))
        began = time.process_time()
        count, seen = run(hbt, shown, times, way, ticks)
        spent = time.process_time() - began
        if seen not in (len(shown), len(shown) - 1):  # it ends with the last one, instead of showing it
            raise SystemExit(f"hftbacktest showed {seen} of {len(shown)} changes to the strategy")
        fills = int(hbt.state_values(0).num_trades)
        hbt.close()
        if measured:
            best = min(best, spent)
        prices = ticks[:count] * round(TICK * UNITS)
        orders = [
            list(each) for each in zip(times[:count].tolist(), way[:count].tolist(), prices.tolist(), strict=True)
        ]
        found = {"orders": orders, "fills": fills}
    return {"seconds": best, **found}
