"""The figures of a backtest as one structure: for the terminal, for `--json`, for the page."""

from __future__ import annotations

import dataclasses
from typing import Any

from msgspec import Struct, field

from hotpath.backtest.accounts import (
    Drawdown,
    Fill,
    Trade,
    drawdown_of,
    equity_after_fees,
    fills_of,
    ledger_of,
    order_counts,
    refusals,
    trades_of,
)
from hotpath.backtest.collect import Run
from hotpath.backtest.compare import orders_digest
from hotpath.event_view import price_text

MICROS = 1_000_000
POINTS_MAX = 2000  # of the equity curve in a report; the drawdown is taken of all


class Money(Struct, frozen=True):
    """Of the whole run, in micros: millionths of the currency."""

    realised: int
    unrealised: int
    fees: int
    net: int
    traded_value: int
    slippage: int  # against the middle of the market that the strategy saw; above 0 is a cost
    slippage_ppm: float  # of the traded value that it is known of


class VenueModel(Struct, frozen=True):
    """How the simulated venue filled orders."""

    fills: str
    latency: str
    latency_ns: int
    latency_spread_ns: int
    seed: int
    fees: str  # the schedule's name; "none"


class InstrumentRow(Struct, frozen=True):
    """One instrument."""

    symbol: str
    fills: int
    bought_lots: int
    sold_lots: int
    lots: int
    realised: int
    unrealised: int
    fees: int
    net: int
    slippage: int


class TradeRow(Struct, frozen=True):
    """One round trip."""

    symbol: str
    side: str
    begin_ns: int
    end_ns: int
    lots_max: int
    fills: int
    entry: str
    exit: str
    gross: int
    fees: int
    net: int
    open: bool


class BacktestReport(Struct):
    """One run."""

    name: str
    engine_symbols: int
    messages: int
    seconds: float
    venue: VenueModel
    orders: dict[str, int]
    refused: dict[str, int]
    money: Money
    maker_fills: int
    taker_fills: int
    trades_won: int
    trades_lost: int
    drawdown: int
    drawdown_begin_ns: int
    drawdown_end_ns: int
    begin_ns: int
    end_ns: int
    instruments: list[InstrumentRow]
    trades: list[TradeRow]
    equity: list[tuple[int, int]]  # instant, micros after fees
    orders_sha256: str
    order_log_sha256: str = ""
    states: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def report_of(run: Run) -> BacktestReport:
    """Everything that a run's executions and marks say."""
    ledger, entries = ledger_of(run)
    fills = fills_of(run, entries)
    trades = trades_of(run, fills)
    equity = equity_after_fees(run, fills)
    fall = drawdown_of(equity)
    rows = _instruments(run, ledger, fills)
    known = [fill for fill in fills if fill.slippage_micros is not None]
    slippage = sum(fill.slippage_micros or 0 for fill in known)
    known_value = sum(fill.value_micros for fill in known)
    closed = [trade for trade in trades if not trade.open]
    return BacktestReport(
        name=run.name,
        engine_symbols=len(run.symbols),
        messages=run.messages,
        seconds=run.seconds,
        venue=venue_model(run),
        orders=order_counts(run),
        refused=refusals(run),
        money=Money(
            realised=sum(row.realised for row in rows),
            unrealised=sum(row.unrealised for row in rows),
            fees=sum(row.fees for row in rows),
            net=sum(row.net for row in rows),
            traded_value=sum(fill.value_micros for fill in fills),
            slippage=slippage,
            slippage_ppm=slippage / known_value * 1e6 if known_value else 0.0,
        ),
        maker_fills=sum(fill.maker for fill in fills),
        taker_fills=sum(not fill.maker for fill in fills),
        trades_won=sum(trade.net_micros > 0 for trade in closed),
        trades_lost=sum(trade.net_micros < 0 for trade in closed),
        **_fall(fall),
        begin_ns=equity[0][0] if equity else 0,
        end_ns=equity[-1][0] if equity else 0,
        instruments=rows,
        trades=[_trade_row(run, trade) for trade in trades],
        equity=_thinned(equity),
        orders_sha256=orders_digest(run),
        order_log_sha256=run.order_log_sha256,
        states=run.states,
        notes=_notes(run),
    )


def _fall(fall: Drawdown) -> dict[str, Any]:
    found = dataclasses.asdict(fall)
    return {"drawdown": found["micros"], "drawdown_begin_ns": found["begin_ns"], "drawdown_end_ns": found["end_ns"]}


def venue_model(run: Run) -> VenueModel:
    """The model by its name; of a run at a venue, that venue's."""
    gateway = run.config.gateway
    paper = gateway.paper
    fees = gateway.kind if gateway.kind in run.config.fees else "default" if "default" in run.config.fees else "none"
    simulated = gateway.kind == "paper"
    return VenueModel(
        fills=paper.fills if simulated else f"the venue's ({gateway.kind})",
        latency=paper.latency if simulated else "the venue's",
        latency_ns=gateway.latency_ns if simulated else 0,
        latency_spread_ns=paper.latency_spread_ns if simulated else 0,
        seed=paper.seed,
        fees=fees,
    )


def _notes(run: Run) -> list[str]:
    notes = []
    if run.config.coprocesses:
        names = ", ".join(seat.name for seat in run.config.coprocesses)
        notes.append(f"nobody had the seats of {names}: what those programs would have ordered is not in this run")
    if not run.config.fees:
        notes.append("no fees are configured: [fees.default] or [fees.paper] has them")
    return notes


def _instruments(run: Run, ledger: Any, fills: list[Fill]) -> list[InstrumentRow]:
    """Those that were traded, the largest result first."""
    by_instrument: dict[int, list[Fill]] = {}
    for fill in fills:
        by_instrument.setdefault(fill.instrument, []).append(fill)
    rows = []
    for instrument, position in ledger.positions.items():
        mark = run.last_marks[instrument] if run.last_marks else 0
        value = ledger.value_at(instrument, mark)
        own = by_instrument.get(instrument, [])
        rows.append(
            InstrumentRow(
                symbol=run.symbols[instrument],
                fills=len(own),
                bought_lots=position.bought_lots,
                sold_lots=position.sold_lots,
                lots=value.lots,
                realised=value.realised_micros,
                unrealised=value.unrealised_micros,
                fees=value.fees_micros,
                net=value.net_micros,
                slippage=sum(fill.slippage_micros or 0 for fill in own),
            )
        )
    return sorted(rows, key=lambda row: (-abs(row.net), row.symbol))


def _trade_row(run: Run, trade: Trade) -> TradeRow:
    tick_value = run.tick_value_micros[trade.instrument]
    return TradeRow(
        symbol=run.symbols[trade.instrument],
        side=trade.side,
        begin_ns=trade.begin_ns,
        end_ns=trade.end_ns,
        lots_max=trade.lots_max,
        fills=trade.fills,
        entry=price_text(round(trade.entry_ticks), tick_value),
        exit=price_text(round(trade.exit_ticks), tick_value),
        gross=trade.gross_micros,
        fees=trade.fees_micros,
        net=trade.net_micros,
        open=trade.open,
    )


def _thinned(equity: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Points enough for a curve, the last one among them."""
    step = max(1, -(-len(equity) // POINTS_MAX))
    thin = equity[::step]
    return thin if not equity or thin[-1] == equity[-1] else [*thin, equity[-1]]
