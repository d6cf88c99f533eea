"""A real TradingNode with one small strategy on a seat, for tests/e2e/test_nautilus.py: prints what it was told.

python -m tests.support.nautilus_node ENGINE SEAT SYMBOL

quote --> limit buy, far below --accepted--> modify --updated--> cancel --canceled--> market buy --filled--> stop

python -m tests.support.nautilus_node ENGINE SEAT SYMBOL SUPERVISOR STAGE     # processes of the engine, to be ended

quote --> STAGE stands still, the seat gives up, limit buy --submitted--> STAGE goes on, and cuts the seat --rejected-->
          STAGE stands still, another one --submitted--> SUPERVISOR is killed: the engine has ended --rejected--> stop
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from nautilus_trader.config import LiveExecEngineConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.model.objects import Quantity
from nautilus_trader.trading.strategy import Strategy

from hotpath.examples.coprocess.nautilus_bridge import (
    HotpathDataConfig,
    HotpathDataFactory,
    HotpathExecConfig,
    HotpathExecFactory,
    Hub,
)

PATIENCE_SECONDS = 20.0


class Small(Strategy):
    """Walks through the life of an order, once."""

    def __init__(self, symbol: str) -> None:
        super().__init__()
        self.instrument_id = InstrumentId.from_str(f"{symbol}.HOTPATH")
        self.told: list[str] = []
        self.quotes = 0
        self.order: Any = None
        self.position = ""

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self.instrument_id)
        self.subscribe_trade_ticks(self.instrument_id)

    def on_quote_tick(self, tick: Any) -> None:
        self.quotes += 1
        if self.order is None:
            self.submit_below(float(tick.bid_price) - 1.0)

    def submit_below(self, price: float) -> None:
        instrument = self.cache.instrument(self.instrument_id)
        self.order = self.order_factory.limit(
            self.instrument_id, OrderSide.BUY, Quantity.from_int(10), instrument.make_price(price)
        )
        self.submit_order(self.order)

    def on_event(self, event: Any) -> None:
        kind = type(event).__name__
        if not kind.startswith("Order"):
            return
        self.told.append(kind.removeprefix("Order").lower())
        if kind == "OrderAccepted" and self.told.count("accepted") == 1:
            instrument = self.cache.instrument(self.instrument_id)
            self.modify_order(self.order, Quantity.from_int(20), instrument.make_price(float(self.order.price) - 0.01))
        elif kind == "OrderUpdated":
            self.cancel_order(self.order)
        elif kind == "OrderCanceled" and self.told.count("canceled") == 1:
            self.submit_order(self.order_factory.market(self.instrument_id, OrderSide.BUY, Quantity.from_int(1)))
        elif kind == "OrderFilled":
            self.position = str(self.portfolio.net_position(self.instrument_id))
            self.stop_node()
        elif kind in ("OrderRejected", "OrderDenied"):
            self.position = str(event)
            self.stop_node()

    def stop_node(self) -> None:
        NODE[0].stop()


class CutOff(Small):
    """Has an order without an answer when its seat is cut, and another one when the engine ends."""

    def __init__(self, symbol: str, supervisor: int, stage: int) -> None:
        super().__init__(symbol)
        self.supervisor, self.stage = supervisor, stage

    def submit_below(self, price: float) -> None:
        os.kill(self.stage, signal.SIGSTOP)
        if not self.told:
            (hub,) = Hub.open.values()
            hub.seat.raised()  # what is asked for after this is never looked at
        super().submit_below(price)

    def on_event(self, event: Any) -> None:
        kind = type(event).__name__
        if kind not in ("OrderRejected", "OrderAccepted", "OrderSubmitted"):
            return
        self.told.append(kind.removeprefix("Order").lower())
        if self.told == ["submitted"]:
            threading.Timer(SENT_SECONDS, os.kill, (self.stage, signal.SIGCONT)).start()
        elif self.told == ["submitted", "rejected"]:
            self.position = event.reason
            self.submit_below(float(self.order.price))
        elif self.told == ["submitted", "rejected", "submitted"]:
            threading.Timer(SENT_SECONDS, os.kill, (self.supervisor, signal.SIGKILL)).start()
        else:
            self.position += f"; {getattr(event, 'reason', 'accepted')}"
            self.stop_node()


SENT_SECONDS = 0.3  # from the event "submitted" to the request in the ring, and more
NODE: list[TradingNode] = []


def main(engine: str, seat: str, symbol: str, *processes: str) -> int:
    config = TradingNodeConfig(
        trader_id=TraderId("TEST-001"),
        logging=LoggingConfig(log_level="WARNING", log_colors=False),
        exec_engine=LiveExecEngineConfig(reconciliation=True),
        data_clients={"HOTPATH": HotpathDataConfig(engine=engine, seat=seat)},
        exec_clients={"HOTPATH": HotpathExecConfig(engine=engine, seat=seat)},
        timeout_connection=10.0,
        timeout_disconnection=3.0,
        timeout_post_stop=0.1,
    )
    node = TradingNode(config)
    NODE.append(node)
    node.add_data_client_factory("HOTPATH", HotpathDataFactory)
    node.add_exec_client_factory("HOTPATH", HotpathExecFactory)
    strategy = CutOff(symbol, *map(int, processes)) if processes else Small(symbol)
    node.trader.add_strategy(strategy)
    node.build()
    watchdog = threading.Timer(PATIENCE_SECONDS, node.stop)
    watchdog.daemon = True
    watchdog.start()
    try:
        node.run()
    finally:
        watchdog.cancel()
        node.dispose()
    print(json.dumps({"told": strategy.told, "quotes": strategy.quotes, "position": strategy.position}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
