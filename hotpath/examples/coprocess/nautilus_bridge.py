"""A NautilusTrader strategy keeps its code and trades through a hotpath engine.

    your Strategy -- TradingNode -- HotpathDataClient ------.
                              \\--- HotpathExecutionClient --+-- one seat -- engine: risk gate, journal, venue

    pip install 'hotpath-engine[nautilus]'        # nautilus_trader == 1.221.0, for Python 3.11 and 3.12

    config = TradingNodeConfig(
        data_clients={"HOTPATH": HotpathDataConfig(engine="engine", seat="alpha")},
        exec_clients={"HOTPATH": HotpathExecConfig(engine="engine", seat="alpha")},
    )
    node = TradingNode(config)
    node.add_data_client_factory("HOTPATH", HotpathDataFactory)
    node.add_exec_client_factory("HOTPATH", HotpathExecFactory)
    node.trader.add_strategy(YourStrategy(...))    # instruments are named SYMBOL.HOTPATH
    node.build()
    node.run()

What is carried: quotes and trades of every instrument; limit orders (DAY, GTC sent as DAY, IOC), market orders (sent as
IOC at the far touch), modify, cancel, cancel all. Anything else is denied in words. What the engine's gate refuses
comes back as a rejection with its reason. Orders and positions from before (a restarted node) are reported for
reconciliation; their fills of before are not known to the seat.

The seat's heartbeat comes from the node's event loop: a strategy that blocks the loop for longer than `heartbeat_ms`
is cut off and its orders are dealt with as configured. The bridge then attaches again, and reports as canceled each
order that is no longer open, as rejected each that was not yet answered and is not there; what was filled meanwhile
shows in the position that reconciliation finds. When the engine itself ends, the orders that wait for an answer are
rejected, and what is open is the venue's to tell: the node needs a restart for the engine's next run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.config import LiveDataClientConfig, LiveExecClientConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.reports import FillReport, OrderStatusReport, PositionStatusReport
from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.live.execution_client import LiveExecutionClient
from nautilus_trader.live.factories import LiveDataClientFactory, LiveExecClientFactory
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick, TradeTick
from nautilus_trader.model.enums import (
    AccountType,
    AggressorSide,
    LiquiditySide,
    OmsType,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    TimeInForce,
)
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    InstrumentId,
    Symbol,
    TradeId,
    Venue,
    VenueOrderId,
)
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import AccountBalance, Money, Price, Quantity

from ffi import lib
from hotpath.coprocess import BUY, ENGINE_ENDED, NO_INSTRUMENT, SELL, Coprocess, name_of, reason_of
from hotpath.errors import HotpathError, SeatError

VENUE = Venue("HOTPATH")
MICROS = 1_000_000
POLL_SECONDS = 0.0005
REATTACH_SECONDS = 1.0
SETTLE_SECONDS = 0.01  # until the node has applied the events that it was given
MARKET_BATCH = 256
PRINTS = (lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE, lib.NORM_TRADE)
TIMES_IN_FORCE = {TimeInForce.DAY: "day", TimeInForce.GTC: "day", TimeInForce.IOC: "ioc"}


class HotpathDataConfig(LiveDataClientConfig, frozen=True):
    """Which seat of which engine."""

    engine: str = ""
    seat: str = ""


class HotpathExecConfig(LiveExecClientConfig, frozen=True):
    """Which seat of which engine, and the cash that Nautilus is told of; the engine has limits of its own."""

    engine: str = ""
    seat: str = ""
    cash: int = 1_000_000


# ---- the seat, shared by both clients ----------------------------------------------------------------------


class Money6:
    """Prices of one instrument, from the engine's ticks and back."""

    def __init__(self, tick_value_micros: int) -> None:
        self.tick_value_micros = tick_value_micros
        digits = str(tick_value_micros)
        self.precision = max(0, 6 - (len(digits) - len(digits.rstrip("0"))))

    def price(self, ticks: int) -> Price:
        """Ticks as Nautilus writes a price."""
        return Price(ticks * self.tick_value_micros / MICROS, self.precision)

    def ticks(self, price: Price) -> int:
        """The nearest tick."""
        return round(float(price.as_double()) * MICROS / self.tick_value_micros)


class Hub:
    """One seat, polled from the node's event loop."""

    open: ClassVar[dict[tuple[str, str], Hub]] = {}  # shared by the two clients of a node

    def __init__(self, engine: str, seat: str) -> None:
        self.seat = Coprocess(engine, seat)
        self.users = 0
        self.money = [Money6(int(entry["tick_value_micros"])) for entry in self.seat.instruments]
        self.ids = [InstrumentId(Symbol(symbol), VENUE) for symbol in self.seat.symbols]
        self.index = {instrument_id: index for index, instrument_id in enumerate(self.ids)}
        self.touch: dict[int, tuple[int, int]] = {}  # instrument: (bid, ask), ticks
        self.on_market: Callable[[Any], None] = lambda event: None
        self.on_report: Callable[[Any], None] = lambda report: None
        self.on_return: Callable[[], None] = lambda: None
        self.on_end: Callable[[HotpathError], None] = lambda error: None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, engine: str, seat: str) -> Hub:
        """The hub of a seat, made once."""
        hub = cls.open.get((engine, seat))
        if hub is None:
            hub = cls.open[engine, seat] = cls(engine, seat)
        return hub

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """One more client; the first one starts the polling."""
        self.users += 1
        if self._task is None:
            self._task = loop.create_task(self._poll())

    def stop(self) -> None:
        """One client less; the last one leaves the seat."""
        self.users -= 1
        if self.users:
            return
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.open.pop((self.seat.engine, self.seat.name), None)
        self.seat.close()

    async def _poll(self) -> None:
        """Until the engine has ended, and all that it reported is told."""
        try:
            while True:
                for report in self.seat.reports():
                    self.on_report(report)
                if self.seat.cut not in (None, ENGINE_ENDED):  # an engine that ends still has reports to make
                    await self._return()
                for event in self.seat.market.copy(MARKET_BATCH):
                    self._market(event)
                await asyncio.sleep(POLL_SECONDS)
        except HotpathError as error:
            self.on_end(error)

    async def _return(self) -> None:
        """Cut off: take the seat again, and say so. Raises SeatCutError when there is no engine any more."""
        await asyncio.sleep(SETTLE_SECONDS)
        while True:
            try:
                self.seat.attach(timeout_seconds=REATTACH_SECONDS)
                break
            except HotpathError:
                self.seat.heartbeat()
                await asyncio.sleep(REATTACH_SECONDS)
        self.on_return()

    def _market(self, event: Any) -> None:
        instrument = int(event["header"]["instrument"])
        if instrument < len(self.ids):
            self.touch[instrument] = int(event["bid_price_ticks"]), int(event["ask_price_ticks"])
            self.on_market(event)


class HotpathInstruments(InstrumentProvider):
    """The engine's reference data as equities."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub

    async def load_all_async(self, filters: dict[str, Any] | None = None) -> None:
        """Every instrument of the engine."""
        for instrument_id, entry, money in zip(self._hub.ids, self._hub.seat.instruments, self._hub.money, strict=True):
            self.add(
                Equity(
                    instrument_id=instrument_id,
                    raw_symbol=instrument_id.symbol,
                    currency=USD,
                    price_precision=money.precision,
                    price_increment=money.price(int(entry["price_increment_ticks"])),
                    lot_size=Quantity.from_int(max(1, int(entry["round_lot_lots"]))),
                    ts_event=0,
                    ts_init=0,
                )
            )


# ---- market data --------------------------------------------------------------------------------------------


class HotpathDataClient(LiveMarketDataClient):
    """Quotes where the top of a book changed, trades where one was printed."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
        config: HotpathDataConfig,
    ) -> None:
        self.hub = Hub.of(config.engine, config.seat)
        super().__init__(
            loop=loop,
            client_id=ClientId(VENUE.value),
            venue=VENUE,
            msgbus=msgbus,
            cache=cache,
            clock=clock,
            instrument_provider=HotpathInstruments(self.hub),
            config=config,
        )
        self._quotes: set[int] = set()
        self._trades: set[int] = set()

    async def _connect(self) -> None:
        await self._instrument_provider.load_all_async()
        for instrument in self._instrument_provider.get_all().values():
            self._handle_data(instrument)
        self.hub.on_market = self._market
        self.hub.start(self._loop)

    async def _disconnect(self) -> None:
        self.hub.stop()

    async def _subscribe_quote_ticks(self, command: Any) -> None:
        self._quotes.add(self.hub.index[command.instrument_id])

    async def _unsubscribe_quote_ticks(self, command: Any) -> None:
        self._quotes.discard(self.hub.index[command.instrument_id])

    async def _subscribe_trade_ticks(self, command: Any) -> None:
        self._trades.add(self.hub.index[command.instrument_id])

    async def _unsubscribe_trade_ticks(self, command: Any) -> None:
        self._trades.discard(self.hub.index[command.instrument_id])

    async def _subscribe_instrument(self, command: Any) -> None:
        """Every instrument was given at the start."""

    async def _subscribe_instruments(self, command: Any) -> None:
        """Every instrument was given at the start."""

    def _market(self, event: Any) -> None:
        header = event["header"]
        instrument, flags = int(header["instrument"]), int(header["flags"])
        if flags & lib.FLAG_STALE:
            return
        if (
            instrument in self._quotes
            and flags & lib.FLAG_TOP
            and event["bid_price_ticks"]
            and event["ask_price_ticks"]
        ):
            self._handle_data(self._quote(event, instrument))
        if instrument in self._trades and flags & lib.FLAG_PRINTABLE and int(header["type"]) in PRINTS:
            self._handle_data(self._trade(event, instrument, flags))

    def _quote(self, event: Any, instrument: int) -> QuoteTick:
        money = self.hub.money[instrument]
        return QuoteTick(
            self.hub.ids[instrument],
            money.price(int(event["bid_price_ticks"])),
            money.price(int(event["ask_price_ticks"])),
            Quantity.from_int(int(event["bid_quantity_lots"])),
            Quantity.from_int(int(event["ask_quantity_lots"])),
            int(event["header"]["origin_time_ns"]),
            self._clock.timestamp_ns(),
        )

    def _trade(self, event: Any, instrument: int, flags: int) -> TradeTick:
        return TradeTick(
            self.hub.ids[instrument],
            self.hub.money[instrument].price(int(event["price_ticks"])),
            Quantity.from_int(int(event["quantity_lots"])),
            AggressorSide.BUYER if flags & lib.FLAG_SELL else AggressorSide.SELLER,  # the flag is the resting order's
            TradeId(str(int(event["reference"]))),
            int(event["header"]["origin_time_ns"]),
            self._clock.timestamp_ns(),
        )


# ---- orders -------------------------------------------------------------------------------------------------


class HotpathExecutionClient(LiveExecutionClient):
    """Nautilus's commands as requests of the seat, the seat's reports as Nautilus's events."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
        config: HotpathExecConfig,
    ) -> None:
        self.hub = Hub.of(config.engine, config.seat)
        super().__init__(
            loop=loop,
            client_id=ClientId(VENUE.value),
            venue=VENUE,
            oms_type=OmsType.NETTING,
            account_type=AccountType.MARGIN,
            base_currency=USD,
            instrument_provider=HotpathInstruments(self.hub),
            msgbus=msgbus,
            cache=cache,
            clock=clock,
            config=config,
        )
        self._set_account_id(AccountId(f"{VENUE.value}-{self.hub.seat.name}"))
        self._cash = Money(config.cash, USD)
        self._order_of: dict[int, ClientOrderId] = {}  # by token
        self._token_of: dict[ClientOrderId, int] = {}

    async def _connect(self) -> None:
        await self._instrument_provider.load_all_async()
        self.hub.on_report = self._report
        self.hub.on_return = self._returned
        self.hub.on_end = self._ended
        self.hub.start(self._loop)
        balance = AccountBalance(self._cash, Money(0, USD), self._cash)
        self.generate_account_state([balance], [], True, self._clock.timestamp_ns())

    async def _disconnect(self) -> None:
        self.hub.stop()

    # -- commands

    async def _submit_order(self, command: Any) -> None:
        order = command.order
        now_ns = self._clock.timestamp_ns()
        refusal = self._unsupported(order)
        if refusal:
            self.generate_order_denied(order.strategy_id, order.instrument_id, order.client_order_id, refusal, now_ns)
            return
        self.generate_order_submitted(order.strategy_id, order.instrument_id, order.client_order_id, now_ns)
        try:
            token = self._send(order)
        except HotpathError as error:  # full, cut off, or no engine
            self.generate_order_rejected(
                order.strategy_id, order.instrument_id, order.client_order_id, str(error), self._clock.timestamp_ns()
            )
            return
        self._know(token, order.client_order_id)

    def _unsupported(self, order: Any) -> str:
        """Why this engine cannot take such an order; empty when it can."""
        if order.order_type not in (OrderType.LIMIT, OrderType.MARKET):
            return "hotpath takes limit and market orders"
        if order.instrument_id not in self.hub.index:
            return f"the engine has no instrument {order.instrument_id}"
        if order.order_type == OrderType.LIMIT and order.time_in_force not in TIMES_IN_FORCE:
            return "hotpath takes DAY, GTC (as DAY) and IOC"
        if order.is_post_only or order.is_reduce_only:
            return "hotpath has neither post-only nor reduce-only orders"
        if order.order_type == OrderType.MARKET and not self._far_touch(order):
            return "a market order needs a quote, and there is none"
        return ""

    def _far_touch(self, order: Any) -> int:
        bid, ask = self.hub.touch.get(self.hub.index[order.instrument_id], (0, 0))
        return ask if order.side == OrderSide.BUY else bid

    def _send(self, order: Any) -> int:
        instrument = self.hub.index[order.instrument_id]
        market = order.order_type == OrderType.MARKET
        return self.hub.seat.order(
            instrument,
            BUY if order.side == OrderSide.BUY else SELL,
            quantity_lots=int(order.quantity),
            price_ticks=self._far_touch(order) if market else self.hub.money[instrument].ticks(order.price),
            time_in_force="ioc" if market else TIMES_IN_FORCE[order.time_in_force],
        )

    def _know(self, token: int, client_order_id: ClientOrderId) -> None:
        self._order_of[token] = client_order_id
        self._token_of[client_order_id] = token

    async def _modify_order(self, command: Any) -> None:
        order = self._cache.order(command.client_order_id)
        quantity = command.quantity if command.quantity is not None else order.quantity
        price = command.price if command.price is not None else order.price
        try:
            ticks = self.hub.money[self.hub.index[command.instrument_id]].ticks(price)
            token = self.hub.seat.replace(self._token(command), quantity_lots=int(quantity), price_ticks=ticks)
        except HotpathError as error:
            self.generate_order_modify_rejected(*self._named(command), str(error), self._clock.timestamp_ns())
            return
        self._order_of[token] = command.client_order_id  # the order keeps its token until the venue has answered

    async def _cancel_order(self, command: Any) -> None:
        try:
            self.hub.seat.cancel(self._token(command))
        except HotpathError as error:
            self.generate_order_cancel_rejected(*self._named(command), str(error), self._clock.timestamp_ns())

    async def _cancel_all_orders(self, command: Any) -> None:
        for order in self._cache.orders_open(instrument_id=command.instrument_id, strategy_id=command.strategy_id):
            if command.order_side in (OrderSide.NO_ORDER_SIDE, order.side):
                self._cancel_quietly(order)

    def _cancel_quietly(self, order: Any) -> None:
        try:
            self.hub.seat.cancel(self._token(order))
        except HotpathError as error:
            self._log.warning(f"{order.client_order_id} not cancelled: {error}")

    def _named(self, command: Any) -> tuple[Any, ...]:
        return command.strategy_id, command.instrument_id, command.client_order_id, command.venue_order_id

    def _token(self, command: Any) -> int:
        """The seat's own number of an order: one of ours, or one that was there before this node."""
        token = self._token_of.get(command.client_order_id)
        if token is not None:
            return token
        for token, order in self.hub.seat.orders.items():
            if command.venue_order_id is not None and str(int(order["order_id"])) == command.venue_order_id.value:
                self._know(token, command.client_order_id)
                return token
        raise SeatError(f"no open order {command.client_order_id}")

    # -- reports

    def _report(self, report: Any) -> None:
        """One report of the seat as an event of Nautilus's."""
        if int(report["header"]["type"]) == lib.REPORT_CUT:
            self._log.error(f"seat {self.hub.seat.name} was cut: {reason_of(report)}")
            return
        client_order_id = self._order_of.get(int(report["token"]))
        order = self._cache.order(client_order_id) if client_order_id is not None else None
        tell = getattr(self, f"_on_{name_of(report)}", None)
        if order is not None and tell is not None:
            tell(self._names(order), order, report, int(report["header"]["origin_time_ns"]))

    def _on_accepted(self, names: tuple[Any, ...], order: Any, report: Any, ts: int) -> None:
        if order.venue_order_id is None:
            self.generate_order_accepted(*names, venue_id(report), ts)

    def _on_refused(self, names: tuple[Any, ...], order: Any, report: Any, ts: int) -> None:
        self.generate_order_rejected(*names, reason_of(report), ts)

    _on_rejected = _on_refused

    def _on_canceled(self, names: tuple[Any, ...], order: Any, report: Any, ts: int) -> None:
        if report["leaves_lots"] <= 0:
            self.generate_order_canceled(*names, order.venue_order_id or venue_id(report), ts)
        else:
            self._updated(names, order, report, ts)

    def _on_replaced(self, names: tuple[Any, ...], order: Any, report: Any, ts: int) -> None:
        self._token_of[order.client_order_id] = int(report["token"])
        self._updated(names, order, report, ts)

    def _updated(self, names: tuple[Any, ...], order: Any, report: Any, ts: int) -> None:
        quantity = Quantity.from_int(int(report["leaves_lots"]) + int(report["cumulative_lots"]))
        price = self.hub.money[int(report["header"]["instrument"])].price(int(report["price_ticks"]))
        self.generate_order_updated(*names, venue_id(report), quantity, price, None, ts, True)

    def _on_replace_rejected(self, names: tuple[Any, ...], order: Any, report: Any, ts: int) -> None:
        self.generate_order_modify_rejected(*names, order.venue_order_id, reason_of(report), ts)

    def _on_cancel_rejected(self, names: tuple[Any, ...], order: Any, report: Any, ts: int) -> None:
        self.generate_order_cancel_rejected(*names, order.venue_order_id, reason_of(report), ts)

    def _on_fill(self, names: tuple[Any, ...], order: Any, report: Any, ts: int) -> None:
        if order.venue_order_id is None:
            self.generate_order_accepted(*names, venue_id(report), ts)
        self.generate_order_filled(
            *names,
            venue_id(report),
            None,
            TradeId(f"{int(report['order_id'])}-{int(report['match_id'])}-{int(report['cumulative_lots'])}"),
            order.side,
            order.order_type,
            Quantity.from_int(int(report["quantity_lots"])),
            self.hub.money[int(report["header"]["instrument"])].price(int(report["price_ticks"])),
            USD,
            Money(0, USD),
            LiquiditySide.NO_LIQUIDITY_SIDE,
            ts,
        )

    def _returned(self) -> None:
        """After a cut, each order as the seat's snapshot has it: reports of before are lost."""
        left = {self._order_of[token]: token for token in self.hub.seat.orders if token in self._order_of}
        waiting = {*self._cache.orders_open(venue=VENUE), *self._cache.orders_inflight(venue=VENUE)}
        for order in waiting:
            if order.client_order_id in left:
                self._found(order, left[order.client_order_id])
            elif order.client_order_id in self._token_of:
                self._lost(order, "the seat was cut before an answer came")

    def _found(self, order: Any, token: int) -> None:
        """An order that is open: what it waited for was done, or is not any more."""
        names, report = self._names(order), self.hub.seat.orders[token]
        now_ns, status = self._clock.timestamp_ns(), order.status
        replaced = token != self._token_of[order.client_order_id]
        if status == OrderStatus.SUBMITTED:
            self.generate_order_accepted(*names, venue_id(report), now_ns)
        elif replaced:
            self._on_replaced(names, order, report, now_ns)
        elif status == OrderStatus.PENDING_UPDATE:
            self.generate_order_modify_rejected(*names, order.venue_order_id, "the seat was cut", now_ns)
        elif status == OrderStatus.PENDING_CANCEL:
            self.generate_order_cancel_rejected(*names, order.venue_order_id, "the seat was cut", now_ns)

    def _lost(self, order: Any, why: str) -> None:
        """An order that is not open any more."""
        now_ns = self._clock.timestamp_ns()
        if order.status == OrderStatus.SUBMITTED:
            self.generate_order_rejected(*self._names(order), why, now_ns)
        else:
            self.generate_order_canceled(*self._names(order), order.venue_order_id, now_ns)

    def _ended(self, error: HotpathError) -> None:
        """The engine is gone: nobody will answer what was submitted. What is open, the venue knows."""
        self._log.error(f"{error}: {error.next_step}")
        for order in self._cache.orders_inflight(venue=VENUE):
            if order.status == OrderStatus.SUBMITTED and order.client_order_id in self._token_of:
                self._lost(order, str(error))

    @staticmethod
    def _names(order: Any) -> tuple[Any, ...]:
        return order.strategy_id, order.instrument_id, order.client_order_id

    # -- reconciliation

    async def generate_order_status_report(self, command: Any) -> OrderStatusReport | None:
        """One open order of the seat; None when it is not open."""
        for report in await self.generate_order_status_reports(command):
            if command.client_order_id == report.client_order_id or command.venue_order_id == report.venue_order_id:
                return report
        return None

    async def generate_order_status_reports(self, command: Any) -> list[OrderStatusReport]:
        """Every open order of the seat, those of before this node included."""
        return [self._status(token, order) for token, order in self.hub.seat.orders.items()]

    def _status(self, token: int, order: Any) -> OrderStatusReport:
        instrument, now_ns = int(order["header"]["instrument"]), self._clock.timestamp_ns()
        filled = int(order["cumulative_lots"])
        return OrderStatusReport(
            account_id=self.account_id,
            instrument_id=self.hub.ids[instrument],
            venue_order_id=venue_id(order),
            client_order_id=self._order_of.get(token),
            order_side=OrderSide.SELL if order["side"] == SELL else OrderSide.BUY,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.DAY,
            order_status=OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.ACCEPTED,
            price=self.hub.money[instrument].price(int(order["price_ticks"])),
            quantity=Quantity.from_int(int(order["leaves_lots"]) + filled),
            filled_qty=Quantity.from_int(filled),
            report_id=UUID4(),
            ts_accepted=now_ns,
            ts_last=now_ns,
            ts_init=now_ns,
        )

    async def generate_fill_reports(self, command: Any) -> list[FillReport]:
        """None: fills of before this attachment are the engine's journal's to tell."""
        return []

    async def generate_position_status_reports(self, command: Any) -> list[PositionStatusReport]:
        """Every position of the seat."""
        now_ns = self._clock.timestamp_ns()
        return [
            PositionStatusReport(
                account_id=self.account_id,
                instrument_id=self.hub.ids[instrument],
                position_side=PositionSide.LONG if lots > 0 else PositionSide.SHORT,
                quantity=Quantity.from_int(abs(lots)),
                report_id=UUID4(),
                ts_last=now_ns,
                ts_init=now_ns,
            )
            for instrument, lots in self.hub.seat.positions.items()
            if lots and instrument != NO_INSTRUMENT
        ]


def venue_id(report: Any) -> VenueOrderId:
    """The engine's order id: one that changes when the order is replaced."""
    return VenueOrderId(str(int(report["order_id"])))


# ---- what the node builds them with ---------------------------------------------------------------------------


class HotpathDataFactory(LiveDataClientFactory):
    """For `TradingNode.add_data_client_factory`."""

    @staticmethod
    def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> HotpathDataClient:
        """A data client of the configured seat."""
        return HotpathDataClient(loop, msgbus, cache, clock, config)


class HotpathExecFactory(LiveExecClientFactory):
    """For `TradingNode.add_exec_client_factory`."""

    @staticmethod
    def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> HotpathExecutionClient:
        """An execution client of the configured seat."""
        return HotpathExecutionClient(loop, msgbus, cache, clock, config)
