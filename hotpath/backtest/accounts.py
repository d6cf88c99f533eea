"""From a run's executions to money: fills, round trips, slippage, drawdown. Whole micros all the way.

slippage   what a fill cost against the middle of the market that the strategy saw: above 0 is a cost
trade      a round trip: from flat to flat, or to the other side
drawdown   the largest fall of equity after fees from a height that it had before
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ffi import lib
from hotpath.backtest.collect import Run
from hotpath.ledger import Execution, FeeBook, Ledger


@dataclass(frozen=True)
class Fill:
    """One execution."""

    time_ns: int
    instrument: int
    order_id: int
    lots: int  # bought; below 0: sold
    price_ticks: int
    value_micros: int  # above 0
    fee_micros: int
    maker: bool
    slippage_micros: int | None  # None: the strategy's market is not known


@dataclass(frozen=True)
class Trade:
    """One round trip. `open`: it had not come to its end."""

    instrument: int
    side: str
    begin_ns: int
    end_ns: int
    lots_max: int
    fills: int
    entry_ticks: float  # average
    exit_ticks: float
    gross_micros: int
    fees_micros: int
    open: bool = False

    @property
    def net_micros(self) -> int:
        """After fees."""
        return self.gross_micros - self.fees_micros


@dataclass(frozen=True)
class Drawdown:
    """The largest fall: how deep, from when to when. Zero when equity never fell."""

    micros: int
    begin_ns: int
    end_ns: int


def ledger_of(run: Run) -> tuple[Ledger, list[Execution]]:
    """The exact ledger over a run's executions, and its entries."""
    ledger = Ledger(run.tick_value_micros, FeeBook(run.config.fees))
    empty = np.empty(0, run.events["exec"].dtype)
    entries = ledger.apply(run.events["exec"], empty, first_sequence=0)
    return ledger, entries


def fills_of(run: Run, entries: list[Execution]) -> list[Fill]:
    """Every execution that stands, in order, with its fee and what it cost against the market that was seen."""
    executions = run.events["exec"]
    seen = _middles(run)
    found = []
    for entry in entries:
        if entry.broken or entry.adjusted:
            continue
        event = executions[entry.sequence]
        tick_value = run.tick_value_micros[entry.instrument]
        half_ticks = seen.get(entry.order_id)
        slippage = None
        if half_ticks is not None:
            slippage = (2 * entry.price_ticks - half_ticks) * entry.lots * tick_value // 2
        found.append(
            Fill(
                time_ns=int(event["header"]["origin_time_ns"]),
                instrument=entry.instrument,
                order_id=entry.order_id,
                lots=entry.lots,
                price_ticks=entry.price_ticks,
                value_micros=abs(entry.lots) * entry.price_ticks * tick_value,
                fee_micros=entry.fee_micros,
                maker=chr(int(event["liquidity"]) or 32) == "A",
                slippage_micros=slippage,
            )
        )
    return found


def _middles(run: Run) -> dict[int, int]:
    """Bid plus offer that the strategy saw, by order id: twice the middle."""
    signals = run.events["signal"]
    both = (signals["bid_price_ticks"] > 0) & (signals["ask_price_ticks"] > 0)
    places = np.flatnonzero(both)
    middle = signals["bid_price_ticks"][places] + signals["ask_price_ticks"][places]
    first = run.order_id_base + 1
    return dict(zip((places + first).tolist(), middle.tolist(), strict=True))


class _Open:
    """A round trip under way."""

    def __init__(self, fill: Fill) -> None:
        self.first = fill
        self.lots = 0
        self.lots_max = 0
        self.cash = 0  # micros
        self.fees = 0
        self.fills = 0
        self.bought = self.sold = 0  # lots
        self.bought_ticks = self.sold_ticks = 0  # lots times price

    def take(self, fill: Fill, lots: int, tick_value: int) -> None:
        self.lots += lots
        self.lots_max = max(self.lots_max, abs(self.lots))
        self.cash -= lots * fill.price_ticks * tick_value
        self.fills += 1
        if lots > 0:
            self.bought += lots
            self.bought_ticks += lots * fill.price_ticks
        else:
            self.sold -= lots
            self.sold_ticks -= lots * fill.price_ticks

    def close(self, end_ns: int, *, mark_ticks: int = 0, tick_value: int = 0, is_open: bool = False) -> Trade:
        long = self.first.lots > 0
        bought = self.bought_ticks / self.bought if self.bought else float(mark_ticks)
        sold = self.sold_ticks / self.sold if self.sold else float(mark_ticks)
        return Trade(
            instrument=self.first.instrument,
            side="long" if long else "short",
            begin_ns=self.first.time_ns,
            end_ns=end_ns,
            lots_max=self.lots_max,
            fills=self.fills,
            entry_ticks=bought if long else sold,
            exit_ticks=sold if long else bought,
            gross_micros=self.cash + self.lots * mark_ticks * tick_value,
            fees_micros=self.fees,
            open=is_open,
        )


def trades_of(run: Run, fills: list[Fill]) -> list[Trade]:
    """Round trips in the order in which they ended; those still open last, at their marks."""
    under_way: dict[int, _Open] = {}
    done: list[Trade] = []
    for fill in fills:
        tick_value = run.tick_value_micros[fill.instrument]
        left = fill.lots
        trip = under_way.get(fill.instrument)
        if trip is not None and (trip.lots > 0) != (left > 0):
            closing = max(-trip.lots, left) if left < 0 else min(-trip.lots, left)
            trip.take(fill, closing, tick_value)
            part = fill.fee_micros * abs(closing) // abs(fill.lots)
            trip.fees += part
            left -= closing
            if not trip.lots:
                done.append(trip.close(fill.time_ns))
                del under_way[fill.instrument]
                trip = None
            if left:
                trip = under_way[fill.instrument] = _Open(_turned(fill, left))
                trip.take(fill, left, tick_value)
                trip.fees += fill.fee_micros - part
            continue
        if trip is None:
            trip = under_way[fill.instrument] = _Open(fill)
        trip.take(fill, left, tick_value)
        trip.fees += fill.fee_micros
    last_ns = run.equity_time_ns[-1] if run.equity_time_ns else 0
    for instrument, trip in sorted(under_way.items()):
        mark = run.last_marks[instrument] if run.last_marks else 0
        tick_value = run.tick_value_micros[instrument]
        done.append(trip.close(max(last_ns, trip.first.time_ns), mark_ticks=mark, tick_value=tick_value, is_open=True))
    return done


def _turned(fill: Fill, lots: int) -> Fill:
    """The part of a fill that went through flat: the first of the next round trip."""
    return Fill(
        fill.time_ns, fill.instrument, fill.order_id, lots, fill.price_ticks, fill.value_micros, 0, fill.maker, None
    )


def equity_after_fees(run: Run, fills: list[Fill]) -> list[tuple[int, int]]:
    """Instant and equity after fees, one for each bucket of the run."""
    times = np.array([fill.time_ns for fill in fills], np.int64)
    fees = np.concatenate(([0], np.cumsum(np.array([fill.fee_micros for fill in fills], np.int64))))
    paid = fees[np.searchsorted(np.maximum.accumulate(times), run.equity_time_ns, side="right")] if len(fills) else None
    values = (
        run.equity_micros
        if paid is None
        else [value - int(fee) for value, fee in zip(run.equity_micros, paid, strict=True)]
    )
    return list(zip(run.equity_time_ns, values, strict=True))


def drawdown_of(equity: list[tuple[int, int]]) -> Drawdown:
    """The largest fall from a height before it; the start counts as one."""
    if not equity:
        return Drawdown(0, 0, 0)
    height, height_ns = 0, equity[0][0]
    worst = Drawdown(0, height_ns, height_ns)
    for time_ns, value in equity:
        if value >= height:
            height, height_ns = value, time_ns
        elif height - value > worst.micros:
            worst = Drawdown(height - value, height_ns, time_ns)
    return worst


def order_counts(run: Run) -> dict[str, int]:
    """How many of what left, and what came back."""
    types, executions = run.events["cmd"]["header"]["type"], run.events["exec"]["header"]["type"]
    return {
        "signals": len(run.events["signal"]),
        "new": int((types == lib.CMD_NEW).sum()),
        "replaces": int((types == lib.CMD_REPLACE).sum()),
        "cancels": int((types == lib.CMD_CANCEL).sum()),
        "refused": len(run.events["reject"]),
        "accepted": int((executions == lib.EXEC_ACCEPTED).sum()),
        "rejected": int((executions == lib.EXEC_REJECTED).sum()),
        "fills": int((executions == lib.EXEC_FILL).sum()),
        "broken": int((executions == lib.EXEC_BROKEN).sum()),
    }


def refusals(run: Run) -> dict[str, int]:
    """Orders that risk refused, by reason, most first."""
    from hotpath.explain.tell import reason_word

    reasons, counts = np.unique(run.events["reject"]["reason"], return_counts=True)
    found: list[tuple[str, Any]] = [(reason_word(int(r)), int(c)) for r, c in zip(reasons, counts, strict=True)]
    return dict(sorted(found, key=lambda item: -item[1]))
