"""NautilusTrader's part of engines.py: its backtest engine and its live node, with the rule as a Strategy.

As its documentation has it: the low-level BacktestEngine with data in memory, logging bypassed, no analysis after
the run; the live node with a data and an execution client of its own in one process, logging errors only, since it
refuses to run without logging. Order rates are raised so that its risk engine, which stays on, refuses nothing.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.config import (
    LiveDataClientConfig,
    LiveExecClientConfig,
    LiveExecEngineConfig,
    LiveRiskEngineConfig,
    LoggingConfig,
    RiskEngineConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.live.execution_client import LiveExecutionClient
from nautilus_trader.live.factories import LiveDataClientFactory, LiveExecClientFactory
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, LiquiditySide, OmsType, OrderSide, TimeInForce
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientId,
    InstrumentId,
    Symbol,
    TradeId,
    TraderId,
    Venue,
    VenueOrderId,
)
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import AccountBalance, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

from bench.peers.market import QUIET_NS, THRESHOLD

VENUE = Venue("BENCH")
INSTRUMENT = InstrumentId(Symbol("ONE"), VENUE)
CASH = Money(1_000_000_000, USD)
RATE_MAX = "1000000/00:00:01"
UNITS = 10_000
LEAD_SECONDS = 1.0
WARM_SHARE = 10  # one in so many quotes before measuring
PATIENCE_SECONDS = 120.0


def the_instrument() -> Equity:
    """One equity, in cents."""
    return Equity(
        instrument_id=INSTRUMENT, raw_symbol=Symbol("ONE"), currency=USD, price_precision=2,
        price_increment=Price(0.01, 2), lot_size=Quantity.from_int(1), ts_event=0, ts_init=0,
    )  # fmt: skip


def ticks_of(quotes: str, *, numbered: bool = False) -> list[QuoteTick]:
    """The day's quotes as its own objects; `numbered`: ts_init is a quote's number."""
    return [
        QuoteTick(
            INSTRUMENT,
            Price(bid / UNITS, 2),
            Price(ask / UNITS, 2),
            Quantity.from_int(bid_quantity),
            Quantity.from_int(ask_quantity),
            time_ns,
            number if numbered else time_ns,
        )
        for number, (time_ns, bid, ask, bid_quantity, ask_quantity) in enumerate(np.load(quotes).tolist())
    ]


class Lean(Strategy):
    """The rule of lean.py."""

    def __init__(self) -> None:
        super().__init__()
        self.leaned = self.ordered_ns = 0
        self.sent: list[tuple[int, int, int]] = []
        self.seen: list[int] = []  # ts_init of the quotes that made orders
        self.fills = 0

    def on_start(self) -> None:
        """Ask for quotes."""
        self.subscribe_quote_ticks(INSTRUMENT)

    def on_quote_tick(self, tick: Any) -> None:
        """One quote."""
        bid, ask = tick.bid_size.as_double(), tick.ask_size.as_double()
        lean = (bid - ask) / (bid + ask)
        side = 1 if lean > THRESHOLD else -1 if lean < -THRESHOLD else 0
        if side and side != self.leaned and tick.ts_event - self.ordered_ns >= QUIET_NS:
            self.ordered_ns = tick.ts_event
            price = tick.ask_price if side > 0 else tick.bid_price
            order = self.order_factory.limit(
                INSTRUMENT,
                OrderSide.BUY if side > 0 else OrderSide.SELL,
                Quantity.from_int(1),
                price,
                time_in_force=TimeInForce.IOC,
            )
            self.sent.append((tick.ts_event, side, round(price.as_double() * UNITS)))
            self.seen.append(tick.ts_init)
            self.submit_order(order)
        self.leaned = side

    def on_order_filled(self, event: Any) -> None:
        """Count."""
        self.fills += 1


# ---- backtest ------------------------------------------------------------------------------------------------------


def replay(quotes: str, rounds: int, **_: str) -> dict[str, Any]:
    """Seconds of processor time of `engine.run()`, the quickest round."""
    best, found = float("inf"), {}
    for _round in range(rounds):
        engine = BacktestEngine(
            BacktestEngineConfig(
                trader_id=TraderId("BENCH-001"),
                logging=LoggingConfig(bypass_logging=True),
                risk_engine=RiskEngineConfig(max_order_submit_rate=RATE_MAX, max_order_modify_rate=RATE_MAX),
                run_analysis=False,
            )
        )
        engine.add_venue(
            VENUE, OmsType.NETTING, AccountType.MARGIN, [CASH], base_currency=USD, default_leverage=Decimal(100)
        )
        engine.add_instrument(the_instrument())
        engine.add_data(ticks_of(quotes))
        strategy = Lean()
        engine.add_strategy(strategy)
        began = time.process_time()
        engine.run()
        best = min(best, time.process_time() - began)
        found = {"orders": [list(each) for each in strategy.sent], "fills": strategy.fills}
        engine.dispose()
    return {"seconds": best, **found}


# ---- live ----------------------------------------------------------------------------------------------------------


class Run:
    """What the two clients of the one node share."""

    ticks: ClassVar[list[QuoteTick]] = []
    due_ns: ClassVar[list[int]] = []  # after the start
    node: ClassVar[Any] = None
    handed_ns: ClassVar[dict[int, int]] = {}  # by ts_init
    taken_ns: ClassVar[list[int]] = []  # of each order


class OneInstrument(InstrumentProvider):
    """It is known already."""

    async def load_all_async(self, filters: dict[str, Any] | None = None) -> None:
        """Nothing to ask anybody for."""
        self.add(the_instrument())


class Quotes(LiveMarketDataClient):
    """Hands each quote over when it is due."""

    async def _connect(self) -> None:
        await self._instrument_provider.load_all_async()
        self._handle_data(the_instrument())

    async def _disconnect(self) -> None:
        """Nothing is open."""

    async def _subscribe_quote_ticks(self, command: Any) -> None:
        self.create_task(self._play())

    async def _unsubscribe_quote_ticks(self, command: Any) -> None:
        """The day is over."""

    async def _play(self) -> None:
        """Each quote at its instant, then the node's end."""
        await asyncio.sleep(LEAD_SECONDS)
        now, start = time.perf_counter_ns, time.perf_counter_ns()
        for tick, due in zip(Run.ticks, Run.due_ns, strict=True):
            await asyncio.sleep(max(0, due - (now() - start)) / 1e9)  # a loop that spins makes it twice as slow
            Run.handed_ns[tick.ts_init] = now()
            self._handle_data(tick)
        await asyncio.sleep(LEAD_SECONDS)
        Run.node.stop()


class Orders(LiveExecutionClient):
    """Takes the time of each order, accepts it and fills it."""

    async def _connect(self) -> None:
        await self._instrument_provider.load_all_async()
        self._set_account_id(AccountId("BENCH-001"))
        self.generate_account_state([AccountBalance(CASH, Money(0, USD), CASH)], [], True, self._clock.timestamp_ns())

    async def _disconnect(self) -> None:
        """Nothing is open."""

    def submit_order(self, command: Any) -> None:
        """The order is here: what a venue's adapter would now encode."""
        Run.taken_ns.append(time.perf_counter_ns())
        super().submit_order(command)

    async def _submit_order(self, command: Any) -> None:
        order, now_ns = command.order, self._clock.timestamp_ns()
        number = order.client_order_id.value
        names = order.strategy_id, order.instrument_id, order.client_order_id
        self.generate_order_submitted(*names, now_ns)
        self.generate_order_accepted(*names, VenueOrderId(number), now_ns)
        self.generate_order_filled(
            *names, VenueOrderId(number), None, TradeId(number), order.side, order.order_type, order.quantity,
            order.price, USD, Money(0, USD), LiquiditySide.TAKER, now_ns,
        )  # fmt: skip


def client_of(kind: Any, loop: Any, msgbus: Any, cache: Any, clock: Any, config: Any, **more: Any) -> Any:
    """A client with what every client takes."""
    return kind(
        loop=loop, client_id=ClientId(VENUE.value), venue=VENUE, msgbus=msgbus, cache=cache, clock=clock,
        instrument_provider=OneInstrument(), config=config, **more,
    )  # fmt: skip


class QuotesFactory(LiveDataClientFactory):
    """Makes the data client."""

    @staticmethod
    def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> Any:
        """One."""
        return client_of(Quotes, loop, msgbus, cache, clock, config)


class OrdersFactory(LiveExecClientFactory):
    """Makes the execution client."""

    @staticmethod
    def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> Any:
        """One."""
        kinds = {"oms_type": OmsType.NETTING, "account_type": AccountType.MARGIN, "base_currency": USD}
        return client_of(Orders, loop, msgbus, cache, clock, config, **kinds)


def live(itch: str, quotes: str, rate: int) -> dict[str, Any]:
    """At a rate: from the data client's hand-over to the execution client's receipt, ns; a tenth warms up."""
    from pathlib import Path

    from hotpath.captures import itch_messages

    Run.ticks = ticks_of(quotes, numbered=True)
    number_at = {int.from_bytes(wire[5:11], "big"): number for number, wire in enumerate(itch_messages(Path(itch)))}
    Run.due_ns = [number_at[tick.ts_event] * 10**9 // rate for tick in Run.ticks]
    node = Run.node = TradingNode(
        TradingNodeConfig(
            trader_id=TraderId("BENCH-001"),
            logging=LoggingConfig(log_level="ERROR"),
            exec_engine=LiveExecEngineConfig(reconciliation=False),
            risk_engine=LiveRiskEngineConfig(max_order_submit_rate=RATE_MAX, max_order_modify_rate=RATE_MAX),
            data_clients={VENUE.value: LiveDataClientConfig()},
            exec_clients={VENUE.value: LiveExecClientConfig()},
            timeout_connection=10.0,
            timeout_disconnection=3.0,
            timeout_post_stop=0.1,
        )
    )
    node.add_data_client_factory(VENUE.value, QuotesFactory)
    node.add_exec_client_factory(VENUE.value, OrdersFactory)
    strategy = Lean()
    node.trader.add_strategy(strategy)
    node.build()
    try:
        node.run()
    finally:
        node.dispose()
    if not Run.taken_ns or len(Run.taken_ns) != len(strategy.sent):
        raise SystemExit(f"{len(Run.taken_ns)} of {len(strategy.sent)} orders reached the execution client")
    spans = np.array(Run.taken_ns) - [Run.handed_ns[number] for number in strategy.seen]
    kept = spans[len(spans) // WARM_SHARE :]
    p50, p99 = np.percentile(kept, (50, 99)).tolist()
    return {"p50_ns": p50, "p99_ns": p99, "orders": [list(each) for each in strategy.sent], "fills": strategy.fills}
